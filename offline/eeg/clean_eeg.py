"""One run's EEG before the chain: gradient and pulse artefact, rate, bad channels.

None of it can be done while the EEG comes in, so what was done is told: the daemon has to
be sent EEG that was corrected alike, and masks or refuses a bad channel.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from importlib.metadata import version
from typing import Annotated, Literal

import numpy as np
from pydantic import Field, field_validator

from offline.eeg.bad_channels import (
    BadChannelLimits,
    find_bad_channels,
    interpolate_channels,
    without_site,
)
from offline.eeg.gradient import remove_gradient, volume_locked_share
from offline.eeg.pulse import find_beats, remove_pulse
from offline.eeg.recordings import Recording
from offline.eeg.resample import resample
from offline.eeg.residual import artefact_left
from rtfeedback.channels import canonical
from rtfeedback.config import Config
from rtfeedback.errors import DatasetError, listed
from rtfeedback.online.plausibility import LOCKED
from rtfeedback.signals import Float64

LARGEST = 1e-4  # V rms, 1 to 40 Hz: no EEG is as large for most of a run

Share = Annotated[float, Field(ge=0, le=1)]


class EEGConfig(Config):
    """What is done to a run's EEG before the chain.

    With the defaults clean EEG comes through bit for bit: a bad channel is interpolated
    where one is found, and EEG with gradient artefact is refused.
    """

    bad: Literal["interpolate", "refuse", "keep"] = "interpolate"
    """Bad channels of a run: `interpolate` them from the others, `refuse` the run, or
    `keep` them as they are. All three name them."""
    known_bad: tuple[str, ...] = ()
    """Channels that are bad in every run, found or not."""
    most_bad: Share = 0.15
    """Largest share of the EEG channels that is interpolated; a run with more is refused."""
    limits: BadChannelLimits = BadChannelLimits()
    """From where on a channel is bad."""
    gradient: Literal["refuse", "remove", "keep"] = "refuse"
    """EEG that holds gradient artefact: `refuse` the run, `remove` it by average artefact
    subtraction, or `keep` it and train on raw EEG. A run that holds none is left alone."""
    volume_locked: Share = LOCKED
    """Share of the variance that repeats with the volumes, from which on EEG holds
    gradient artefact; the daemon refuses a stream by the same."""
    left: Share = 0.2
    """Share of the variance that may look like left-over artefact after its removal; with
    more the run is refused."""
    template: Annotated[int, Field(ge=4, multiple_of=2)] = 20
    """Volumes whose mean is one volume's artefact: few follow a head that moves, many keep
    the EEG's power (1/20 comes in with the mean of 20)."""
    rate: Annotated[float, Field(gt=0)] | None = None
    """Hertz to which the EEG is brought once the gradient artefact is out, as a corrected
    stream would come in; as recorded, without."""
    pulse: Literal["keep", "remove"] = "keep"
    """Pulse artefact: `keep` it, or `remove` it by optimal basis sets."""
    beats: tuple[str, ...] = ()
    """Labels of markers at the R peaks; without, they are found in the ECG channel."""
    components: Annotated[int, Field(ge=1, le=10)] = 4
    """Principal components of a heartbeat, beside the mean."""

    @field_validator("known_bad")
    @classmethod
    def _canonical(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(canonical(name) for name in names)


@dataclass(frozen=True, slots=True)
class Cleaned:
    """A run's EEG as the chain gets it, and what was done to it.

    Attributes
    ----------
    recording : Recording
        The one that was given, where nothing was done.
    bad, interpolated : tuple of str
        Channels that are bad, and those that now hold what the others say.
    upstream : tuple of str
        What was done to all channels, each a phrase for store and checkpoint: a stream
        that the model is run on has to have been through the like.
    volume_locked_before, volume_locked : float or None
        Share of the variance that repeats with the volumes, as recorded and now.
    notes : tuple of str
        What was found and done, each a sentence to be printed.
    """

    recording: Recording
    bad: tuple[str, ...] = ()
    interpolated: tuple[str, ...] = ()
    upstream: tuple[str, ...] = ()
    volume_locked_before: float | None = None
    volume_locked: float | None = None
    notes: tuple[str, ...] = ()


def clean_recording(
    recording: Recording,
    config: EEGConfig,
    onsets: Float64,
    *,
    tr: float,
    name: str,
    stated_bad: tuple[str, ...] = (),
) -> Cleaned:
    """Return a run's EEG without gradient and pulse artefact and bad channels, as asked.

    The samples that are given are never changed. 10 min of 64 channels at 5 kHz (0.8 GB) take
    1.4 GB beside them: one float32 copy, and 0.6 GB of work.

    Parameters
    ----------
    recording : Recording
    config : EEGConfig
    onsets : float64, shape (n_volumes,)
        Of the BOLD's volumes, in seconds from the first sample; NaN where unknown.
    tr : float
        Seconds.
    name : str
        The run's, for errors.
    stated_bad : tuple of str
        Channels that the dataset says are bad in this run (channels.tsv's `status`).

    Raises
    ------
    DatasetError
        If the run is to be refused, or what was asked for cannot be done.
    """
    cleaned = Cleaned(recording)
    cleaned = _gradient(cleaned, config, onsets, tr, name)
    cleaned = _rate(cleaned, config, name)
    cleaned = _pulse(cleaned, config, name)
    return _bad_channels(cleaned, config, {*config.known_bad, *stated_bad}, name)


def _gradient(
    cleaned: Cleaned, config: EEGConfig, onsets: Float64, tr: float, name: str
) -> Cleaned:
    share = volume_locked_share(cleaned.recording, onsets)
    cleaned = replace(cleaned, volume_locked_before=share, volume_locked=share)
    if share is None:
        told = "too few volumes to tell whether the EEG holds gradient artefact"
        return replace(cleaned, notes=(told,))
    if share <= config.volume_locked:
        return cleaned
    found = f"{share:.0%} of the EEG's variance repeats every {tr:g} s"
    if config.gradient == "keep":
        told = f"{found}: gradient artefact, kept as asked, so bad channels were not looked for"
        return replace(cleaned, notes=(told,))
    if config.gradient == "refuse":
        raise DatasetError(
            f"The EEG of {name} holds gradient artefact",
            found=f"{found}; at most {config.volume_locked:.0%} may",
            do="Set gradient = 'remove' in [eeg], or correct the EEG before (BrainVision"
            " Analyzer, FASTR); gradient = 'keep' trains on raw EEG",
        )
    return _removed(cleaned, config, onsets, tr, name)


def _removed(
    cleaned: Cleaned, config: EEGConfig, onsets: Float64, tr: float, name: str
) -> Cleaned:
    """Return the EEG without gradient artefact; refuse it if too much is left."""
    recording, before = _own(cleaned), cleaned.volume_locked_before
    sfreq = recording.info.sfreq
    grid = remove_gradient(
        recording.samples, sfreq, onsets, tr=tr, window=config.template, name=name
    )
    left, rms = artefact_left(cleaned.recording, recording, grid)
    after = volume_locked_share(recording, onsets)
    if after is None or max(after, left) > config.left or rms > LARGEST:
        raise DatasetError(
            f"The gradient artefact in the EEG of {name} could not be removed",
            found=f"{left:.0%} of what is left looks like the artefact, {1e6 * rms:.0f} µV"
            f" rms in all; recorded at {sfreq:g} Hz, a volume is {grid.spacing:.3f} samples",
            do="Average subtraction takes EEG as it was recorded, at 5 kHz, its clock locked"
            " to the scanner's; correct it with a program that knows the slices, or leave"
            " this run out",
        )
    told = (
        f"gradient artefact of {grid.n_volumes} volumes removed: {before:.0%} of the variance"
        f" repeated with the volumes, {after:.0%} does now, and {left:.0%} looks left over"
    )
    done = (
        f"gradient artefact removed (mne {version('mne')} GradientRemover, templates of up"
        f" to {config.template} volumes)"
    )
    return replace(
        cleaned,
        recording=recording,
        volume_locked=after,
        upstream=(*cleaned.upstream, done),
        notes=(*cleaned.notes, told),
    )


def _rate(cleaned: Cleaned, config: EEGConfig, name: str) -> Cleaned:
    """Return the EEG at the rate that was asked for."""
    was = cleaned.recording.info.sfreq
    if config.rate is None or config.rate == was:
        return cleaned
    return replace(
        cleaned,
        recording=resample(cleaned.recording, config.rate, name=name),
        upstream=(*cleaned.upstream, f"resampled to {config.rate:g} Hz"),
        notes=(*cleaned.notes, f"resampled from {was:g} to {config.rate:g} Hz"),
    )


def _pulse(cleaned: Cleaned, config: EEGConfig, name: str) -> Cleaned:
    """Return the EEG without pulse artefact, where that was asked for."""
    if config.pulse == "keep":
        return cleaned
    beats = find_beats(cleaned.recording, config.beats, name=name)
    recording = _own(cleaned)
    remove_pulse(recording, beats, components=config.components)
    done = (
        f"pulse artefact removed (mne {version('mne')} apply_pca_obs,"
        f" {config.components} components)"
    )
    rate = 60 / np.median(np.diff(beats))
    told = f"pulse artefact of {len(beats)} heartbeats removed, {rate:.0f} a minute"
    return replace(
        cleaned,
        recording=recording,
        upstream=(*cleaned.upstream, done),
        notes=(*cleaned.notes, told),
    )


def _bad_channels(cleaned: Cleaned, config: EEGConfig, known: set[str], name: str) -> Cleaned:
    recording, locked = cleaned.recording, cleaned.volume_locked
    raw = locked is not None and locked > config.volume_locked
    found = {} if raw else find_bad_channels(recording, config.limits)
    eeg = _eeg(recording)
    why = {each: found.get(each, "known as bad") for each in eeg if each in {*found, *known}}
    if not why:
        return cleaned
    cleaned = replace(cleaned, bad=tuple(why))
    reasons = [f"{each} ({reason})" for each, reason in why.items()]
    named = ", ".join(reasons)
    if config.bad == "keep":
        return replace(cleaned, notes=(*cleaned.notes, f"bad channels, kept: {named}"))
    if config.bad == "refuse":
        raise DatasetError(
            f"The EEG of {name} has bad channels",
            found=named,
            do="Set bad = 'interpolate' or 'keep' in [eeg], or leave the run out",
        )
    _refuse_interpolation([*why], listed(reasons), len(eeg), config, name)
    recording = _own(cleaned)
    interpolate_channels(recording.samples, recording.info.channels, why, eeg)
    told = (
        f"bad channels, interpolated: {named}; a live stream cannot be interpolated, so a run"
        " masks such a channel, or tells its windows as invalid"
    )
    return replace(
        cleaned, recording=recording, interpolated=tuple(why), notes=(*cleaned.notes, told)
    )


def _refuse_interpolation(
    bad: list[str], named: str, n_eeg: int, config: EEGConfig, name: str
) -> None:
    """Refuse a run of which too much, or what has no neighbours, would be interpolated."""
    if len(bad) > config.most_bad * n_eeg:
        raise DatasetError(
            f"Too many channels of {name} are bad to interpolate them",
            found=f"{len(bad)} of {n_eeg}: {named}; most_bad is {config.most_bad:.0%}",
            do="Leave the run out, or set bad = 'keep' in [eeg]",
        )
    if lost := without_site(bad):
        raise DatasetError(
            f"Bad channels of {name} have no site on the head to interpolate them for",
            found=named,
            do=f"Leave {', '.join(lost)} out of the model and set bad = 'keep' in [eeg], or"
            " leave the run out",
        )


def _eeg(recording: Recording) -> tuple[str, ...]:
    kinds = zip(recording.info.channels, recording.info.kinds, strict=True)
    return tuple(name for name, kind in kinds if kind == "eeg")


def _own(cleaned: Cleaned) -> Recording:
    """Return the recording with samples that may be changed: a copy of those given."""
    recording = cleaned.recording
    if cleaned.upstream:  # then they were made here
        return recording
    return replace(recording, samples=recording.samples.copy())
