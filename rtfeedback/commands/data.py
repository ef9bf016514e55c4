"""Datasets and recordings: demo, simulate, fetch, prepare, play."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from rtfeedback.commands.arguments import (
    SKIPPED,
    Toml,
    check_positive,
    next_folder,
    settings_of,
    warn_semi_synthetic,
)


def demo(
    eeg: Annotated[
        list[Path] | None,
        typer.Option(help="Real EEG in place of a simulated one; the last is held out."),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="New folder for all that it makes; ./demo without.")
    ] = None,
    quick: Annotated[
        bool, typer.Option("--quick", help="One subject, two runs, ridge.")
    ] = False,
    seed: Annotated[int, typer.Option(min=0, help="Of the simulation and the training.")] = 0,
) -> None:
    """Do the whole job in one go, over real LSL and ZeroMQ, and report."""
    from offline.demo import run_demo

    out = out or next_folder(Path(), "demo")
    if not run_demo(out, eeg=tuple(eeg or ()), quick=quick, seed=seed):
        raise typer.Exit(1)


def simulate(
    out: Annotated[Path, typer.Argument(help="New folder for the BIDS dataset.")],
    subjects: Annotated[int, typer.Option(help="Number of subjects.")] = 3,
    runs: Annotated[int, typer.Option(help="Runs of each subject.")] = 3,
    volumes: Annotated[int, typer.Option(help="Volumes of each run.")] = 100,
    tr: Annotated[float, typer.Option(help="Seconds from volume to volume.")] = 2.0,
    snr: Annotated[float, typer.Option(help="Signal to noise of the region's course.")] = 1.2,
    coupling: Annotated[float, typer.Option(help="0: EEG says nothing beyond the task.")] = 1.0,
    seed: Annotated[int, typer.Option(help="Same seed, same bytes.")] = 0,
    channels: Annotated[int, typer.Option(help="EEG channels, 10-10 names.")] = 64,
    rate: Annotated[float, typer.Option(help="EEG samples per second.")] = 250.0,
    eeg: Annotated[
        list[Path] | None, typer.Option(help="Semi-synthetic on this real EEG.")
    ] = None,
) -> None:
    """Write a BIDS EEG-fMRI dataset whose truth is known."""
    from offline.simulate import SimulateConfig
    from offline.simulate import simulate as simulate_dataset
    from rtfeedback.config import parse_config
    from rtfeedback.errors import ConfigError

    values = {
        "subjects": subjects, "runs": runs, "volumes": volumes, "tr": tr, "snr": snr,
        "coupling": coupling, "seed": seed, "channels": channels, "rate": rate,
    }  # fmt: skip
    try:
        config = parse_config(values, SimulateConfig, source="options")
    except ConfigError as error:
        raise typer.BadParameter(str(error)) from error
    simulate_dataset(out, config, eeg=tuple(eeg or ()))
    warn_semi_synthetic(bool(eeg))
    print(out)  # noqa: T201


def prepare(
    bids: Annotated[
        Path | None,
        typer.Argument(help="BIDS dataset with EEG and BOLD; none with --eeg or --pairs."),
    ] = None,
    out: Annotated[
        Path | None, typer.Argument(help="New folder; below ./prepared without.")
    ] = None,
    config: Toml = None,
    eeg: Annotated[Path | None, typer.Option(help="One run's EEG, in place of BIDS.")] = None,
    bold: Annotated[Path | None, typer.Option(help="Its BOLD.")] = None,
    course: Annotated[
        Path | None,
        typer.Option(help="In place of its BOLD: a TSV with a column per region."),
    ] = None,
    tr: Annotated[
        float | None, typer.Option(help="Its TR in s; what sidecars say without.")
    ] = None,
    onset: Annotated[
        float | None,
        typer.Option(help="Second of its EEG at which volume 0 began; by markers without."),
    ] = None,
    pairs: Annotated[
        Path | None,
        typer.Option(help="Table of runs: eeg, bold or course, subject, session, run, tr..."),
    ] = None,
    jobs: Annotated[int, typer.Option(min=0, help="Processes; 0: one a core.")] = 0,
) -> None:
    """Pass recordings through the chain, take targets out of BOLD, and write a store."""
    of_pair = {"bold": bold, "course": course, "tr": tr, "onset": onset}
    root, out = _places(bids, out, eeg, pairs, of_pair)
    check_positive(tr=tr)
    from offline.prepare import PrepareConfig
    from offline.prepare import prepare as prepare_dataset
    from offline.store.dataset import Store

    settings = settings_of(config, PrepareConfig)
    layout = settings.layout.with_files(pairs=pairs, eeg=eeg, **of_pair)
    settings = settings.model_copy(update={"layout": layout})
    alone = bool(eeg and not config)  # of one run, no whole one can be held out
    if alone:
        split = settings.split.model_copy(update={"kind": "block"})
        scaling = "none" if course else settings.bold.scaling  # a course is scaled already
        scaled = settings.bold.model_copy(update={"scaling": scaling})
        settings = settings.model_copy(update={"split": split, "bold": scaled})
    store = Store(prepare_dataset(root, out, settings, jobs=jobs))
    warn_semi_synthetic(store.manifest.semi_synthetic)
    if alone:
        print("one run: [split] kind = 'block', in a recipe for 'train' too", file=sys.stderr)  # noqa: T201
    print(out)  # noqa: T201
    if skipped := store.manifest.skipped:
        n, names = len(skipped) + len(store.runs), ", ".join(each.name for each in skipped)
        print(f"{len(skipped)} of {n} runs were skipped: {names}", file=sys.stderr)  # noqa: T201
        raise typer.Exit(SKIPPED)


def _places(
    bids: Path | None,
    out: Path | None,
    eeg: Path | None,
    pairs: Path | None,
    of_pair: dict[str, Any],
) -> tuple[Path, Path]:
    """Return the folder that paths in the settings are relative to, and the store's."""
    if eeg and pairs:
        raise typer.BadParameter("--eeg names one run, and --pairs many: give one of them")
    given = [name for name, value in of_pair.items() if value is not None]
    if given and not eeg:
        raise typer.BadParameter(f"--{given[0]} goes with --eeg")
    source = eeg or pairs
    if source and out:
        raise typer.BadParameter("With --eeg or --pairs, OUT is the only argument")
    if source:
        return source.absolute().parent, bids or next_folder(Path("prepared"), source.stem)
    if bids is None:
        raise typer.BadParameter("Name a BIDS dataset, or files by --eeg or --pairs")
    return bids, out or next_folder(Path("prepared"), bids.resolve().name)


