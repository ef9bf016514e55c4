"""Fit what tells artefacts from EEG: the EOG's share of each channel, and its limits."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import NamedTuple

import numpy as np

from offline.eeg.features import through_chain
from offline.eeg.recordings import Recording
from rtfeedback.chain import ChainSpec
from rtfeedback.chain.criteria import Muscle, Steps, field
from rtfeedback.chain.front import Front, Signals
from rtfeedback.chain.limits import BLOCK, ArtefactConfig, ArtefactLimits, EOGRegression
from rtfeedback.channels import canonical
from rtfeedback.errors import DatasetError
from rtfeedback.signals import Bool, Float32, Float64, StreamInfo

Runs = Mapping[str, Callable[[], Recording]]

BLOCKS = 240  # of EEG through the chain's front at a time: a minute
LARGE = 5.0  # robust sds beyond which the EOG is a blink or a saccade; alpha never is
EYES = 1.0  # s: of less than this of large EOG nothing is learned
RATE = 125.0  # Hz: all that EOG needs, however fast it was recorded
ALIVE = 0.1  # of the blocks: a channel that is flat in more has no typical block


def fit_artefacts(spec: ChainSpec, runs: Runs) -> ChainSpec:
    """Return a chain with its EOG regression and its limits, as its recipe asks for them.

    Parameters
    ----------
    spec : ChainSpec
    runs : mapping of str to callable
        The runs to fit on: each name with what reads the recording, which is called once
        for each pass so that no two recordings are in memory at once.

    Raises
    ------
    DatasetError
        If a channel is flat in nearly all of the runs, or they are too short.
    ChannelError
        If a run lacks a channel.
    """
    if spec.config.eog:
        spec = spec.model_copy(update={"eog": fit_eog(spec, runs)})
    if spec.config.artefacts:
        limits = fit_limits(spec, runs, spec.config.artefacts)
        spec = spec.model_copy(update={"artefacts": limits})
        limits = limits.model_copy(update={"usual": _usually_masked(spec, runs)})
        spec = spec.model_copy(update={"artefacts": limits})
    return ChainSpec.model_validate(spec.model_dump())


# ------------------------------------------------------------------------------- the eyes


def fit_eog(spec: ChainSpec, runs: Runs) -> EOGRegression:
    """Return the least-squares share of each EOG channel in each EEG channel.

    It is taken over the samples at which an EOG channel is large, blinks and saccades:
    over all samples, what frontal channels share with the others is mostly brain [1]_.
    Where there is less than a second of that, the shares are zero and nothing is taken out.

    References
    ----------
    .. [1] Croft & Barry 2000, Neurophysiol. Clin. 30:5, doi:10.1016/S0987-7053(00)00055-1.
    """
    eog = tuple(canonical(name) for name in spec.config.eog)
    n, n_eog = len(spec.channels), len(eog)
    referenced: tuple[bool, ...] = ()
    within, across, seconds = np.zeros((n_eog, n_eog)), np.zeros((n_eog, n)), 0.0
    for read in runs.values():
        recording = read()
        referenced = referenced or _referenced(eog, recording.info)
        unfitted = EOGRegression(
            channels=eog,
            referenced=referenced,
            coefficients=((0.0,) * n,) * n_eog,
            fitted_on=(),
        )
        step = max(1, round(spec.sfreq / RATE))
        front = Front(spec.model_copy(update={"eog": unfitted}), recording.info)
        parts = _settled(front, front.with_eog, recording)
        x = np.concatenate([part.filtered[::step] for part in parts])
        x = x[_eyes_move(x[:, n:])]
        within += x[:, n:].T @ x[:, n:]
        across += x[:, n:].T @ x[:, :n]
        seconds += len(x) * step / spec.sfreq
    fitted: Float64 = np.zeros((n_eog, n))
    if seconds >= EYES:
        fitted = np.asarray(np.linalg.lstsq(within, across, rcond=None)[0], dtype=np.float64)
    return EOGRegression(
        channels=eog,
        referenced=referenced,
        coefficients=tuple(tuple(row) for row in fitted.tolist()),
        fitted_on=tuple(runs),
    )


def _eyes_move(eog: Float64) -> Bool:
    sizes = np.abs(eog - np.median(eog, axis=0))
    sds = np.median(sizes, axis=0) / 0.6745
    return np.asarray((sizes > LARGE * np.maximum(sds, 1e-9)).any(axis=1))


def _referenced(eog: tuple[str, ...], info: StreamInfo) -> tuple[bool, ...]:
    """Return which of the EOG channels are EEG; one that is absent the chain will refuse."""
    kinds = {canonical(n): k for n, k in zip(info.channels, info.kinds, strict=True)}
    return tuple(kinds.get(name) == "eeg" for name in eog)


# ----------------------------------------------------------------------------- the limits


def fit_limits(spec: ChainSpec, runs: Runs, config: ArtefactConfig) -> ArtefactLimits:
    """Return each channel's limits: what it does in its median block, times the recipe's."""
    measured = [blocks for read in runs.values() for blocks in _measure(spec, read())]
    if sum(len(blocks.typical) for blocks in measured) == 0:
        raise DatasetError(
            "There is too little EEG to fit artefact limits on",
            found=f"No settled block of {BLOCK:g} s in {', '.join(runs) or 'no run'}",
            do="Record longer runs, or set artefacts = false in the chain's recipe",
        )
    blocks = _Blocks(*(np.concatenate(each) for each in zip(*measured, strict=True)))
    alive = blocks.extent > 0
    _refuse_flat(spec, alive)
    median = partial(_median, alive=alive)
    amplitude = config.amplitude * median(blocks.amplitude)
    return ArtefactLimits(
        amplitude=_numbers(amplitude),
        field=config.field * _typical_field(spec, runs, amplitude),
        step=_numbers(config.step * median(blocks.step)),
        muscle=_numbers(config.muscle * np.sqrt(median(blocks.muscle))),
        flat=_numbers(config.flat * median(blocks.extent)),
        typical=_numbers(median(blocks.typical)),
        fitted_on=tuple(runs),
    )


class _Blocks(NamedTuple):
    """What each channel does in each block of 0.25 s, all (n_blocks, n_channels).

    The largest filtered value, step (in volts) and muscle power (V**2), the extent of what
    was recorded, and the rms of the filtered signal.
    """

    amplitude: Float64
    step: Float64
    muscle: Float64
    extent: Float64
    typical: Float64


def _measure(spec: ChainSpec, recording: Recording) -> Iterator[_Blocks]:
    front, steps, muscle = Front(spec, recording.info), Steps(spec), Muscle(spec)
    n = len(spec.channels)
    for part in _settled(front, front, recording):
        x = _in_blocks(part.filtered, spec)
        yield _Blocks(
            amplitude=np.abs(x).max(axis=1),
            step=_in_blocks(steps(part.broad), spec).max(axis=1),
            muscle=_in_blocks(muscle(part.broad), spec).max(axis=1),
            extent=np.ptp(_in_blocks(part.recorded[:, :n], spec), axis=1),
            typical=np.sqrt(np.mean(x**2, axis=1)),
        )


def _typical_field(spec: ChainSpec, runs: Runs, amplitude: Float64) -> float:
    """Return the median over blocks of the largest field."""
    largest = []
    for read in runs.values():
        recording = read()
        front = Front(spec, recording.info)
        for part in _settled(front, front, recording):
            largest.append(_in_blocks(field(part.filtered, amplitude), spec).max(axis=1))
    return float(np.median(np.concatenate(largest)))


def _usually_masked(spec: ChainSpec, runs: Runs) -> tuple[float, ...]:
    """Return the share of the chain's rows in which each channel is masked."""
    masked, n_rows = np.zeros(len(spec.channels)), 0
    n_bands = spec.n_bands
    for read in runs.values():
        rows = through_chain(read(), spec)[0][:, ::n_bands]
        masked += np.isnan(rows).sum(axis=0)
        n_rows += len(rows)
    return _numbers(masked / max(1, n_rows))


