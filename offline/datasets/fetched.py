"""Whether a dataset's file is here, or only a link to it, or such a link's text."""

from __future__ import annotations

import re
from pathlib import Path

from rtfeedback.errors import DatasetError

# What git-annex and git-lfs keep in a file's place, and a link that became text.
LINK_TEXT = re.compile(r"(?:\.\./)*\.git/annex/|/annex/objects/|version https://git-lfs")
LONGEST_LINK = 1024  # bytes


def check_fetched(path: Path) -> None:
    """Refuse a file that is only a link to what is not here, or the text of such a link.

    Raises
    ------
    DatasetError
    """
    if not path.exists():
        raise DatasetError(
            f"{path} was not fetched",
            found=f"a link to {path.readlink()}" if path.is_symlink() else "no such file",
            do="Get it: 'datalad get', or 'rtfeedback fetch'",
        )
    size = path.stat().st_size
    if size == 0:
        raise DatasetError(f"{path} is empty", found="0 bytes", do="Fetch it again")
    if path.is_dir() or size > LONGEST_LINK:
        return
    text = path.read_bytes().decode("latin-1").strip()
    if LINK_TEXT.match(text):
        raise DatasetError(
            f"{path} is broken",
            found=f"the text of a link, {size} bytes, in place of the file: {text[:80]}",
            do="Fetch it again; if it is so in the dataset itself, the run cannot be used",
        )
