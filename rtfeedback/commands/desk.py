"""What runs at the desk, from `demo` and `simulate` to `train`, `evaluate` and `play`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from rtfeedback.commands.arguments import (
    Toml,
    check_positive,
    newest,
    next_folder,
    settings_of,
)

LISTEN = 180.0  # s of a live stream that a calibration takes
SKIPPED = 3  # exit code of a store that lacks some of the dataset's runs


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
    _warn(bool(eeg))
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
    _warn(store.manifest.semi_synthetic)
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


def train(
    data: Annotated[
        Path | None, typer.Argument(help="Store; the newest below ./prepared without.")
    ] = None,
    config: Toml = None,
    out: Annotated[
        Path | None, typer.Option(help="New folder; below ./checkpoints without.")
    ] = None,
    channels: Annotated[
        str | None,
        typer.Option(metavar="C3,Cz,C4|CAP", help="Only these: the cap outside the scanner."),
    ] = None,
    allow_shuffled: Annotated[
        bool, typer.Option("--allow-shuffled", help="Leave for [split] kind = 'shuffled'.")
    ] = False,
    ensemble: Annotated[
        int, typer.Option(min=1, max=64, help="Networks, from as many seeds; their sd is told.")
    ] = 1,
    pretrained: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Weights to begin with, of 'pretrain'.")
    ] = None,
) -> None:
    """Fit a model and write its checkpoint."""
    from offline.ensemble import train_ensemble
    from offline.for_cap import store_for_cap
    from offline.store.dataset import Store
    from offline.train import TrainConfig
    from offline.train import train as train_model

    recipe = settings_of(config, TrainConfig)
    if allow_shuffled:
        split = recipe.split.model_copy(update={"allow_shuffled": True})
        recipe = recipe.model_copy(update={"split": split})
    store = Store(data or newest(Path("prepared"), "store.json", "rtfeedback prepare BIDS"))
    store = store_for_cap(store, channels) if channels else store
    out = out or next_folder(Path("checkpoints"), f"{store.path.name}-{recipe.model.name}")
    if ensemble > 1:
        spec = train_ensemble(store, out, recipe, ensemble, pretrained=pretrained)
    else:
        spec = train_model(store, out, recipe, pretrained=pretrained)
    _warn(spec.training.semi_synthetic)
    print(f"{out}\n{spec.model.name}: {_facts(spec.training.notes)}")  # noqa: T201


def pretrain(
    data: Annotated[
        Path,
        typer.Argument(metavar="DIR|STORE", help="A folder of EEG recordings, or a store."),
    ],
    config: Toml = None,
    out: Annotated[
        Path | None, typer.Option(help="New folder; below ./pretrained without.")
    ] = None,
    store: Annotated[
        Path | None,
        typer.Option(help="With DIR: the store to be fine-tuned on, for its chain."),
    ] = None,
) -> None:
    """Learn weights of EEG alone, for `train --pretrained` to begin with."""
    from offline.store.dataset import MANIFEST, Store
    from offline.training.pretrain import PretrainConfig, pretrain_recordings, pretrain_store

    recipe = settings_of(config, PretrainConfig)
    out = out or next_folder(Path("pretrained"), data.resolve().name)
    if (data / MANIFEST).is_file():
        if store:
            raise typer.BadParameter("--store goes with a folder of recordings")
        spec = pretrain_store(Store(data), out, recipe)
    else:
        chain = Store(store).chain(recipe.model.chain) if store else None
        spec = pretrain_recordings(data, out, recipe, chain)
    print(f"{out}\n{len(spec.recordings)} recordings, {spec.hours:.2f} h: {_facts(spec.notes)}")  # noqa: T201


def tune(
    data: Annotated[Path, typer.Argument(help="Store.")],
    config: Annotated[
        Path, typer.Option(help="Recipe with a [tune] table: which keys are open.")
    ],
    trials: Annotated[int, typer.Option(min=1, help="Of the study, on all machines.")],
    storage: Annotated[
        str | None, typer.Option(metavar="URL", help="Database; SQLite beside OUT without.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="New TOML file; below ./tuned without.")
    ] = None,
) -> None:
    """Choose what a recipe leaves open by the validation part; write the best as TOML."""
    from offline.store.dataset import Store
    from offline.tune import tune as tune_recipe
    from offline.tuning.tune_config import TuneConfig

    recipe, store = settings_of(config, TuneConfig), Store(data)
    out = out or next_folder(Path("tuned"), f"{store.path.name}-{config.stem}", ".toml")
    tune_recipe(store, out, recipe, trials, storage=storage, source=str(config))
    _warn(store.manifest.semi_synthetic)
    print(out)  # noqa: T201


def evaluate(
    checkpoint: Annotated[Path, typer.Argument(help="Checkpoint folder.")],
    data: Annotated[Path, typer.Argument(help="The store that it was trained on.")],
    out: Annotated[
        Path | None, typer.Option(help="New folder; below ./evaluations without.")
    ] = None,
) -> None:
    """Report skill on the held-out runs, beside baselines and chance."""
    from offline.evaluate import evaluate as evaluate_checkpoint
    from offline.evaluate import print_report
    from offline.store.dataset import Store
    from rtfeedback.predictor import Predictor

    out = out or next_folder(Path("evaluations"), checkpoint.resolve().name)
    predictor = Predictor.load(checkpoint, "cpu")
    print_report(evaluate_checkpoint(predictor, Store(data), out))
    print(out)  # noqa: T201


def calibrate(
    checkpoint: Annotated[Path, typer.Argument(help="The parent's folder; it stays as is.")],
    eeg: Annotated[
        Path | None, typer.Option(help="A recording of two to five minutes of EEG.")
    ] = None,
    stream: Annotated[
        str | None, typer.Option(help="Or the EEG stream to listen to now.")
    ] = None,
    store: Annotated[
        Path | None, typer.Option(help="Or a store of the subject's runs with BOLD.")
    ] = None,
    seconds: Annotated[
        float | None, typer.Option(help="Of EEG; 180 of a stream, all of a recording.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="New folder; below ./checkpoints without.")
    ] = None,
) -> None:
    """Make a child of a checkpoint for a new subject or day."""
    given = [each for each in (eeg, stream, store) if each is not None]
    if len(given) != 1:
        raise typer.BadParameter("Name one of --eeg, --stream and --store")
    if store and seconds is not None:
        raise typer.BadParameter("--seconds goes with --eeg or --stream")
    check_positive(seconds=seconds)
    from offline.calibrate import calibrate_by_eeg, calibrate_by_fmri
    from offline.recording_stream import recording_source
    from offline.store.dataset import Store
    from rtfeedback.checkpoint import load_checkpoint
    from rtfeedback.online.address import make_source

    parent = load_checkpoint(checkpoint)
    out = out or next_folder(Path("checkpoints"), f"{checkpoint.resolve().name}-calibrated")
    if store:
        spec = calibrate_by_fmri(parent, Store(store), out)
    else:
        source = recording_source(eeg) if eeg else make_source(stream=stream or "")
        seconds = seconds or (float("inf") if eeg else LISTEN)
        spec = calibrate_by_eeg(parent, source, out, seconds=seconds)
    done = spec.calibrations[-1]
    facts = ", ".join(f"{key} {_short(value)}" for key, value in done.notes.items())
    print(f"{out}\n{done.method} by {done.seconds:.0f} s of {done.source}: {facts}")  # noqa: T201


def _short(value: float | str) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def explain(
    checkpoint: Annotated[Path, typer.Argument(help="Checkpoint folder.")],
    data: Annotated[Path, typer.Argument(help="The store that it was trained on.")],
    out: Annotated[
        Path | None, typer.Option(help="New folder; below ./explanations without.")
    ] = None,
    target: Annotated[
        str | None, typer.Option(help="What is predicted; the first of the checkpoint's.")
    ] = None,
    pairs: Annotated[
        int, typer.Option(min=1, help="Pairs of validation windows that are compared.")
    ] = 100,
) -> None:
    """Show which channels, frequencies and lags a model goes by, and what it has learnt."""
    from offline.explain import explain as explain_checkpoint
    from offline.explain import print_explanation
    from offline.store.dataset import Store
    from rtfeedback.checkpoint import load_checkpoint

    out = out or next_folder(Path("explanations"), checkpoint.resolve().name)
    loaded = load_checkpoint(checkpoint)
    print_explanation(explain_checkpoint(loaded, Store(data), out, target=target, pairs=pairs))
    print(out)  # noqa: T201


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


def _facts(notes: dict[str, Any]) -> str:
    return ", ".join(f"{key} {value}" for key, value in notes.items())


def _warn(semi_synthetic: bool) -> None:
    from offline.store.dataset import SEMI_SYNTHETIC

    if semi_synthetic:
        print(SEMI_SYNTHETIC, file=sys.stderr)  # noqa: T201
