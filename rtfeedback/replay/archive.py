"""The folder of a run that is over, or was killed: what was received and published."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import BaseModel, TypeAdapter, ValidationError

from rtfeedback.config import Config
from rtfeedback.errors import RecordingError
from rtfeedback.online.description import parse
from rtfeedback.online.settings import RunConfig, RunOptions
from rtfeedback.signals import Chunk, Marker, StreamInfo
from rtfeedback.xdf import Samples, StreamHeader, count_streams, read_chunks

A_SESSION = "Name the folder of one run, such as sessions/sub-01/ses-01/run-01"


class _Published(BaseModel, strict=True):
    """What is compared of a feedback message."""

    seq: int
    reason: str
    valid: bool
    value: float | None
    age_ms: float | None
    rois: dict[str, dict[str, float | None]]


class _Volume(BaseModel, strict=True):
    """What is compared of a whole volume."""

    seq: int
    volume: int
    sha256: str


class _Happened(BaseModel, strict=True):
    """What is compared of an event."""

    event: str


_COMPARED: dict[str, type[BaseModel]] = {
    "feedback": _Published,
    "volume": _Volume,
    "event": _Happened,
}


class Locked(Config):
    """What `run.json` holds."""

    options: dict[str, Any]
    argv: list[str]
    versions: dict[str, str]
    machine: dict[str, str]


@dataclass(frozen=True, slots=True)
class Opened:
    """An EEG stream was opened: the run's first, or one in place of one that ended."""

    info: StreamInfo


Received = Opened | Marker | Chunk


class Archive:
    """One run's folder.

    Parameters
    ----------
    path : Path

    Attributes
    ----------
    options : RunOptions
    config : RunConfig
    versions, machine : dict of str
        What it was computed with and on.
    messages : list of dict
        All that was published, as far as it was written.
    closed : bool
        Whether the run ended by itself, so that nothing is missing at its end.

    Raises
    ------
    RecordingError
        It is no run's folder, or one that cannot be read.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        locked = self._locked()
        try:
            self.options = TypeAdapter(RunOptions).validate_python(locked.options["run"])
            self.config = RunConfig.model_validate(locked.options["config"])
        except (ValidationError, KeyError) as error:
            raise self._broken("run.json", error) from error
        self.versions, self.machine = locked.versions, locked.machine
        self.messages = self._messages()
        last = self.messages[-1] if self.messages else {}
        self.closed = last.get("topic") == "status" and last.get("state") == "stopped"

    @property
    def checkpoint(self) -> Path:
        """The copy of the checkpoint that it ran with."""
        return self.path / "checkpoint"

    @property
    def recording(self) -> Path:
        """The XDF file with EEG and markers."""
        found = sorted(self.path.glob("*.xdf"))
        if len(found) != 1:
            raise RecordingError(
                f"{self.path} holds {len(found)} XDF files, not one", do=A_SESSION
            )
        return found[0]

    @cached_property
    def ended(self) -> bool:
        """Whether every stream was ended, which a run does last of all.

        Raises
        ------
        RecordingError
            It is no XDF, or broken.
        """
        began, ended = count_streams(self.recording)
        # One that broke off ended too, and its run went on.
        broke_off = len([m for m in self.messages if m.get("event") == "lost"])
        return broke_off < ended == began

    def received(self) -> Iterator[Received]:
        """Yield what the run received, in the order in which it was used.

        Raises
        ------
        RecordingError, StreamError
            The recording is no XDF, broken, or holds a stream that cannot be read.
        """
        eeg: set[int] = set()
        for chunk in read_chunks(self.recording):
            if isinstance(chunk, StreamHeader) and _is_eeg(chunk):
                eeg.add(chunk.stream)
                yield Opened(parse(chunk.xml)[0])
            elif isinstance(chunk, Samples) and chunk.stream in eeg:
                with np.errstate(over="ignore"):  # as when it was received
                    samples = np.array(chunk.values, np.float32, order="C")
                yield Chunk(samples, chunk.stamps, 0.0)
            elif isinstance(chunk, Samples):
                for stamp, row in zip(chunk.stamps.tolist(), chunk.values, strict=True):
                    yield Marker.of(stamp, tuple(row))

    def _locked(self) -> Locked:
        try:
            text = (self.path / "run.json").read_text(encoding="utf-8")
            return Locked.model_validate_json(text)
        except (OSError, ValueError) as error:
            raise self._broken("run.json", error) from error

    def _messages(self) -> list[dict[str, Any]]:
        """Return the whole lines: a kill may have cut the last."""
        try:
            text = (self.path / "messages.jsonl").read_text(encoding="utf-8")
            whole = text[: text.rfind("\n") + 1].splitlines()
            return [_message(line) for line in whole]
        except (OSError, ValueError, RecursionError) as error:
            raise self._broken("messages.jsonl", error) from error

    def _broken(self, file: str, error: Exception) -> RecordingError:
        reason = error.strerror if isinstance(error, OSError) else " ".join(str(error).split())
        return RecordingError(
            f"The {file} of {self.path} cannot be read", found=str(reason)[:300], do=A_SESSION
        )


def _is_eeg(header: StreamHeader) -> bool:
    """Tell EEG from markers, which have no rate or are text."""
    return header.channel_format != "string" and header.sfreq > 0


def _message(line: str) -> dict[str, Any]:
    message = json.loads(line)
    if not isinstance(message, dict) or not isinstance(message.get("topic"), str):
        raise ValueError(f"no message: {line[:60]}")
    if compared := _COMPARED.get(message["topic"]):
        compared.model_validate(message)
    return message
