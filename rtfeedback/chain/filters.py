"""Recursive filters that start settled on a segment's first sample and carry state."""

from __future__ import annotations

import numpy as np
from scipy import signal

from rtfeedback.chain.spec import ChainSpec
from rtfeedback.signals import Float64

NOTCH_Q = 30.0
SETTLED = 1e-2  # a transient below one per cent has settled
STOP_DB = 60.0  # nothing above the new Nyquist frequency keeps more than 1/1000
NO_SECTION: Float64 = np.empty((0, 6))


class Filter:
    """A cascade of second-order sections along time, in float64.

    `sosfilt` with carried state gives the same bits for any cutting; an FIR through
    `lfilter` or a convolution does not. A cascade of no section is no filter: what goes
    in comes out, and is not copied.

    Parameters
    ----------
    sos : float64, shape (n_sections, 6)
    """

    def __init__(self, sos: Float64) -> None:
        self.sos = sos
        self._steady = signal.sosfilt_zi(sos) if len(sos) else np.empty((0, 2))
        self._state: Float64 | None = None

    @property
    def warm_up(self) -> float:
        """Samples until the sections' transients, one after the other, have settled."""
        poles = np.abs([pole for section in self.sos for pole in np.roots(section[3:])])
        poles = poles[poles > 0]
        return float(np.sum(np.log(SETTLED) / np.log(poles)) / 2)  # two poles a section

    def reset(self) -> None:
        """Forget the past; the next sample begins a segment."""
        self._state = None

    def __call__(self, x: Float64) -> Float64:
        """Return x filtered, shape (n_times, n_channels)."""
        if len(x) == 0 or len(self.sos) == 0:
            return x
        if self._state is None:
            # Starting from zeros, a 50 mV electrode offset takes seconds to settle.
            self._state = self._steady[:, :, None] * x[0]
        y, self._state = signal.sosfilt(self.sos, x, axis=0, zi=self._state)
        return np.ascontiguousarray(y)


def high_pass(spec: ChainSpec) -> Filter:
    """Return the band's lower edge, where there is a band, and the mains notches."""
    parts = [NO_SECTION]
    if spec.config.band:
        low, _ = spec.config.band
        parts.append(signal.butter(2, low, "highpass", fs=spec.sfreq, output="sos"))
    parts += [
        signal.tf2sos(*signal.iirnotch(mains, NOTCH_Q, fs=spec.sfreq))
        for mains in spec.config.notch
    ]
    return Filter(np.concatenate(parts))


def low_pass(spec: ChainSpec) -> Filter:
    """Return the band's upper edge, where there is a band."""
    if spec.config.band is None:
        return Filter(NO_SECTION)
    _, high = spec.config.band
    return Filter(signal.butter(4, high, "lowpass", fs=spec.sfreq, output="sos"))


def anti_alias_filter(spec: ChainSpec) -> Filter:
    """Return an 8th-order Chebyshev II low-pass that stops at the new Nyquist frequency."""
    stop = float(spec.sample_rate) / 2
    return Filter(signal.cheby2(8, STOP_DB, stop, "lowpass", fs=spec.sfreq, output="sos"))
