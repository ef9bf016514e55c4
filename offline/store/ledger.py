"""How often the test part of a store was read: a count that no two readings share."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock

from rtfeedback.errors import DatasetError

PATIENCE = 60.0  # s for another evaluation to count, which takes milliseconds


def count_one(path: Path) -> int:
    """Count one more in a JSON file, and return how many there were.

    Evaluations that run at once wait for each other; one that is killed leaves the count as
    it was before or after it.

    Raises
    ------
    DatasetError
        If the file cannot be read or written, or holds no count.
    """
    begun = path.with_suffix(".begun")
    try:
        with _alone(path.with_suffix(".lock")):
            reads = 1 + (int(json.loads(path.read_text())["reads"]) if path.is_file() else 0)
            begun.write_text(json.dumps({"reads": reads}) + "\n")
            begun.replace(path)
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise DatasetError(
            f"{path} cannot count one more reading of the held-out runs",
            found=str(error),
            do="Make the store writable, and leave its files as they are",
        ) from error
    return reads


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    """Hold a lock, and leave no file behind: one that waits for it makes a new one."""
    with FileLock(path, timeout=PATIENCE):
        yield
        with suppress(OSError):  # Windows removes no file that is open
            path.unlink()
