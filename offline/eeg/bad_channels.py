"""EEG channels that are bad for a whole run: found by PREP's criteria, and interpolated.

What is bad for a while is the chain's business: its masks go for desk and daemon alike.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from functools import cache
from math import floor
from typing import Annotated, Any

import mne
import numpy as np
from pydantic import Field
from pyprep import NoisyChannels
from scipy import signal

from offline.eeg.recordings import Recording
from rtfeedback.channels import SYNONYMS
from rtfeedback.config import Config
from rtfeedback.errors import DatasetError
from rtfeedback.signals import Float32, Float64

RATE = 250.0  # Hz: all that the criteria need, however fast it was recorded
GROUP = 4  # channels in float64 at a time
BLOCK = 100_000  # samples that are interpolated at a time
FEW = 8  # channels: of fewer there is no telling what is usual
SHORT = 10.0  # s: the same
ORIGIN = (0.0, 0.0, 0.04)  # m: centre of the template montage's sphere

Share = Annotated[float, Field(ge=0, le=1)]
Times = Annotated[float, Field(gt=0)]


class BadChannelLimits(Config):
    """From where on a channel is bad for its run.

    The criteria are PREP's [1]_, by pyprep, on EEG above 1 Hz at 250 Hz or less. PREP calls
    a channel bad that fails in 1 % of a run: here, where the whole run of the channel is
    given up for it, it takes more. PREP's noise above 50 Hz is left out: muscle under good
    temporal channels fails it, and the chain passes none of it.

    References
    ----------
    .. [1] Bigdely-Shamlo et al. 2015, Front. Neuroinform. 9:16, doi:10.3389/fninf.2015.00016.
    """

    flat: Annotated[float, Field(ge=0)] = 1e-6
    """Volts: a second in which a channel stays within this range is flat."""
    deviation: Times = 5.0
    """Robust standard deviations, over the channels, by which the amplitude of a channel
    may differ from that of the median one."""
    ratio: Annotated[float, Field(ge=1)] = 3.0
    """And times: where all channels are much alike, one that deviates is bad only if it
    is so many times larger, or smaller, than the median one."""
    correlation: Share = 0.4
    """Of a second's correlations with the other channels (1 to 50 Hz), the largest: below
    this the second is bad."""
    share: Share = 0.25
    """Share of a run's seconds from which on a channel is bad for all of it."""


def find_bad_channels(recording: Recording, limits: BadChannelLimits) -> dict[str, str]:
    """Return a run's bad EEG channels, each with what is wrong with it.

    Of fewer than 8 EEG channels, or in less than 10 s, only flat ones are found: there is
    no telling what is usual.

    Parameters
    ----------
    recording : Recording
        Without gradient artefact: that makes all channels alike.
    limits : BadChannelLimits
    """
    raw = _slow_raw(recording)
    found = _flat(raw, limits)
    left = [name for name in raw.ch_names if name not in found]
    if len(left) >= FEW and raw.times[-1] >= SHORT:
        raw.pick(left)
        found |= _unlike_others(raw, limits)
    return {name: found[name] for name in recording.info.channels if name in found}


def without_site(names: Sequence[str]) -> tuple[str, ...]:
    """Return those of some channels that have no site on the head, so no neighbours."""
    return tuple(name for name in names if _site(name) is None)


def interpolate_channels(
    samples: Float32, channels: Sequence[str], bad: Collection[str], eeg: Collection[str]
) -> None:
    """Put into bad channels, in place, what the others say by spherical splines [1]_.

    The sites are those of the template 10-05 montage: recordings carry no others here.

    Parameters
    ----------
    samples : float32, shape (n_times, n_channels)
    channels : sequence of str
        Of the samples' columns.
    bad : collection of str
        Each with a site.
    eeg : collection of str
        Channels to interpolate from: those with a site that are not bad.

    Raises
    ------
    DatasetError
        If fewer than 4 channels are left to interpolate from.

    References
    ----------
    .. [1] Perrin et al. 1989, doi:10.1016/0013-4694(89)90180-6, as MNE does it.
    """
    good = [name for name in channels if name in eeg and name not in bad and _site(name)]
    wanted = [name for name in channels if name in bad]
    if len(good) < 4:
        raise DatasetError(
            f"{', '.join(wanted)} cannot be interpolated",
            found=f"{len(good)} good channels have a site of the 10-05 system",
            do="Drop those channels from the model, or set bad = 'keep'",
        )
    weights = _spline_weights(good, wanted)
    sources = [channels.index(name) for name in good]
    targets = [channels.index(name) for name in wanted]
    for first in range(0, len(samples), BLOCK):
        rows = samples[first : first + BLOCK]
        rows[:, targets] = rows[:, sources].astype(np.float64) @ weights.T


