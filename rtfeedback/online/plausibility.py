"""Whether a stream can be what the checkpoint was trained on: its rate, size and scanner.

Found out over seconds, at whole seconds of a segment, so that what it says of a window
depends on no chunk.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from statistics import median

import numpy as np

from rtfeedback.checkpoint import CheckpointSpec
from rtfeedback.online.timeline import RATE_TOLERANCE, Timeline
from rtfeedback.signals import Float64
from rtfeedback.volume_locked import VolumeLocked

MAGNITUDE = 8.0  # times the training's amplitude, or a part of it: no cap or brain does that
LOOKS = 10  # s over which the amplitude is judged
FIRST = 3  # s without which it is not
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
        What holds against the stream as of the last whole second.
    magnitude : float or None
        Its amplitude in those of the training, which is 1; None where the checkpoint does
        not state that, or in the first seconds.
    """

    def __init__(self, spec: CheckpointSpec, tr: float) -> None:
        limits = spec.chain.artefacts
        self._typical = np.array(limits.typical) if limits else None
        self._n_channels = len(spec.chain.channels)
        self._second = max(1, round(spec.chain.sfreq))
        self._sfreq = spec.chain.sfreq
        trained = spec.training.volume_locked
        self._raw_is_expected = trained is not None and trained > LOCKED
        self.follow(tr)
        self.doubt: Doubt | None = None
        self._filtered: Float64 = np.empty((0, self._n_channels))
        self._looks: deque[float] = deque(maxlen=LOOKS)
        self.begin()

    def follow(self, tr: float) -> None:
        """Go by another TR from here on."""
        self._tr = tr
        self._locked = VolumeLocked(tr, self._sfreq, self._n_channels)

    def begin(self) -> None:
        """Begin a segment."""
        self._power, self._n = np.zeros(self._n_channels), 0

    def tap(self, filtered: Float64) -> None:
        """Take the chain's filtered signal, shape (n_times, n_channels), in volts."""
        self._filtered = filtered

    def look(self, stamps: Float64, timeline: Timeline) -> None:
        """Judge what was tapped, whose samples have these stamps; none straddle a second."""
        x = self._filtered
        self._locked.push(x, stamps)
        self._power += np.einsum("tc,tc->c", x, x)
        self._n += len(x)
        if self._n < self._second:
            return
        if self._typical is not None:
            rms = np.sqrt(self._power / self._n)
            self._looks.append(float(np.median(rms / np.maximum(self._typical, 1e-12))))
        self.begin()
        self.doubt = self._of_rate(timeline) or self._of_magnitude() or self._of_scanner()

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

    def _of_magnitude(self) -> Doubt | None:
        times = self.magnitude
        if not times or 1 / MAGNITUDE <= times <= MAGNITUDE:  # 0 is flat, which says itself
            return None
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
