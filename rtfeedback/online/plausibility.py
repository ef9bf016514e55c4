"""Whether a stream can be what the checkpoint was trained on: its rate, size and scanner.

And whether it is EEG at all: an amplifier's program may hang and go on sending.

Found out over the seconds of a segment (see `timeline`), so that what it says of a window
depends on no chunk.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil
from statistics import median

import numpy as np
from numpy.typing import NDArray

from rtfeedback.checkpoint import CheckpointSpec
from rtfeedback.online.timeline import RATE_TOLERANCE, Timeline
from rtfeedback.signals import Float32, Float64
from rtfeedback.volume_locked import VolumeLocked

MAGNITUDE = 8.0  # times the training's amplitude, or a part of it: no cap or brain does that
LOOKS = 10  # s over which the amplitude is judged
FIRST = 3  # s without which it is not, and the newest of which are judged by themselves
AGAIN = 2  # s that are the same as those up to 2 s before them: no noise does that
LOCKED = 0.5  # share of the variance that repeats with the volumes: gradient artefact


@dataclass(frozen=True, slots=True)
class Doubt:
    """Why nothing that comes from the stream can be valid, and what to do."""

    reason: str
    found: str
    do: str


class Plausibility:
    """Watches a stream's rate, amplitude and what of it repeats with the volumes.

    Parameters
    ----------
    spec : CheckpointSpec
    tr : float
        Seconds.

    Attributes
    ----------
    doubt : Doubt or None
        What holds against the stream as of the last second.
    magnitude : float or None
        Its amplitude in those of the training, which is 1; None where the checkpoint does
        not state that, or in the first seconds of a segment.
    """

    def __init__(self, spec: CheckpointSpec, tr: float) -> None:
        limits = spec.chain.artefacts
        self._typical = np.array(limits.typical) if limits else None
        self._n_channels = len(spec.chain.channels)
        self._window = spec.window.length
        self._second = max(1, round(spec.chain.sfreq))
        self._sfreq = spec.chain.sfreq
        trained = spec.training.volume_locked
        self._raw_is_expected = trained is not None and trained > LOCKED
        self.follow(tr)
        self.doubt: Doubt | None = None
        self._looks: deque[float] = deque(maxlen=LOOKS)
        self._sent = _Sent(self._n_channels, self._second)
        self._begin_second()
        self.begin()

    def follow(self, tr: float) -> None:
        """Go by another TR from here on."""
        self._tr = tr
        self._locked = VolumeLocked(tr, self._sfreq, self._n_channels)

    def begin(self) -> None:
        """Begin a segment: what was found out of the one before may not hold for it."""
        self._looks.clear()
        self._sent.begin()
        self._hung, self._within = "", 0  # s that a window still holds what was no EEG
        if self._n:  # too little for a verdict, and yet of a volume
            self._locked.push(np.concatenate(self._filtered), np.concatenate(self._stamps))
        self._begin_second()

    def _begin_second(self) -> None:
        # Kept until the second is whole: small arrays cost as much as large ones.
        self._recorded: list[Float32] = []
        self._filtered: list[Float64] = []
        self._stamps: list[Float64] = []
        self._n = 0

    def hear(self, recorded: Float32) -> None:
        """Take the chain's channels as they came, shape (n_times, n_channels).

        Call it before `look`, with the same samples; without it a program that hangs is
        not found out. The array is kept for a second, and must not change.
        """
        self._recorded.append(recorded)

    def tap(self, filtered: Float64) -> None:
        """Take the chain's filtered signal, shape (n_times, n_channels), in volts.

        The array is kept for a second, and must not change.
        """
        self._filtered.append(filtered)

    def look(self, stamps: Float64, timeline: Timeline) -> None:
        """Judge what was tapped, whose samples have these stamps, once a second is over."""
        self._stamps.append(stamps)
        self._n += len(stamps)
        if not timeline.second_is_over:
            return
        x = np.concatenate(self._filtered)
        self._locked.push(x, np.concatenate(self._stamps))
        hung = self._of_sending()
        if self._typical is not None and not hung:  # what is no EEG has no amplitude
            rms = np.sqrt(np.einsum("tc,tc->c", x, x) / len(x))
            self._looks.append(float(np.median(rms / np.maximum(self._typical, 1e-12))))
        self._begin_second()
        rate = self._of_rate(timeline)
        self.doubt = rate or hung or self._of_magnitude() or self._of_scanner()

    @property
    def undecided(self) -> bool:
        """Return whether too little of the segment was seen to believe in its unit."""
        if self._typical is None or self.doubt:
            return False
        return len(self._looks) < FIRST

    @property
    def magnitude(self) -> float | None:
        """Return the amplitude in those of the training."""
        return median(self._looks) if len(self._looks) >= FIRST else None

    @property
    def locked(self) -> float | None:
        """Return the share of the variance that repeats with the volumes."""
        return self._locked.share

    def _of_rate(self, timeline: Timeline) -> Doubt | None:
        if timeline.rate_is_nominal or timeline.rate is None:
            return None
        return Doubt(
            "rate",
            f"{timeline.rate:.2f} samples a second came, {timeline.sfreq:g} are stated:"
            f" more than {100 * RATE_TOLERANCE:g} % off",
            "Samples are being lost on the way, or the amplifier's program states a false"
            " rate: mend that",
        )

    def _of_sending(self) -> Doubt | None:
        """Doubt what hangs, for as long as a window holds any of it."""
        if found := self._sent.judge(self._recorded):
            self._hung = found
            self._within = ceil(self._window) + 1  # it may go on into the next second
        elif self._within:
            self._within -= 1
        if not self._within:
            return None
        return Doubt("artefact", self._hung, "Start the amplifier's program again")

    def _of_magnitude(self) -> Doubt | None:
        if len(self._looks) < FIRST:  # a doubt outlives its segment until there is a verdict
            return self.doubt if self.doubt and self.doubt.reason == "units" else None
        newest = median([*self._looks][-FIRST:])
        wrong = [times for times in (newest, median(self._looks)) if not _is_eeg_like(times)]
        if not wrong:
            return None
        times = wrong[0]
        return Doubt(
            "units",
            f"The EEG's amplitude is {times:.2g} times that of the training",
            "Have the amplifier's program state the unit that it sends, or mend the cap",
        )

    def _of_scanner(self) -> Doubt | None:
        share = self.locked
        if self._raw_is_expected or share is None or share <= LOCKED:
            return None
        return Doubt(
            "scanner_artefact",
            f"{100 * share:.0f} % of the EEG's variance repeats every {self._tr:g} s:"
            " gradient artefact of a running scanner",
            "Stream EEG that was corrected for it, as the training's was, or train on raw EEG",
        )


def _is_eeg_like(times: float) -> bool:
    return not times or 1 / MAGNITUDE <= times <= MAGNITUDE  # 0 is flat, which says itself


class _Sent:
    """What came bit for bit: channels that stand still, a buffer that is sent again.

    Of each sample a hash is kept, a sum in integers, so that no chunk changes it.
    """

    def __init__(self, n_channels: int, second: int) -> None:
        self._second = second  # in samples
        n_words = (n_channels + 1) // 2
        rng = np.random.default_rng(0)
        self._weights = rng.integers(1, 2**64, n_words, dtype=np.uint64) | np.uint64(1)
        self.begin()

    def begin(self) -> None:
        self._hashes = np.empty(0, np.uint64)  # of the last 4 s
        self._last: Float32 | None = None  # the newest sample, shape (1, n_channels)

    def judge(self, second: Sequence[Float32]) -> str:
        """Return what is wrong with a second, in words, if anything is."""
        if not second:
            return ""
        samples = np.concatenate(second)
        before = samples[:1] if self._last is None else self._last
        moved = (samples != before).any(axis=0)
        self._last = samples[-1:]
        hashes = np.einsum("tw,w->t", _words(samples), self._weights)
        self._hashes = np.concatenate([self._hashes, hashes])[-2 * AGAIN * self._second :]
        still, n = int(np.sum(~moved)), len(moved)
        if still == n:
            return "No channel changed for a second: the amplifier's program sends one value"
        if 2 * still > n:
            return f"{still} of {n} channels did not change for a second"
        if lag := self._lag():
            return f"The same {lag / self._second:g} s are sent again and again"
        return ""

    def _lag(self) -> int | None:
        """Return after how many samples the newest ones come again, if they do."""
        hashes, n = self._hashes, AGAIN * self._second
        if len(hashes) <= n:
            return None
        lags = np.arange(1, len(hashes) - n + 1)
        alike = (hashes[-1 - lags] == hashes[-1]) & (hashes[-n - lags] == hashes[-n])
        for lag in lags[alike]:
            if np.array_equal(hashes[-n:], hashes[-n - lag : -lag]):
                return int(lag)
        return None


def _words(samples: Float32) -> NDArray[np.uint64]:
    """Return the bits of each sample, two channels a word, shape (n_times, n_words)."""
    if samples.shape[1] % 2:
        samples = np.pad(samples, ((0, 0), (0, 1)))
    return np.ascontiguousarray(samples, np.float32).view(np.uint64)
