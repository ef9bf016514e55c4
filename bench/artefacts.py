"""How much clean EEG stays valid, and how many artefacts of known place are caught.

    python -m bench.artefacts FOLDER [--count N] [--seed N ...]

FOLDER holds runs 3 to 10 of a subject of the EEG Motor Movement/Imagery set. Limits are
fitted on R03-R06 and judged on R07-R10, with `count` artefacts of each kind by each seed.
Exit 1 where a bar is missed.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path

import numpy as np
import torch

from offline.eeg.features import through_chain
from offline.eeg.fit_artefacts import fit_artefacts
from offline.eeg.recordings import Recording, read_recording
from offline.evaluation.report import table
from offline.injection import KINDS, Kind, inject
from rtfeedback.artefacts import ArtefactRule
from rtfeedback.chain import Chain, ChainConfig, ChainSpec
from rtfeedback.chain.front import Front
from rtfeedback.chain.limits import ArtefactConfig
from rtfeedback.chain.spec import BandPowerConfig
from rtfeedback.models.layers.scaler import FeatureScaler
from rtfeedback.signals import Bool, Float64, Int64
from rtfeedback.windows import WindowSpec

FIT, JUDGED = (3, 4, 5, 6), (7, 8, 9, 10)
WINDOW = WindowSpec(length=15.0)
MAINS = (60.0,)  # the set is American
BEFORE, AFTER = 25.0, 12.0  # s of a run around an artefact's onset
SEEN_AS_FLAT = 0.5  # s: two blocks, before which no channel can be known to be flat
STAY, CAUGHT = 0.90, 0.95  # the bars
BARRED: tuple[Kind, ...] = ("pop", "movement", "flat", "muscle")
NOTE = """Caught, strictly: in every affected channel every row of the window at which the
artefact is at its height (half of its peak there, after the chain's filters; of a flat
channel from 0.5 s on) is masked, so that no model sees it; or the window, which ends at
random with the whole artefact in it, is invalid. Blinks are there for information: they are
masked where they are large, and what they leave farther from the eyes is not."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of one artefact in one window: all of it masked, or the window invalid."""

    masked: bool
    invalid: bool

    @property
    def caught(self) -> bool:
        """Whether the model saw nothing of its height."""
        return self.masked or self.invalid


def chain_spec(recording: Recording, *, tokens: bool, config: ArtefactConfig) -> ChainSpec:
    """Return an unfitted chain for all of a recording's EEG."""
    power = BandPowerConfig() if tokens else None
    return ChainSpec(
        config=ChainConfig(notch=MAINS, band_power=power, artefacts=config),
        channels=recording.info.channels,
        sfreq=recording.info.sfreq,
    )


@cache
def read_run(folder: Path, number: int) -> Recording:
    """Return a run without the zeros that the set's files end in."""
    found = read_recording(next(folder.glob(f"S???R{number:02d}.edf")))
    last = int(np.flatnonzero(found.samples.any(axis=1))[-1]) + 1
    return Recording(found.info, found.samples[:last], found.markers)


def fitted(
    folder: Path, runs: Sequence[int], *, tokens: bool, config: ArtefactConfig
) -> ChainSpec:
    """Return a chain whose limits were fitted on some runs."""
    spec = chain_spec(read_run(folder, runs[0]), tokens=tokens, config=config)
    return fit_artefacts(spec, {f"R{i:02d}": partial(read_run, folder, i) for i in runs})


def clean_windows(spec: ChainSpec, recordings: Sequence[Recording]) -> Bool:
    """Return which windows, one each second, stay valid."""
    rule, n_times = ArtefactRule(spec, WINDOW), WINDOW.n_times(spec.rate)
    allowed = []
    for recording in recordings:
        rows, stamps = through_chain(recording, spec)
        seconds = np.arange(np.ceil(stamps[n_times - 1]), stamps[-1])
        for end in np.searchsorted(stamps, seconds):
            allowed.append(rule.allows(rows[end + 1 - n_times : end + 1].T))
    return np.array(allowed)


def judge(
    spec: ChainSpec, recordings: Sequence[Recording], kind: Kind, count: int, seed: int
) -> list[Verdict]:
    """Put artefacts at random places into recordings, one at a time, and see to each."""
    rng = np.random.default_rng(seed)
    return [
        _judge_one(spec, recordings[int(rng.integers(len(recordings)))], kind, rng)
        for _ in range(count)
    ]


