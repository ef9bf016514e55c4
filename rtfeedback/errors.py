"""The one tree of errors that a user may meet; it knows nothing of the command line.

Anything raised that is not a `RtfeedbackError` is a bug and keeps its traceback.
"""

from __future__ import annotations

from collections.abc import Sequence


def listed(texts: Sequence[str], most: int = 8) -> str:
    """Return texts with commas between them, and how many more there are than some."""
    more = f" and {len(texts) - most} more" if len(texts) > most else ""
    return ", ".join(texts[:most]) + more


class RtfeedbackError(Exception):
    """Say what is wrong, what was found and what to do, as one paragraph.

    Parameters
    ----------
    wrong : str
        What is wrong, a sentence.
    found : str
        What was found in place of what was expected.
    do : str
        What the user can do about it.
    """

    def __init__(self, wrong: str, *, found: str = "", do: str = "") -> None:
        self.wrong, self.found, self.do = wrong, found, do
        super().__init__(" ".join(_sentence(part) for part in (wrong, found, do) if part))


class ConfigError(RtfeedbackError):
    """A TOML file that cannot be read, or a key or value that is not allowed."""


class RecordingError(RtfeedbackError):
    """An EEG recording that is broken, foreign or too short."""


class DatasetError(RtfeedbackError):
    """A dataset or store whose parts are missing, broken or do not fit together."""


class CheckpointError(RtfeedbackError):
    """A checkpoint that is broken, foreign or made by other code."""


class ChannelError(RtfeedbackError):
    """Channels, units, rate or reference other than the chain was made for."""


class StreamError(RtfeedbackError):
    """A stream that is absent, ambiguous or not what the checkpoint needs."""


class PublishError(RtfeedbackError):
    """An endpoint that cannot be bound."""


class OutputError(RtfeedbackError):
    """A folder that is full, not writable or already taken."""


def _sentence(part: str) -> str:
    # Lines of another's message become one; double spaces stay, as markers have them.
    part = " ".join(line.strip() for line in part.strip().splitlines())
    return part if part.endswith((".", "!", "?")) else part + "."
