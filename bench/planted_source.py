"""A region that answers one rhythm of one place, some seconds later: `explain` finds it.

    python -m bench.planted_source OUT [--model ridge|eegnet]

writes recordings and courses to OUT/lab, prepares and trains on them, and explains the model:
OUT/explained-MODEL/share.png should show channel C4, 18-24 Hz and a lag of 5 s, and nothing
else. It is how the picture in docs/explain.md was made; a test does the same, smaller.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from pybv import write_brainvision
from scipy import signal

from offline.explain import explain, print_explanation
from offline.prepare import PrepareConfig, prepare
from offline.simulation.headmodel import channel_names, cortex_leadfield, leadfield
from offline.store.dataset import Store
from offline.train import TrainConfig, train
from rtfeedback.checkpoint import load_checkpoint
from rtfeedback.signals import Float64

BELOW_C4 = ((46.0, -16.0, 60.0),)  # MNI, mm
CHANNEL, BAND, LAG = "C4", (18.0, 24.0), 5.0  # hertz, s
RATE, TR = 125.0, 1.0  # hertz, s
HOLDS = 2.0  # s for which the rhythm is on or off
BACKGROUND = 10.0  # uV, rms over the channels
NOISE = 0.5  # sd of the course that has nothing to do with the EEG; the rest has 1
TARGET = "planted"

MODELS: dict[str, dict[str, Any]] = {
    "ridge": {"model": {"name": "ridge"}},
    "eegnet": {
        "model": {"name": "eegnet", "length": 8.0, "f1": 4, "f2": 8},
        "fit": {"epochs": 24, "learning_rate": 5e-3},
    },
}


@dataclass(frozen=True, slots=True)
class Planted:
    """How much of it there is."""

    channels: int = 32
    runs: int = 6
    seconds: int = 300
    rhythm: float = 8.0
    """Microvolts at C4, while it is on."""


def write_planted(folder: Path, size: Planted, seed: int = 0) -> PrepareConfig:
    """Write recordings, courses and the table of them; return how they are prepared."""
    folder.mkdir(parents=True)
    rng = np.random.default_rng(seed)
    rows = ["subject\trun\teeg\tcourse\ttr\tonset"]
    for number in range(1, size.runs + 1):
        name = f"run-{number:02}"
        eeg, course = _run(size, rng)
        names = list(channel_names(size.channels))
        write_brainvision(
            data=eeg, sfreq=RATE, ch_names=names, fname_base=name, folder_out=folder
        )
        lines = [TARGET, *(f"{value:.6f}" for value in course)]
        (folder / f"{name}.tsv").write_text("\n".join(lines) + "\n", encoding="utf-8")
        rows.append(f"01\t{number:02}\t{name}.vhdr\t{name}.tsv\t{TR:g}\t0.0")
    (folder / "runs.tsv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    return PrepareConfig.model_validate(
        {
            "layout": {"pairs": "runs.tsv"},
            "targets": [{"name": TARGET}],
            "bold": {"scaling": "none", "high_pass": 0.0},
        }
    )


def _run(size: Planted, rng: np.random.Generator) -> tuple[Float64, Float64]:
    """Return EEG in volts, (n_channels, n_times), and the course, (n_volumes,)."""
    channels = channel_names(size.channels)
    n_times, n_held = int(size.seconds * RATE), round(HOLDS * RATE)
    states = rng.integers(0, 2, -(-n_times // n_held)).astype(np.float64)
    held = np.repeat(states, n_held)[:n_times]
    ramp = signal.windows.hann(round(0.5 * RATE))
    on = signal.convolve(held, ramp / ramp.sum(), mode="same")
    carrier = signal.sosfilt(
        signal.butter(4, (BAND[0] + 1, BAND[1] - 1), "bandpass", fs=RATE, output="sos"),
        rng.standard_normal(n_times),
    )
    seen = leadfield(channels, BELOW_C4, np.zeros(3))[:, 0]
    rhythm = size.rhythm * (seen / seen[channels.index(CHANNEL)])[:, None] * on * carrier
    rhythm /= carrier.std()
    eeg = _background(channels, n_times, rng) + rhythm
    times = np.arange(round(size.seconds / TR)) * TR + TR / 2
    answer = np.interp(times - LAG, np.arange(n_times) / RATE, on)
    answer = (answer - answer.mean()) / answer.std()
    return eeg * 1e-6, answer + NOISE * rng.standard_normal(len(times))


def _background(channels: tuple[str, ...], n_times: int, rng: np.random.Generator) -> Float64:
    """Return what 1/f sources all over the cortex give, in uV, (n_channels, n_times)."""
    field = cortex_leadfield(channels)
    white = np.fft.rfft(rng.standard_normal((field.shape[1], n_times)))
    hertz = np.fft.rfftfreq(n_times, 1 / RATE)
    sources = np.fft.irfft(white / np.sqrt(np.maximum(hertz, 1.0)), n_times)
    eeg = field @ sources
    return np.asarray(BACKGROUND * eeg / eeg.std())


def main() -> None:
    """Plant, prepare, train and explain."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("--model", choices=MODELS, default="ridge")
    given = parser.parse_args()
    config = write_planted(given.out / "lab", Planted())
    store = Store(prepare(given.out / "lab", given.out / "prepared", config))
    checkpoint = given.out / given.model
    train(store, checkpoint, TrainConfig.model_validate(MODELS[given.model]))
    out = given.out / f"explained-{given.model}"
    print_explanation(explain(load_checkpoint(checkpoint), store, out))
    print(out)  # noqa: T201


if __name__ == "__main__":
    main()