def _in_blocks(x: Float64, spec: ChainSpec) -> Float64:
    """Return x, (n_times, ...), as (n_blocks, samples, ...), without what is left over."""
    length = max(2, round(BLOCK * spec.sfreq))
    n_blocks = len(x) // length
    return x[: n_blocks * length].reshape(n_blocks, length, *x.shape[1:])


def _median(x: Float64, *, alive: Bool) -> Float64:
    return np.asarray(np.nanmedian(np.where(alive, x, np.nan), axis=0))


def _numbers(x: Float64) -> tuple[float, ...]:
    return tuple(x.tolist())


def _settled(
    front: Front, signals: Callable[[Float32], Signals], recording: Recording
) -> Iterator[Signals]:
    """Yield a recording's signals, a minute at a time, once the front has settled."""
    sfreq = recording.info.sfreq
    size, unsettled = BLOCKS * round(BLOCK * sfreq), int(np.ceil(front.warm_up))
    signals(recording.samples[:unsettled])
    for first in range(unsettled, len(recording.samples), size):
        yield signals(recording.samples[first : first + size])


def _refuse_flat(spec: ChainSpec, alive: Bool) -> None:
    dead = alive.mean(axis=0) < ALIVE
    if dead.any():
        names = [name for name, flat in zip(spec.channels, dead, strict=True) if flat]
        raise DatasetError(
            f"The EEG of {', '.join(names)} does not change in the training runs",
            found=f"Flat in more than {1 - ALIVE:.0%} of their blocks of {BLOCK:g} s",
            do="Name the other channels in `channels`, and prepare without these",
        )
