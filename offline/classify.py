"""Groups of subjects told apart by the fMRI that a model predicts of their EEG alone."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from offline.calibrate import calibrated_by_eeg
from offline.calibration.fit_eeg import LEAST
from offline.classification.classified import WORDS, Classified
from offline.classification.figure import Pattern, classification_figure
from offline.classification.labels import read_labels
from offline.classification.options import ClassifyOptions
from offline.classification.pattern import pattern_of
from offline.classification.report import STATISTICS, report_of
from offline.classification.subjects import Scaled, gather
from offline.datasets.find_eeg import find_eeg
from offline.eeg.recordings import Recording
from offline.evaluation.volume_figure import image
from rtfeedback.checkpoint import Checkpoint, CheckpointSpec
from rtfeedback.errors import ConfigError
from rtfeedback.folders import new_folder
from rtfeedback.models.monte_carlo import network_of
from rtfeedback.models.volume import VolumeNetwork
from rtfeedback.online.memory import MemorySource
from rtfeedback.online.settings import check_pace
from rtfeedback.predictor import Predictor

REPORT, FIGURE = "classification.json", "classification.png"
SUBJECT = re.compile(r"sub-([0-9A-Za-z]+)")


def classify(
    checkpoint: Checkpoint,
    root: Path,
    labels: str,
    out: Path,
    options: ClassifyOptions | None = None,
) -> dict[str, Any]:
    """Tell subjects' groups by their predicted fMRI, and report how well that goes.

    Each recording passes along the line of `run`, whose valid windows are predicted one at
    a time by the one `Predictor`. Mean and sd over time of each voxel, or region, are a
    subject's row, over all of their recordings. All that is fitted to rows (standard
    scores, components, penalty, weights) is fitted to the training subjects of a fold.

    Parameters
    ----------
    checkpoint : Checkpoint
    root : Path
        A BIDS dataset with EEG.
    labels : str
        `TABLE:COLUMN`; see `read_labels`.
    out : Path
        New folder.
    options : ClassifyOptions, optional

    Returns
    -------
    dict
        What `classification.json` holds.

    Raises
    ------
    DatasetError
        If there is no EEG, no such column, a subject without a row, or too few subjects.
    RecordingError, ChannelError
        If no recording can be used: why the first cannot.
    ConfigError
        If recordings are to be scaled by too few seconds of them, or answered more often
        than samples come.
    OutputError
        If `out` is there already or cannot be written.
    """
    options = options or ClassifyOptions()
    check_pace(checkpoint.spec, hop=options.hop)
    with new_folder(out) as folder, threadpool_limits(1):
        known = read_labels(labels, root)
        trained = trained_subjects(checkpoint.spec)
        left = frozenset() if options.include_trained else trained
        runs = find_eeg(root, options.task)
        subjects, left_out = gather(
            runs, known, left, _scaling(checkpoint, options.calibrate), options.hop
        )
        found = Classified.of(subjects, options)
        report = report_of(checkpoint, known, found, left_out, trained, options)
        patterns = _patterns(folder, checkpoint, found, report)
        _draw(folder, checkpoint, found, patterns, report)
        text = json.dumps(report, indent=1, allow_nan=False) + "\n"
        (folder / REPORT).write_text(text, encoding="utf-8")
    return report


def trained_subjects(spec: CheckpointSpec) -> frozenset[str]:
    """Return the subjects that a checkpoint was trained or chosen on, without `sub-`."""
    befores = [each.before for each in spec.calibrations if each.before]
    every = [spec.training, *befores]
    chosen = (
        name for each in every for run in each.validation for name in SUBJECT.findall(run)
    )
    return frozenset(name for each in every for name in each.subjects).union(chosen)


def _scaling(parent: Checkpoint, seconds: float | None) -> Scaled:
    """Return what gives a recording its predictor: the one of all, or its own child's."""
    if seconds is None:
        predictor = Predictor(parent, "cpu")
        return lambda recording: predictor
    if seconds < LEAST:
        raise ConfigError(
            "No recording can be scaled by so few seconds of it",
            found=f"{seconds:g} s",
            do=f"Give --calibrate {LEAST:g} or more, or go without",
        )

    def scaled(recording: Recording) -> Predictor:
        source = MemorySource(recording.info, recording.samples)
        spec, model = calibrated_by_eeg(parent, source, seconds=seconds)
        return Predictor(Checkpoint(parent.path, spec, model, parent.hash), "cpu")

    return scaled


def _patterns(
    folder: Path, checkpoint: Checkpoint, found: Classified, report: dict[str, Any]
) -> list[Pattern]:
    """Return what is drawn; keep it as images, or of regions in the report."""
    spec, model, classes = checkpoint.spec, network_of(checkpoint.model), found.classes
    rows = pattern_of(found.nested, found.codes)
    towards = classes[1:] if len(rows) == 1 else classes
    patterns: list[Pattern] = []
    numbers: list[dict[str, Any]] = []
    for i, (name, row) in enumerate(zip(towards, rows, strict=True)):
        for statistic, values in zip(STATISTICS, np.split(row, 2), strict=True):
            patterns.append((f"{statistic} over time, towards '{name}'", values))
            told: dict[str, Any] = {"towards": name, "statistic": statistic}
            if isinstance(model, VolumeNetwork):
                told["file"] = f"pattern_{statistic}_{i + 1}.nii.gz"
                image(model, values).to_filename(folder / told["file"])
            else:
                of = zip((t.name for t in spec.targets), values.tolist(), strict=True)
                told["regions"] = dict(of)
            numbers.append(told)
    report["patterns"] = numbers
    return patterns


def _draw(
    folder: Path,
    checkpoint: Checkpoint,
    found: Classified,
    patterns: Sequence[Pattern],
    report: dict[str, Any],
) -> None:
    spec, model = checkpoint.spec, network_of(checkpoint.model)
    unit = spec.volume.unit if spec.volume else spec.targets[0].unit
    confusions = [
        (
            f"{words}: balanced accuracy {each.balanced_accuracy:.2f}, p = {each.p:.3f}",
            each.confusion.sum(axis=0),
        )
        for words, each in zip(WORDS.values(), found.scores.values(), strict=True)
    ]
    of_one_sd = f"{unit} for one sd of it"
    named = [(f"Pattern of the decision, {name}, {of_one_sd}", v) for name, v in patterns]
    classification_figure(
        folder / FIGURE,
        confusions,
        found.classes,
        named,
        model if isinstance(model, VolumeNetwork) else [each.name for each in spec.targets],
        f"{spec.model.name}: '{report['labels']['column']}' of {len(found.subjects)} subjects",
        report["note"],
    )