def _slow_raw(recording: Recording) -> Any:
    """Return the EEG as MNE has it, in volts, at a rate that is enough for the criteria."""
    info = recording.info
    eeg = [i for i, kind in enumerate(info.kinds) if kind == "eeg"]
    factor = max(1, floor(info.sfreq / RATE))
    n_times = -(-len(recording.samples) // factor)
    volts = np.empty((len(eeg), n_times))
    for first in range(0, len(eeg), GROUP):
        group = eeg[first : first + GROUP]
        x = 1e-6 * recording.samples[:, group].T.astype(np.float64)
        x -= x[:, :1]  # electrodes' offsets are a thousand times the EEG
        if factor > 1:
            x = signal.resample_poly(x, 1, factor, axis=1, padtype="line")
        volts[first : first + GROUP] = x
    names = [info.channels[i] for i in eeg]
    described = mne.create_info(names, info.sfreq / factor, "eeg", verbose="error")
    return mne.io.RawArray(volts, described, copy=None, verbose="error")


def _flat(raw: Any, limits: BadChannelLimits) -> dict[str, str]:
    data, second = raw.get_data(), round(raw.info["sfreq"])
    n_seconds = max(1, data.shape[1] // second)
    seconds = data[:, : n_seconds * second].reshape(len(data), n_seconds, -1)
    shares = np.mean(np.ptp(seconds, axis=2) <= limits.flat, axis=1)
    pairs = zip(raw.ch_names, shares, strict=True)
    return {
        n: f"flat in {share:.0%} of the seconds" for n, share in pairs if share > limits.share
    }


def _unlike_others(raw: Any, limits: BadChannelLimits) -> dict[str, str]:
    """Return the channels that PREP's criteria find, the first that holds for each."""
    with mne.use_log_level("error"):
        noisy = NoisyChannels(raw, ransac=False)
    noisy.find_bad_by_correlation(
        correlation_threshold=limits.correlation, frac_bad=limits.share
    )
    noisy.find_bad_by_deviation(limits.deviation)
    alone = f"like no other in more than {limits.share:.0%} of the seconds"
    found = dict.fromkeys(noisy.bad_by_correlation, alone)
    sizes = _robust_sd(noisy.EEGData)
    times = dict(zip(raw.ch_names, sizes / np.median(sizes), strict=True))
    for name in noisy.bad_by_deviation:
        if not 1 / limits.ratio < times[name] < limits.ratio:
            found[name] = f"{times[name]:.2g} times as large as the median channel"
    return found


def _robust_sd(x: Float64) -> Float64:
    """Return the standard deviation that a row's middle half would have if it were normal."""
    low, high = np.percentile(x, (25, 75), axis=1)
    return np.asarray((high - low) / 1.349)


@cache
def _montage() -> dict[str, tuple[str, Any]]:
    """Return each site of the template by its name in small letters: spelling, position."""
    places = mne.channels.make_standard_montage("colin27_1005").get_positions()["ch_pos"]
    return {name.lower(): (name, place) for name, place in places.items()}


def _site(name: str) -> Any:
    """Return where a channel lies in the template montage, in metres, or None."""
    for each in (name, SYNONYMS.get(name, name)):
        if each.lower() in _montage():
            return _montage()[each.lower()]
    return None


def _spline_weights(good: list[str], bad: list[str]) -> Float64:
    """Return what each good channel counts in each bad one, shape (n_bad, n_good).

    MNE interpolates samples, by weights that depend on the sites alone: of one sample for
    each good channel, in which that one is 1 and all others are 0, it makes the weights.
    """
    names, n = [*good, *bad], len(good)
    info = mne.create_info(names, 1.0, "eeg", verbose="error")
    units = mne.io.RawArray(np.eye(len(names), n), info, verbose="error")
    sites = {name: _site(name)[1] for name in names}
    units.set_montage(mne.channels.make_dig_montage(sites, coord_frame="head"))
    units.info["bads"] = bad
    units.interpolate_bads(origin=ORIGIN, verbose="error")
    return np.asarray(units.get_data()[n:])
