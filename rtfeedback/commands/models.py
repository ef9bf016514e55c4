"""Models at the desk: train, pretrain, tune, calibrate, evaluate, explain, classify."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from rtfeedback.commands.arguments import (
    SKIPPED,
    Toml,
    check_positive,
    newest,
    next_folder,
    settings_of,
    warn_semi_synthetic,
)

LISTEN = 180.0  # s of a live stream that a calibration takes

MonteCarlo = Annotated[
    int | None,
    typer.Option(min=2, max=256, help="Passes with dropout, whose sd is told."),
]


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
    monte_carlo: MonteCarlo = None,
    pretrained: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Weights to begin with, of 'pretrain'.")
    ] = None,
) -> None:
    """Fit a model and write its checkpoint."""
    if monte_carlo and ensemble > 1:
        raise typer.BadParameter("--monte-carlo goes on an ensemble by 'rtfeedback calibrate'")
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
        passes = monte_carlo or 1
        spec = train_model(store, out, recipe, pretrained=pretrained, passes=passes)
    warn_semi_synthetic(spec.training.semi_synthetic)
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
    warn_semi_synthetic(store.manifest.semi_synthetic)
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
    monte_carlo: MonteCarlo = None,
    seconds: Annotated[
        float | None, typer.Option(help="Of EEG; 180 of a stream, all of a recording.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="New folder; below ./checkpoints without.")
    ] = None,
) -> None:
    """Make a child of a checkpoint: for a new subject or day, or one that tells its sd."""
    given = [each for each in (eeg, stream, store, monte_carlo) if each is not None]
    if len(given) != 1:
        raise typer.BadParameter("Name one of --eeg, --stream, --store and --monte-carlo")
    if (store or monte_carlo) and seconds is not None:
        raise typer.BadParameter("--seconds goes with --eeg or --stream")
    check_positive(seconds=seconds)
    from offline.calibrate import calibrate_by_eeg, calibrate_by_fmri
    from offline.monte_carlo import with_passes
    from offline.recording_stream import recording_source
    from offline.store.dataset import Store
    from rtfeedback.checkpoint import load_checkpoint
    from rtfeedback.online.address import make_source

    parent = load_checkpoint(checkpoint)
    out = out or next_folder(Path("checkpoints"), f"{checkpoint.resolve().name}-calibrated")
    if monte_carlo:
        with_passes(parent, out, monte_carlo)
        print(f"{out}\n{monte_carlo} Monte-Carlo passes of {checkpoint}")  # noqa: T201
        return
    if store:
        spec = calibrate_by_fmri(parent, Store(store), out)
    else:
        source = recording_source(eeg) if eeg else make_source(stream=stream or "")
        seconds = seconds or (float("inf") if eeg else LISTEN)
        spec = calibrate_by_eeg(parent, source, out, seconds=seconds)
    done = spec.calibrations[-1]
    by = f"{done.method} by {done.seconds:.0f} s of {done.source}"
    print(f"{out}\n{by}: {_facts(done.notes)}")  # noqa: T201


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


def classify(
    checkpoint: Annotated[Path, typer.Argument(help="Checkpoint folder.")],
    bids: Annotated[Path, typer.Argument(help="A BIDS dataset of EEG alone.")],
    labels: Annotated[
        str, typer.Option(metavar="TABLE:COLUMN", help="Such as participants.tsv:group.")
    ],
    out: Annotated[
        Path | None, typer.Option(help="New folder; below ./classifications without.")
    ] = None,
    task: Annotated[str | None, typer.Option(help="Only recordings of this task.")] = None,
    hop: Annotated[
        float | None, typer.Option(help="Seconds between windows besides those of each TR.")
    ] = None,
    calibrate: Annotated[
        float | None,
        typer.Option(metavar="S", help="Scale each recording by its own first S seconds."),
    ] = None,
    include_trained: Annotated[
        bool, typer.Option("--include-trained", help="Keep names of the model's training.")
    ] = False,
    permutations: Annotated[
        int, typer.Option(min=1, help="Of the subjects' labels, for p.")
    ] = 199,
    seed: Annotated[int, typer.Option(min=0, help="Of folds and permutations.")] = 0,
) -> None:
    """Tell groups of subjects apart by the fMRI predicted from their EEG."""
    check_positive(hop=hop, calibrate=calibrate)
    from offline.classification.options import ClassifyOptions
    from offline.classification.report import print_classification
    from offline.classify import classify as classify_subjects
    from rtfeedback.checkpoint import load_checkpoint

    out = out or next_folder(Path("classifications"), checkpoint.resolve().name)
    options = ClassifyOptions(
        task=task,
        hop=hop,
        calibrate=calibrate,
        include_trained=include_trained,
        permutations=permutations,
        seed=seed,
    )
    report = classify_subjects(load_checkpoint(checkpoint), bids, labels, out, options)
    print_classification(report)
    print(out)  # noqa: T201
    if broken := [each["name"] for each in report["left_out"] if each["broken"]]:
        print(f"{len(broken)} recordings were left out: {', '.join(broken)}", file=sys.stderr)  # noqa: T201
        raise typer.Exit(SKIPPED)


def _short(value: float | str) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _facts(notes: dict[str, Any]) -> str:
    return ", ".join(f"{key} {_short(value)}" for key, value in notes.items())
