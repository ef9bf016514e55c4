"""What is left of artefacts where a window is valid: in a read-out's z, and of blinks.

python -m bench.artefact_harm FOLDER [--count N] [--seed N]
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
import torch

from bench.artefacts import (
    AFTER,
    BEFORE,
    FIT,
    JUDGED,
    MAINS,
    WINDOW,
    fitted,
    read_run,
)
from offline.eeg.features import through_chain
from offline.eeg.fit_artefacts import LARGE, fit_artefacts
from offline.eeg.recordings import Recording
from offline.evaluation.report import table
from offline.injection import KINDS, Kind, inject
from rtfeedback.artefacts import ArtefactRule
from rtfeedback.chain import Chain, ChainConfig, ChainSpec
from rtfeedback.chain.limits import ArtefactConfig
from rtfeedback.models.layers.scaler import FeatureScaler
from rtfeedback.signals import Float32, Float64

READ_OUTS = 64
EYES = ("Fp1", "Fp2")


class ReadOuts:
    """Linear read-outs of a token window: random in space and band, the HRF in time.

    Their z is by the sd over clean windows, as a model's is by its training.
    """

    def __init__(self, spec: ChainSpec, clean: Sequence[Float32]) -> None:
        self._rule = ArtefactRule(spec, WINDOW)
        self._scaler = FeatureScaler(spec.n_features, spec.hold)
        rows = np.concatenate(clean).astype(np.float64)
        self._scaler.fit(np.nanmean(rows, axis=0), np.nanstd(rows, axis=0))
        rng = np.random.default_rng(0)
        self._weights = rng.normal(size=(READ_OUTS, spec.n_features))
        n = WINDOW.n_times(spec.rate)
        ends = [(each, end) for each in clean for end in range(n, len(each), 4)]
        seen = [self.raw(each[end - n : end].T) for each, end in ends]
        self._sd = np.std(seen, axis=0)

    def raw(self, window: Float32) -> Float64:
        """Return each read-out of a window, (n_features, n_times)."""
        x = self._scaler(torch.from_numpy(window.copy())[None])[0].numpy()
        return np.asarray(self._weights @ (x @ self._rule.weights))

    def change(self, harmed: Float32, clean: Float32) -> float:
        """Return the rms over the read-outs of how far an artefact moves their z."""
        moved = (self.raw(harmed) - self.raw(clean)) / self._sd
        return float(np.sqrt(np.mean(moved**2)))


def changes(
    spec: ChainSpec, recordings: Sequence[Recording], kind: Kind, count: int, seed: int
) -> tuple[Float64, Float64]:
    """Return the change of z per artefact: where valid with masks, and without any masks."""
    plain = spec.model_copy(update={"artefacts": None})
    outs = {
        each: ReadOuts(each, [through_chain(recording, each)[0] for recording in recordings])
        for each in (spec, plain)
    }
    rng, rule = np.random.default_rng(seed), ArtefactRule(spec, WINDOW)
    with_masks, without = [], []
    for _ in range(count):
        recording = recordings[int(rng.integers(len(recordings)))]
        sfreq = recording.info.sfreq
        first = round(rng.uniform(0, len(recording.samples) / sfreq - BEFORE - AFTER) * sfreq)
        clean = recording.samples[first : first + round((BEFORE + AFTER) * sfreq)]
        harmed, _ = inject(clean, recording.info, kind, BEFORE, rng)
        later = round(rng.uniform(0, AFTER - 1) * spec.rate)
        windows = {}
        for each in (spec, plain):
            for samples in (harmed, clean):
                rows, _ = Chain(each, recording.info).push(samples)
                end = len(rows) - later
                windows[each, samples is harmed] = rows[end - WINDOW.n_times(each.rate) : end].T
        if rule.allows(windows[spec, True]) and rule.allows(windows[spec, False]):
            with_masks.append(outs[spec].change(windows[spec, True], windows[spec, False]))
        without.append(outs[plain].change(windows[plain, True], windows[plain, False]))
    return np.array(with_masks), np.array(without)


def blink_residue(folder: Path) -> tuple[float, float, int]:
    """Return the size of real blinks in the frontal channels, in volts, and how many.

    The rms over AF and F channels of the average over blinks at their peak, in the runs
    that are judged: first without, then with regression on Fp1 and Fp2.
    """
    names = read_run(folder, JUDGED[0]).info.channels
    channels = tuple(name for name in names if name not in EYES)
    frontal = [i for i, name in enumerate(channels) if name[0] in "AF" and "z" not in name]
    frontal = [i for i in frontal if channels[i][:2] not in ("FC", "FT", "Fp")]
    sizes = []
    count = 0
    for eog in ((), EYES):
        config = ChainConfig(notch=MAINS, eog=eog, artefacts=ArtefactConfig())
        spec = ChainSpec(config=config, channels=channels, sfreq=160.0)
        if eog:
            spec = fit_artefacts(spec, {f"R{i}": partial(read_run, folder, i) for i in FIT})
        peaks = []
        for number in JUDGED:
            recording = read_run(folder, number)
            heard: list[Float64] = []
            Chain(spec, recording.info, tap=heard.append).push(recording.samples)
            peaks.append(np.concatenate(heard)[_blinks(recording)])
        count = sum(len(each) for each in peaks)
        average = np.concatenate(peaks).mean(axis=0)
        sizes.append(float(np.sqrt(np.mean(average[frontal] ** 2))))
    return sizes[0], sizes[1], count


def _blinks(recording: Recording) -> list[int]:
    """Return the samples at which blinks peak, in the average of Fp1 and Fp2."""
    config = ChainConfig(notch=MAINS, artefacts=None)
    spec = ChainSpec(config=config, channels=recording.info.channels, sfreq=160.0)
    heard: list[Float64] = []
    Chain(spec, recording.info, tap=heard.append).push(recording.samples)
    eyes = heard[0][:, [spec.channels.index(name) for name in EYES]].mean(axis=1)
    large = eyes > LARGE * np.median(np.abs(eyes)) / 0.6745
    large[:800] = False  # while the filters settle
    edges = np.flatnonzero(np.diff(large.astype(np.int8)))
    pairs = zip(edges[::2], edges[1::2], strict=False)
    return [int(a + np.argmax(eyes[a : b + 1])) for a, b in pairs]


def report(folder: Path, count: int, seed: int) -> None:
    """Print both."""
    recordings = [read_run(folder, i) for i in JUDGED]
    spec = fitted(folder, FIT, tokens=True, config=ArtefactConfig())
    rows = []
    for kind in KINDS:
        masked, plain = changes(spec, recordings, kind, count, seed)
        shown = [f"{np.median(x):.2f}  {np.quantile(x, 0.95):.2f}" for x in (masked, plain)]
        rows.append([kind, f"{len(masked)} of {count}", *shown])
    headers = ["artefact", "valid", "masked: |dz| median, 95 %", "without masks"]
    table(rows, headers, f"How far an artefact moves z: {READ_OUTS} read-outs of tokens")
    before, after, n = blink_residue(folder)
    print(  # noqa: T201
        f"{n} real blinks in the frontal channels: {before * 1e6:.1f} uV, with"
        f" {' and '.join(EYES)} regressed out {after * 1e6:.1f} uV"
    )


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--count", type=int, default=100, help="artefacts of each kind")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    report(given.folder, given.count, given.seed)


if __name__ == "__main__":
    main()
