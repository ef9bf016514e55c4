"""What was heard and seen of a run that soaked, and the figures that it comes to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from rtfeedback.signals import Float64

SETTLED = 60.0  # s after which memory has to be flat: buffers have filled by then

Figures = list[tuple[str, str]]


class Look(NamedTuple):
    """The run at one moment; `at` is in seconds since the first sample."""

    at: float
    megabytes: float
    cpu: float
    machine: float


@dataclass
class Heard:
    """What was heard and seen.

    Attributes
    ----------
    received : list of (float, dict)
        Each message and when it came, by the LSL clock.
    looks : list of Look
    """

    received: list[tuple[float, dict[str, Any]]] = field(default_factory=list)
    looks: list[Look] = field(default_factory=list)

    def of(self, topic: str) -> list[dict[str, Any]]:
        """Return the messages of a topic."""
        return [message for _, message in self.received if message["topic"] == topic]

    @property
    def stopped(self) -> bool:
        """Whether the run has said that it is over."""
        return any(m["state"] == "stopped" for m in self.of("status")[-2:])

    def latency(self, pushed: Float64, first: float, rate: float) -> Float64:
        """Return the seconds from the push of each value's newest sample to its receipt."""
        pairs = [
            (at, message["lsl_time"])
            for at, message in self.received
            if message["topic"] == "feedback" and message["valid"]
        ]
        at, stamps = np.array(pairs, float).reshape(-1, 2).T
        return np.asarray(at - pushed[np.rint((stamps - first) * rate).astype(int)])

    @property
    def settled(self) -> list[Look]:
        """The looks after the first minute, or after a third of a short soak."""
        since = min(SETTLED, self.looks[-1].at / 3)
        return [look for look in self.looks if look.at >= since]

    def growth(self) -> float:
        """Return by how many MB an hour memory grew, once it had settled."""
        if len(self.settled) < 3:
            return np.nan
        at, megabytes, _, _ = np.array(self.settled).T
        return float(np.polyfit(at, megabytes, 1)[0] * 3600)


def messages(heard: Heard) -> Figures:
    """Return what came, and what for."""
    reasons = _counted([message["reason"] for message in heard.of("feedback")])
    events = [m["event"] for m in heard.of("event") if m["event"] != "volume"]
    return [
        ("feedback messages received", f"{len(heard.of('feedback'))}: {reasons}"),
        ("events, volumes aside", _counted(events) or "none"),
    ]


def latency(seconds: Float64) -> Figures:
    """Return how late values were."""
    if not len(seconds):
        return [("latency", "no valid value")]
    p50, p99, largest = 1000 * np.percentile(seconds, [50, 99, 100])
    return [("latency p50 / p99 / largest", f"{p50:.2f} / {p99:.2f} / {largest:.2f} ms")]


def costs(heard: Heard) -> Figures:
    """Return what memory and processors say, once memory has settled."""
    start, end = heard.settled[0], heard.settled[-1]
    elapsed = max(end.at - start.at, 1e-9)
    cpu = (end.cpu - start.cpu) / elapsed
    return [
        (f"memory at {start.at:.0f} s", f"{start.megabytes:.1f} MB"),
        (f"memory at {end.at:.0f} s", f"{end.megabytes:.1f} MB"),
        ("memory's growth between them", f"{heard.growth():+.2f} MB an hour"),
        ("CPU of the run", f"{cpu:.4f} s/s"),
        ("other load", f"{(end.machine - start.machine) / elapsed - cpu:.2f} cores"),
    ]


def record(session: Path) -> Figures:
    """Return how large the record of a run is."""
    files = [file for file in session.iterdir() if file.is_file()]
    largest = sorted(files, key=lambda file: -file.stat().st_size)[:3]
    sizes = [f"{file.stat().st_size / 1e6:.1f} MB {file.name}" for file in largest]
    return [("record", ", ".join(sizes))]


def _counted(words: Sequence[str]) -> str:
    return ", ".join(f"{words.count(word)} {word}" for word in dict.fromkeys(words))
