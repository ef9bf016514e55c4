"""A public dataset at its true size and rate, from `prepare` to the card.

    python -m bench.true_size SIDECARS [--subjects xp101] [--corrected] [--write]

`SIDECARS` is ds002336 (or ds002338) without its bulk data. Each run's EEG and BOLD are written
in full beside its real sidecars, markers, events and head motion: 64 channels at 5 kHz with
gradient and pulse artefact, or, with `--corrected`, the 200 Hz derivatives. A motor rhythm
that wanders and falls with the task drives the voxels of a hand. Then the commands of
docs/datasets.md are run, each timed, its memory taken.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import nibabel
import numpy as np
from scipy.signal import butter, sosfiltfilt

from bench.tables import GIB, markdown_table, provenance, put
from offline.bold.confounds import n_rows, read_courses
from offline.datasets.bids import PairedRun, ScannedRun, events_file, repetition_time
from offline.datasets.find_runs import find_runs
from offline.design import REST, read_events
from offline.store.prepare_config import PrepareConfig
from rtfeedback.config import load_config
from rtfeedback.hrf import hrf
from rtfeedback.signals import Float64
from tests.offline import made_up_eeg, real_layouts

SECTION = "bench.true_size"
ROOT = Path(__file__).resolve().parents[1]
LEAD_IN = 3.0  # s of EEG before the first volume, in the raw recordings
CUT = 2.0  # s after the first volume at which the corrected ones begin
RHYTHM = 250.0  # Hz at which the drive is made up
HAND = ((30, 34), (50, 54), (10, 12))  # voxels that answer it
GRID = (105, 105, 16)
NOTE = """{n} runs of {subjects}, {minutes:.0f} min of EEG, {gib:.1f} GiB on the disk. Wall
time, and the most memory that all of a command's processes held at once.
"""


class Took(NamedTuple):
    """What a command cost, and what it said."""

    seconds: float
    gib: float
    said: str


@dataclass(frozen=True, slots=True)
class Drive:
    """What the hand does in a run, at `RHYTHM` from `LEAD_IN` before the first volume."""

    times: Float64
    course: Float64

    @classmethod
    def of(cls, run: ScannedRun, n_volumes: int, seed: int) -> Drive:
        """Make up the drive: the task's blocks, and as much again that no design knows."""
        end = n_volumes * repetition_time(run) + 1.0
        times = np.arange(-LEAD_IN, end, 1 / RHYTHM)
        course = np.zeros(len(times))
        path = events_file(run)
        assert path is not None
        for event in read_events(path):
            if event.trial_type.casefold() != REST:
                inside = (times >= event.onset) & (times < event.onset + event.duration)
                course[inside] = 1.0
        noise = np.random.default_rng(seed).normal(size=len(times))
        slow = sosfiltfilt(butter(2, 0.05, "low", fs=RHYTHM, output="sos"), noise)
        return cls(times, course - course.mean() + slow / slow.std())

    def bold(self, n_volumes: int, tr: float) -> Float64:
        """Return the response at the middle of each volume, sd 1."""
        answer = np.convolve(self.course, hrf(np.arange(0, 32, 1 / RHYTHM)))[: len(self.times)]
        found = np.interp((np.arange(n_volumes) + 0.5) * tr, self.times, answer)
        return np.asarray((found - found.mean()) / found.std())


def write_run(run: ScannedRun, n_volumes: int, seed: int, *, corrected: bool) -> None:
    """Write a run's BOLD, and its EEG if it has any, over what stands in their place."""
    tr, drive = repetition_time(run), Drive.of(run, n_volumes, seed)
    assert run.bold is not None
    _write_bold(run.bold, drive.bold(n_volumes, tr), tr, seed)
    if not isinstance(run, PairedRun):
        return
    if corrected:
        _write_eeg(run.eeg, drive, seed, begin=CUT, end=n_volumes * tr, sfreq=200)
    else:
        _write_eeg(
            run.eeg, drive, seed, begin=-LEAD_IN, end=n_volumes * tr + 1, sfreq=5000, tr=tr
        )