def _judge_one(
    spec: ChainSpec, recording: Recording, kind: Kind, rng: np.random.Generator
) -> Verdict:
    info, sfreq = recording.info, recording.info.sfreq
    onset = rng.uniform(BEFORE, len(recording.samples) / sfreq - AFTER)
    first = round((onset - BEFORE) * sfreq)
    clean = recording.samples[first : first + round((BEFORE + AFTER) * sfreq)]
    harmed, affected = inject(clean, info, kind, BEFORE, rng)
    heard: list[Float64] = []
    rows, index = Chain(spec, info, tap=heard.append).push(harmed)
    if kind == "flat":
        height = _seen_as_flat(spec, affected)
    else:
        height = _at_height(heard[0] - Front(spec, info)(clean).filtered, affected)
    touched = _touched(spec, height, index)
    over = np.flatnonzero(touched.any(axis=1))[-1]
    end = int(rng.integers(over, len(index)))
    window = slice(end + 1 - WINDOW.n_times(spec.rate), end + 1)
    seen = rows[window, :: spec.n_bands].T
    left_out = FeatureScaler(len(seen), spec.hold).left_out(torch.from_numpy(seen)).numpy()
    return Verdict(
        masked=bool(left_out.T[touched[window]].all()),
        invalid=not ArtefactRule(spec, WINDOW).allows(rows[window].T),
    )


def _at_height(difference: Float64, affected: Bool) -> Bool:
    """Return where what an artefact adds to the filtered signal is half of its peak there."""
    size = np.abs(difference)
    return np.asarray((size >= size.max(axis=0) / 2) & affected.any(axis=0))


def _seen_as_flat(spec: ChainSpec, affected: Bool) -> Bool:
    """Return where a flat channel can be known to be."""
    height = affected.copy()
    onset = int(np.flatnonzero(affected.any(axis=1))[0])
    height[: onset + round(SEEN_AS_FLAT * spec.sfreq)] = False
    return height


def _touched(spec: ChainSpec, height: Bool, index: Int64) -> Bool:
    """Return which outputs sum up a sample of the artefact's height."""
    power = spec.config.band_power
    span = (power.n_fft(spec.sample_rate) if power else 1) * spec.factor
    counts = np.concatenate([np.zeros((1, height.shape[1]), np.int64), height.cumsum(axis=0)])
    return np.asarray(counts[index + 1] > counts[np.maximum(index + 1 - span, 0)])


def report(folder: Path, count: int, seeds: Sequence[int]) -> bool:
    """Print both shares for both chains; return whether every bar is reached."""
    recordings = [read_run(folder, i) for i in JUDGED]
    passed, rows = True, []
    for name in ("samples", "tokens"):
        spec = fitted(folder, FIT, tokens=name == "tokens", config=ArtefactConfig())
        clean = clean_windows(spec, recordings)
        passed &= bool(clean.mean() >= STAY)
        stays = [name, "none: clean EEG", str(len(clean)), *[""] * 4, f"{clean.mean():.1%}"]
        rows.append(stays)
        for kind in KINDS:
            found = [judge(spec, recordings, kind, count, seed) for seed in seeds]
            every = [verdict for each in found for verdict in each]
            passed &= _caught(every) >= CAUGHT or kind not in BARRED
            least = min(map(_caught, found))
            rows.append([name, kind, str(len(every)), *_shares(every), f"{least:.1%}", ""])
    headers = [
        "chain",
        "artefact",
        "n",
        "all masked",
        "window invalid",
        "caught",
        "least by a seed",
        "stays valid",
    ]
    table(rows, headers, "Limits fitted on R03-R06, judged on R07-R10, 15 s windows")
    print(NOTE)  # noqa: T201
    return passed


def _caught(found: Sequence[Verdict]) -> float:
    return float(np.mean([each.caught for each in found]))


def _shares(found: Sequence[Verdict]) -> Iterator[str]:
    yield f"{np.mean([each.masked for each in found]):.1%}"
    yield f"{np.mean([each.invalid for each in found]):.1%}"
    yield f"{_caught(found):.1%}"


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--count", type=int, default=200, help="artefacts of each kind")
    parser.add_argument("--seed", type=int, nargs="+", default=[0], help="one or several")
    given = parser.parse_args()
    sys.exit(0 if report(given.folder, given.count, given.seed) else 1)


if __name__ == "__main__":
    main()
