"""A checkpoint for benches: any number of channels, rate and window; nothing was trained.

    python -m bench.checkpoint OUT --model mean-power --channels 64 --rate 1000 --window 20

Then, so that anybody can measure the daemon on their own machine,

    rtfeedback run --stream EEG --model OUT --hop 0.1

takes a stream named EEG of type EEG at that rate, float32 microvolts, whose labels are those
that `--print-labels` prints as JSON: names of the 10-05 system, or those of `--labels`.

`mean-power` publishes each channel's mean power (V**2) over the window, its name the
channel's, from samples as they come: no filter, no decimation, no reference, no artefacts.
`ridge`, `tcn` and `eegnet` go through the chain that `prepare` gives them by default. Their
weights are drawn by `--seed`, so that what they say means nothing; their scaler and artefact
limits are fitted, as at the desk, on noise of 20 uV: on white and on 1/f noise, and what is
typical of either is let through. Send noise of about that size, without electrode offsets,
and values are valid once the window is full.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

import mne
import numpy as np
import torch
from pydantic import ValidationError
from torch import nn

from offline.eeg.fit_artefacts import fit_artefacts
from offline.eeg.recordings import MICROVOLTS, Recording
from offline.simulation.headmodel import MONTAGE, channel_names
from rtfeedback.arithmetic import fix_arithmetic
from rtfeedback.chain import Chain, ChainConfig, ChainSpec
from rtfeedback.chain.limits import ArtefactLimits
from rtfeedback.chain.spec import BandPowerConfig
from rtfeedback.checkpoint import CheckpointSpec, Target, Training, save_checkpoint
from rtfeedback.config import parse_config
from rtfeedback.errors import ConfigError, RtfeedbackError
from rtfeedback.models import (
    AnyModelConfig,
    EEGNetConfig,
    MeanPower,
    MeanPowerConfig,
    Network,
    Ridge,
    RidgeConfig,
    TCNConfig,
)
from rtfeedback.predictor import LARGEST_Z
from rtfeedback.signals import Float32, Float64, StreamInfo
from rtfeedback.windows import WindowSpec

MODELS: dict[str, type[AnyModelConfig]] = {
    "mean-power": MeanPowerConfig,
    "ridge": RidgeConfig,
    "tcn": TCNConfig,
    "eegnet": EEGNetConfig,
}
NOISES = {"white noise": 0.0, "1/f noise": 1.0}  # power falls with the frequency to the
SIZE = 20.0  # uV rms
SECONDS = 12.0  # of each noise
OLD_NAMES = ("T3", "T4", "T5", "T6")  # of sites that the montage names twice
NO_SITES = ("A1", "A2", "M1", "M2")


def labels_of(n: int) -> tuple[str, ...]:
    """Return `n` names of the 10-05 system, the 64 common ones first; 335 at most."""
    common = channel_names(min(n, 64))
    rest = mne.channels.make_standard_montage(MONTAGE).ch_names
    left_out = {*common, *OLD_NAMES, *NO_SITES}
    names = (*common, *(name for name in rest if name not in left_out))[:n]
    if len(names) < n:
        raise ConfigError(
            f"The 10-05 system has no {n} names",
            found=f"It has {len(names)} for a site each",
            do="Give names of your own with --labels",
        )
    return names


def noise(labels: Sequence[str], rate: float, exponent: float) -> Recording:
    """Return EEG-sized noise whose power falls with the frequency to some power."""
    n_times = round(SECONDS * rate)
    rng = np.random.default_rng(round(exponent))
    spectrum = np.fft.rfft(rng.standard_normal((len(labels), n_times)), axis=1)
    order = np.maximum(1, np.arange(spectrum.shape[1]))
    x = np.fft.irfft(spectrum * order ** (-exponent / 2), n_times, axis=1).T
    samples = np.ascontiguousarray(x * (SIZE / x.std(axis=0)), dtype=np.float32)
    n = len(labels)
    info = StreamInfo("noise", rate, tuple(labels), ("eeg",) * n, (MICROVOLTS,) * n)
    return Recording(info, samples, ())


def write(
    out: Path,
    config: AnyModelConfig,
    *,
    labels: tuple[str, ...],
    rate: float,
    tr: float = 2.0,
    seed: int = 0,
) -> CheckpointSpec:
    """Write a checkpoint that `rtfeedback run` takes.

    Parameters
    ----------
    out : Path
        A folder that is not there yet.
    config : MeanPowerConfig, RidgeConfig, TCNConfig or EEGNetConfig
        Its `length` is the window's, in seconds.
    labels : tuple of str
    rate : float
        Of the stream, in hertz.
    tr : float
        In seconds.
    seed : int
        Of the weights.

    Raises
    ------
    ConfigError
        If the window is too short for the model.
    OutputError
        If `out` is there already or cannot be written.
    """
    fix_arithmetic()
    spec = CheckpointSpec(
        model=config,
        chain=_chain(config, labels, rate),
        window=WindowSpec(length=config.length, lead=config.lead),
        targets=_targets(config, labels),
        tr=tr,
        environment="outside",
        training=Training(
            store="", subjects=(), train=tuple(NOISES), validation=(), test=(), seed=seed
        ),
    )
    torch.manual_seed(seed)
    model = spec.build().eval()
    features = list(_features(spec.chain))
    _fit(model, np.concatenate(features), spec)
    _check_values(model, features, spec)
    save_checkpoint(out, spec, model)
    return spec


def _chain(config: AnyModelConfig, labels: tuple[str, ...], rate: float) -> ChainSpec:
    if isinstance(config, MeanPowerConfig):
        bare = ChainConfig(
            reference="recorded", band=None, notch=(), max_rate=rate, artefacts=None
        )
        return ChainSpec(config=bare, channels=labels, sfreq=rate)
    power = None if isinstance(config, EEGNetConfig) else BandPowerConfig()
    spec = ChainSpec(config=ChainConfig(band_power=power), channels=labels, sfreq=rate)
    found = []
    for name, exponent in NOISES.items():
        fitted = fit_artefacts(spec, {name: partial(noise, labels, rate, exponent)})
        assert fitted.artefacts is not None
        found.append(fitted.artefacts)
    return spec.model_copy(update={"artefacts": _widest(found)})


def _widest(found: Sequence[ArtefactLimits]) -> ArtefactLimits:
    """Return limits beyond which every one of those found is exceeded."""
    white, pink = found
    largest = {
        part: np.maximum(getattr(white, part), getattr(pink, part)).tolist()
        for part in ("amplitude", "field", "step", "muscle")
    }
    typical = np.sqrt(np.multiply(white.typical, pink.typical))
    return ArtefactLimits(
        **largest,
        flat=tuple(np.minimum(white.flat, pink.flat).tolist()),
        typical=tuple(typical.tolist()),
        fitted_on=tuple(NOISES),
    )


def _targets(config: AnyModelConfig, labels: tuple[str, ...]) -> tuple[Target, ...]:
    if not isinstance(config, MeanPowerConfig):
        return (Target(name="untrained", unit="none", mean=0.0, sd=1.0),)
    power = (1e-6 * SIZE) ** 2
    what = "mean power of the channel over the window"
    return tuple(
        Target(name=label, unit="V**2", mean=power, sd=power, definition=what)
        for label in labels
    )


def _features(spec: ChainSpec) -> Iterator[Float32]:
    """Yield what the chain makes of each noise, shape (n, n_features)."""
    for exponent in NOISES.values():
        recording = noise(spec.channels, spec.sfreq, exponent)
        chain = Chain(spec, recording.info)
        rows, index = chain.push(recording.samples)
        yield rows[index >= chain.warm_up]


def _fit(model: nn.Module, rows: Float32, spec: CheckpointSpec) -> None:
    if isinstance(model, MeanPower):
        mean, sd = np.array([(target.mean, target.sd) for target in spec.targets]).T
        model.set(mean.copy(), sd.copy())
    elif isinstance(model, Ridge | Network):
        wide: Float64 = rows.astype(np.float64)
        model.scaler.fit(np.nanmean(wide, axis=0), np.nanstd(wide, axis=0))


@torch.inference_mode()
def _check_values(model: nn.Module, features: list[Float32], spec: CheckpointSpec) -> None:
    """Make sure that what the model says is taken for possible."""
    n_times = spec.window.n_times(spec.chain.rate)
    for rows in features:
        window = np.resize(rows, (n_times, rows.shape[1])).T.copy()
        largest = float(model(torch.from_numpy(window)[None]).abs().max())
        if not largest < LARGEST_Z:
            raise ConfigError(
                "With these weights no value would be taken for possible",
                found=f"z = {largest:.3g}",
                do="Take another --seed",
            )


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("out", type=Path, help="a folder that is not there yet")
    parser.add_argument("--model", choices=MODELS, default="mean-power")
    parser.add_argument("--channels", type=int, default=64)
    parser.add_argument("--labels", default="", help="names in place of 10-05's: A,B,C")
    parser.add_argument("--rate", type=float, default=1000.0, help="of the stream, in Hz")
    parser.add_argument("--window", type=float, help="s; the model's own without")
    parser.add_argument("--tr", type=float, default=2.0, help="s")
    parser.add_argument("--seed", type=int, default=0, help="of the weights")
    parser.add_argument("--print-labels", action="store_true", help="as JSON")
    given = parser.parse_args()
    length = {} if given.window is None else {"length": given.window}
    try:
        labels = tuple(given.labels.split(",")) if given.labels else labels_of(given.channels)
        config = parse_config(length, MODELS[given.model], source="the command line")
        write(given.out, config, labels=labels, rate=given.rate, tr=given.tr, seed=given.seed)
    except (RtfeedbackError, ValidationError) as error:
        sys.exit(str(error))
    if given.print_labels:
        print(json.dumps(labels))  # noqa: T201


if __name__ == "__main__":
    main()