def _write_eeg(
    vhdr: Path,
    drive: Drive,
    seed: int,
    *,
    begin: float,
    end: float,
    sfreq: int,
    tr: float | None = None,
) -> None:
    """Write samples, with the scanner's and the heart's artefacts where a TR is given."""
    suffix, step = (".eeg", 0.5) if tr else (".dat", None)
    n_times = round((end - begin) * sfreq)
    times = begin + np.arange(n_times) / sfreq
    labels = real_layouts.BRAINCAP
    sites = tuple(label for label in labels if label != "ECG")
    brain = made_up_eeg.brain(RHYTHM, end - begin, sites, seed)
    brain += _rhythm(brain, drive, begin, sites, seed)
    slow = np.arange(len(brain)) / RHYTHM + begin
    peaks = made_up_eeg.beats(end - begin, seed) + begin
    beat = made_up_eeg.pulse(slow, peaks, seed) if tr else np.zeros(len(slow))
    scanner = _gradient(times, tr) if tr else np.zeros(n_times)
    gains = dict(zip(sites, made_up_eeg.gains(len(sites), seed), strict=True))
    kind = "<i2" if step else "<f4"
    file = vhdr.with_suffix(suffix)
    out = np.memmap(file, kind, "w+", shape=(n_times, len(labels)))
    for column, label in enumerate(labels):
        if label == "ECG":
            course = np.interp(times, slow, made_up_eeg.ecg(slow, peaks))
        else:
            source = brain[:, sites.index(label)] + gains[label] * beat
            course = np.interp(times, slow, source)
            course += gains[label] * scanner
        out[:, column] = np.rint(course / step) if step else course
    out.flush()


def _rhythm(
    brain: Float64, drive: Drive, begin: float, sites: Sequence[str], seed: int
) -> Float64:
    """Return a motor rhythm at 11 Hz over the left hand, the smaller the more is driven."""
    rng = np.random.default_rng(seed + 1)
    band = butter(2, (9, 13), "band", fs=RHYTHM, output="sos")
    carrier = sosfiltfilt(band, rng.normal(size=len(brain)))
    at = np.arange(len(brain)) / RHYTHM + begin
    size = np.exp(-0.5 * np.interp(at, drive.times, drive.course))
    seen = np.array(
        [{"C3": 1.0, "CP3": 0.7, "FC3": 0.6, "C1": 0.6, "C5": 0.6}.get(s, 0.0) for s in sites]
    )
    return np.asarray(12 * (size * carrier / carrier.std())[:, None] * seen)


def _gradient(times: Float64, tr: float) -> Float64:
    """Return microvolts of the scanner's artefact, the same in each volume."""
    per_volume = round(tr * 5000)
    wave = made_up_eeg.gradients(tr)(np.arange(per_volume) / 5000)
    scanning = times >= 0
    found = np.zeros(len(times))
    found[scanning] = np.resize(wave, int(scanning.sum()))
    return found


def _write_bold(path: Path, course: Float64, tr: float, seed: int) -> None:
    """Write an image of the study's own grid, in which a hand's voxels answer."""
    rng = np.random.default_rng(seed)
    data = np.empty((*GRID, len(course)), dtype=np.int16)
    inside = np.zeros(GRID, dtype=bool)
    inside[15:90, 15:90, 1:15] = True
    hand = np.zeros(GRID, dtype=bool)
    hand[tuple(slice(*each) for each in HAND)] = True
    for volume, value in enumerate(course):
        image = 1000 * inside + rng.normal(0, 15, GRID) * inside
        data[..., volume] = image + 20 * value * hand
    affine = np.diag([2.0, 2.0, 4.0, 1.0])
    affine[:3, 3] = (-105.0, -105.0, -32.0)
    made = nibabel.Nifti1Image(data, affine)
    made.header.set_zooms((2.0, 2.0, 4.0, tr))
    nibabel.save(made, path)


def lay_out(
    sidecars: Path, out: Path, subjects: Sequence[str], recipe: Path
) -> list[PairedRun]:
    """Write the dataset; return its runs."""
    config = load_config(recipe, PrepareConfig)
    corrected = config.layout.eeg != ("bids",)
    ending = "_eeg_pp.vhdr" if corrected else "_eeg.vhdr"
    tr = 2.0 if "2336" in sidecars.name else 1.0
    only = (ending, "_bold.nii.gz")
    real_layouts.neurofeedback(sidecars, out, subjects, tr=tr, n_volumes=None, only=only)
    found = find_runs(out, config.layout)
    for seed, run in enumerate([*found.runs, *found.scanned]):
        assert run.confounds is not None
        n_volumes = n_rows(read_courses(run.confounds))
        write_run(run, n_volumes, seed, corrected=corrected)
    return found.runs


