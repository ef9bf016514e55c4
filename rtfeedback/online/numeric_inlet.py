"""Numbers out of liblsl into memory of our own, where they stay when the stream ends.

A pull that waits for many samples may have got some of them when the stream ends. pylsl
then raises, and drops them; liblsl had written them already.
"""

from __future__ import annotations

import ctypes
from typing import Any

import numpy as np
import pylsl.util
from numpy.typing import NDArray

from rtfeedback.signals import Float64


class NumericInlet:
    """What `pylsl.StreamInlet.pull_chunk` does for numbers, and no sample is lost by it.

    Parameters
    ----------
    inlet : pylsl.StreamInlet
        Of a numeric stream.
    most : int
        Samples that one pull takes at most.

    Attributes
    ----------
    unread : int
        Samples that waited in liblsl as the stream ended, which it gives to nobody.
    """

    def __init__(self, inlet: Any, most: int) -> None:
        self._inlet, self.most, self.unread = inlet, most, 0
        self._samples = np.empty((most, inlet.channel_count), inlet.np_dtype)
        self._stamps = np.empty(most, np.float64)
        self._to_samples, self._to_stamps = self._samples.ctypes.data, self._stamps.ctypes.data
        # No exception: its traceback would keep this inlet, and so the connection, alive.
        self._lost = False

    def waiting(self) -> int:
        """Return how many samples can be had at once."""
        return int(self._inlet.samples_available())

    def pull(self, timeout: float, wanted: int) -> tuple[NDArray[Any], Float64]:
        """Wait for so many samples, then take what else is there.

        Parameters
        ----------
        timeout : float
            Seconds to wait at most.
        wanted : int
            From 1 to `most`.

        Returns
        -------
        samples : array, shape (n_times, n_channels)
            Of the stream's type; n_times is below `wanted` after a timeout, and at the end.
        stamps : float64, shape (n_times,)

        Raises
        ------
        pylsl.util.LostError
            The stream has ended, and all that there was of it was returned before.
        """
        wanted = max(1, min(wanted, self.most))  # liblsl would write past the end
        n = 0 if self._lost else self._take(0, wanted, timeout)
        if n >= wanted and (more := min(self.waiting(), self.most - n)):
            n += self._take(n, more, 0.0)
        if self._lost and not n:
            raise pylsl.util.LostError("the stream has been lost.")
        return self._samples[:n].copy(), self._stamps[:n].copy()

    def _take(self, first: int, n: int, timeout: float) -> int:
        """Have samples written from a place on; return how many there are."""
        self._stamps[first : first + n] = 0.0  # which no sample's is
        error, n_channels = ctypes.c_int(), int(self._samples.shape[1])
        n_values: int = self._inlet.do_pull_chunk(
            self._inlet.obj,
            ctypes.c_void_p(self._to_samples + first * self._samples.strides[0]),
            ctypes.c_void_p(self._to_stamps + first * self._stamps.itemsize),
            ctypes.c_size_t(n * n_channels),
            ctypes.c_size_t(n),
            ctypes.c_double(timeout),
            ctypes.byref(error),
        )
        try:
            pylsl.util.handle_error(error)
        except pylsl.util.LostError:
            self._lost, self.unread = True, max(0, self.waiting() - 1)  # the end is one, too
            return int(np.count_nonzero(self._stamps[first : first + n]))
        return n_values // n_channels