def fetch(
    dataset: Annotated[str, typer.Argument(help="Of OpenNeuro, such as ds002336.")],
    folder: Annotated[Path, typer.Argument(help="Folder for it.")],
    subjects: Annotated[
        str, typer.Option(metavar="A,B,...", help="Only these, with their derivatives.")
    ] = "",
    exclude: Annotated[
        list[str] | None,
        typer.Option(metavar="PATTERN", help="Files to leave out; may be repeated."),
    ] = None,
) -> None:
    """Download a dataset from OpenNeuro; what was begun goes on next time."""
    from offline.datasets.fetch import fetch as fetch_dataset

    labels = [each for each in subjects.split(",") if each.strip()]
    print(fetch_dataset(dataset, folder, labels, exclude=exclude or ()))  # noqa: T201


def play(
    file: Annotated[Path, typer.Argument(help="Any recording that MNE reads, or XDF.")],
    stream: Annotated[str, typer.Option(help="Name of the EEG stream.")],
    markers: Annotated[str | None, typer.Option(help="Name of the marker stream.")] = None,
    speed: Annotated[float, typer.Option(help="Times faster; stamps stay 1/rate apart.")] = 1.0,
    chunk: Annotated[
        int | None, typer.Option(min=1, help="Samples pushed at a time; 40 ms without.")
    ] = None,
    loop: Annotated[bool, typer.Option("--loop", help="Begin again at the end.")] = False,
    fault: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME[:KEY=VALUE,...]", help="What goes wrong; may be repeated."),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of the faults: same seed, same day.")] = 0,
) -> None:
    """Stream a recording over LSL as an amplifier would, or would on a bad day.

    \b
    Faults, whose keys are listed in docs/faults.md:
      of time:    drop freeze bursts jitter drift rate clock
      of outlets: restart permute missing unit
      of signals: nan flat repeat blink pop movement muscle
      of markers: marker-missing marker-doubled marker-late marker-astray marker-thin marker-slices scanner-stop
    For example: --fault drop:at=20,n=50 --fault restart:at=40,source=new
    """  # noqa: D301, E501 (a raw one would show click its backslash; a line of faults is one)
    check_positive(speed=speed)
    from offline.faults import parse_fault
    from offline.play import play as play_recording
    from rtfeedback.errors import ConfigError

    try:
        faults = [parse_fault(each) for each in fault or ()]
    except ConfigError as error:
        raise typer.BadParameter(str(error)) from error
    report = play_recording(
        file, stream=stream, markers=markers, speed=speed, chunk=chunk, loop=loop,
        faults=faults, seed=seed,
    )  # fmt: skip
    print(report)  # noqa: T201