def run_command(*argv: str | Path) -> Took:
    """Run a command of rtfeedback to its end; return what it cost."""
    began = time.perf_counter()
    command = [sys.executable, "-m", "rtfeedback", *map(str, argv)]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        assert process.stdout is not None
        most = max((held for held in _held_by(process)), default=0)
        said = process.stdout.read()
    if process.returncode not in (0, 3):
        raise SystemExit(f"{' '.join(command)}: exit {process.returncode}\n{said}")
    return Took(time.perf_counter() - began, most / GIB, said)


def _held_by(process: subprocess.Popen[str]) -> Iterator[int]:
    """Yield how many bytes a process and its children hold, ten times a second."""
    while process.poll() is None:
        yield sum(map(_proportional, _family(process.pid)))
        time.sleep(0.1)


def _family(pid: int) -> list[int]:
    found, todo = [], [pid]
    while todo:
        found.append(todo.pop())
        children = Path(f"/proc/{found[-1]}/task/{found[-1]}/children")
        if children.is_file():
            todo += map(int, children.read_text(encoding="ascii").split())
    return found


def _proportional(pid: int) -> int:
    """Return a process's memory, what is shared divided by those that share it; 0 if gone."""
    try:
        rollup = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii")
    except OSError:
        return 0
    return 1024 * int(rollup.split("\nPss:")[1].split()[0])


def report(folder: Path, sidecars: Path, subjects: Sequence[str], *, corrected: bool) -> str:
    """Write the dataset, run the commands, and return the table."""
    name = f"prepare-ds002336{'-corrected' if corrected else ''}.toml"
    recipe, bids = ROOT / "configs" / name, folder / sidecars.name
    runs = lay_out(sidecars, bids, subjects, recipe)
    size = sum(path.stat().st_size for path in bids.rglob("*") if path.is_file())
    store, checkpoint, card = folder / "store", folder / "checkpoint", folder / "card"
    train = ROOT / "configs/train-ridge.toml"
    commands = {
        f"prepare --config configs/{name}": ("prepare", bids, store, "--config", recipe),
        "train --config configs/train-ridge.toml": (
            "train", store, "--config", train, "--out", checkpoint,
        ),
        "evaluate": ("evaluate", checkpoint, store, "--out", card),
    }  # fmt: skip
    took = {what: run_command(*argv) for what, argv in commands.items()}
    facts = json.loads((store / "store.json").read_text(encoding="utf-8"))
    minutes = sum(run["duration"] for run in facts["runs"]) / 60
    rows = [
        [what, f"{each.seconds:.0f} s", f"{each.gib:.1f} GiB"] for what, each in took.items()
    ]
    said = [f"    {line}" for line in took["evaluate"].said.splitlines() if line.strip()]
    command = f"python -m {SECTION} SIDECARS --subjects {','.join(subjects)}"
    parts = [
        provenance(command + " --corrected" * corrected),
        NOTE.format(n=len(runs), subjects=", ".join(subjects), minutes=minutes, gib=size / GIB),
        markdown_table(("command", "time", "memory"), rows),
        "The card:\n",
        "\n".join(said),
    ]
    for line in next(iter(took.values())).said.splitlines():
        print(line)  # noqa: T201
    return "\n".join(parts) + "\n"


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("sidecars", type=Path)
    parser.add_argument("--subjects", default="xp101")
    parser.add_argument("--corrected", action="store_true")
    parser.add_argument("--folder", type=Path, help="where to put it all, and keep it")
    parser.add_argument("--write", action="store_true", help="into docs/benchmarks.md")
    given = parser.parse_args()
    subjects = given.subjects.split(",")
    with TemporaryDirectory(dir=os.environ.get("TMPDIR")) as scratch:
        folder = given.folder or Path(scratch)
        text = report(folder, given.sidecars, subjects, corrected=given.corrected)
    print(text)  # noqa: T201
    if given.write:
        put(f"{SECTION}{'.corrected' if given.corrected else ''}", text)


if __name__ == "__main__":
    main()
