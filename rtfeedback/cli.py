"""The command line: parse, hand over, and say an error as one paragraph.

Nothing heavy is imported before a command runs, so that `--help` is quick.
"""

from __future__ import annotations

import errno
import os
import signal
import sys
from collections.abc import Callable

import typer

from rtfeedback.commands import data, lab, models

app = typer.Typer(
    name="rtfeedback",
    help="Neurofeedback on fMRI activity predicted from EEG. Research use only; not yet"
    " validated on real paired EEG-fMRI.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)

UNWRITABLE = (errno.ENOSPC, errno.EACCES, errno.EROFS, errno.EDQUOT, errno.EIO)
# What the extra `offline` brings; the last two come with it and are imported as well.
OFFLINE = (
    "mne mne_bids pybv pyxdf nibabel nilearn sklearn matplotlib tensorboard pandas"
    " threadpoolctl"
)
TUNE = "optuna sqlalchemy tomli_w"  # what the extra `tune` brings

COMMANDS: tuple[Callable[..., None], ...] = (
    *(data.demo, data.simulate, data.fetch, data.prepare),
    *(models.train, models.calibrate, models.pretrain, models.tune),
    *(models.evaluate, models.explain, models.classify, data.play),
    *(lab.doctor, lab.run, lab.listen, lab.replay),
)
for command in COMMANDS:
    app.command()(command)


def main() -> None:
    """Run the command line: exit 1 with one paragraph on what a user can mend."""
    from rtfeedback.errors import RtfeedbackError

    # A terminated command leaves through its context managers, so that nothing is left.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        app()
    except RtfeedbackError as error:
        _fail(str(error))
    except BrokenPipeError:
        os._exit(1)
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if package in TUNE.split():
            _fail(
                f"'tune' needs {package}, which is not installed."
                " Install what it needs: pip install 'rtfeedback[tune]'."
            )
        if package not in OFFLINE.split():
            raise
        _fail(
            f"This command needs {package}, which is not installed."
            " Install what the desk needs: pip install 'rtfeedback[offline]'."
        )
    except OSError as error:
        if error.filename is None and error.errno not in UNWRITABLE:
            raise
        _fail(
            f"{error.filename or 'A file'} cannot be read or written."
            f" {error.strerror}. Check path and permissions, or free some space."
        )
    except KeyboardInterrupt:
        sys.exit(130)


def _fail(paragraph: str) -> None:
    print(paragraph, file=sys.stderr)  # noqa: T201
    sys.exit(1)


if __name__ == "__main__":
    main()
