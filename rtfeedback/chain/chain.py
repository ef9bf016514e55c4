"""The stages in their order, with one clock of samples through all of them."""

from __future__ import annotations

from collections.abc import Callable
from math import ceil

import numpy as np

from rtfeedback.chain.band_power import BandPower
from rtfeedback.chain.decimate import Decimate
from rtfeedback.chain.front import Front
from rtfeedback.chain.masks import Masks
from rtfeedback.chain.spec import ChainSpec
from rtfeedback.signals import Bool, Chunk, Float32, Float64, Int64, StreamInfo

Tap = Callable[[Float64], object]


class Chain:
    """A stream's samples in, a model's features out.

    Parameters
    ----------
    spec : ChainSpec
        What the model was trained with.
    info : StreamInfo
        What the stream offers; its channels are matched by name.
    tap : callable, optional
        Is called with the filtered signal at the stream's rate, in volts, float64 of shape
        (n_times, n_channels), each time that samples are pushed.

    Attributes
    ----------
    warm_up : int
        Samples of a segment after which the filters have settled.
    notes : tuple of str
        What of the stream was taken for what, each a sentence to be logged.

    Raises
    ------
    ChannelError
        If the stream is not what the chain was made for.
    """

    def __init__(self, spec: ChainSpec, info: StreamInfo, tap: Tap | None = None) -> None:
        self.spec = spec
        self._front = Front(spec, info)
        columns, n = self._front.columns, len(info.channels)
        self._used = _unless_all(columns, n)
        self._channels = _unless_all(columns[: len(spec.channels)], n)
        self._tap = tap
        self._decimate = Decimate(spec)
        power, artefacts = spec.config.band_power, spec.config.artefacts
        self._power = BandPower(spec, power) if power else None
        self._n_bands = len(power.bands) if power else 1
        limits = spec.artefacts
        self._masks = Masks(spec, artefacts, limits) if artefacts and limits else None
        self.notes = self._front.notes
        self.warm_up = self._settling_time()
        self._seen = 0

    def _settling_time(self) -> int:
        samples = self._front.warm_up
        if self._decimate.filter:
            samples += self._decimate.filter.warm_up
        if self._power:  # a token is settled once every sample in it is
            samples += self._power.n_fft * self.spec.factor
        return ceil(samples)

    def recorded(self, samples: Float32) -> Float32:
        """Return the model's channels as they came, shape (n_times, n_channels).

        Where the stream has them and no others, in this order, they are the samples
        themselves.
        """
        return samples if self._channels is None else samples.take(self._channels, axis=1)

    def usable(self, chunk: Chunk) -> Bool:
        """Return which samples can be used, shape (n_times,); see `Chunk.usable`."""
        return chunk.usable(self._used)

    def next_output(self, index: int) -> int:
        """Return the first sample of a segment, from that index on, at which one comes out."""
        kept = -(-index // self.spec.factor)
        return self.spec.factor * (self._power.next_end(kept) if self._power else kept)

    def reset(self) -> None:
        """Forget the past; the next sample begins a segment and the warm-up."""
        self._seen = 0
        for stage in (self._front, self._decimate, self._power, self._masks):
            if stage:
                stage.reset()

    def push(self, samples: Float32) -> tuple[Float32, Int64]:
        """Pass new samples through.

        Parameters
        ----------
        samples : float32, shape (n_times, n_stream_channels)
            As received, in the stream's unit.

        Returns
        -------
        features : float32, shape (n_out, n_features)
            Volts, or log10 V**2 for tokens; NaN where an artefact lies in it.
        index : int64, shape (n_out,)
            For each, the index in the segment of the newest sample in it. Below
            `warm_up` the filters have not settled.
        """
        index = np.arange(self._seen, self._seen + len(samples), dtype=np.int64)
        self._seen += len(samples)
        signals = self._front(samples)
        if self._tap:
            self._tap(signals.filtered)
        x, index = self._decimate(signals.filtered, index)
        if self._power:
            x, index = self._power(x, index)
        features = x.astype(np.float32)
        if self._masks and len(samples):
            masked = self._masks(signals, index)
            if masked.any():
                features[masked.repeat(self._n_bands, axis=1)] = np.nan
        return features, index


def _unless_all(columns: Int64, n: int) -> Int64 | None:
    """Return some of n columns, or None where they are all as they stand."""
    return None if np.array_equal(columns, np.arange(n)) else columns
