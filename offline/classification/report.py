"""What a classification says, as numbers and as a table."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from offline.classification.classified import WORDS, Classified
from offline.classification.labels import Labels
from offline.classification.options import ClassifyOptions
from offline.classification.scores import SubjectScores
from offline.classification.subjects import LeftOut
from offline.evaluation.report import table
from offline.store.dataset import SEMI_SYNTHETIC
from rtfeedback.checkpoint import Checkpoint, CheckpointSpec
from rtfeedback.errors import listed

LEVEL = 0.05  # p above which nothing was told
STATISTICS = ("mean", "sd")  # over time, of each voxel or region: the two halves of a row


def report_of(
    checkpoint: Checkpoint,
    labels: Labels,
    found: Classified,
    left_out: Sequence[LeftOut],
    trained: frozenset[str],
    options: ClassifyOptions,
) -> dict[str, Any]:
    """Return what `classification.json` holds, but for the patterns.

    Parameters
    ----------
    checkpoint : Checkpoint
    labels : Labels
    found : Classified
    left_out : sequence of LeftOut
    trained : frozenset of str
        Subjects of the model's training.
    options : ClassifyOptions
    """
    spec = checkpoint.spec
    counts = np.bincount(found.codes)
    largest = int(counts.argmax())
    known = sorted({subject.name for subject in found.subjects} & trained)
    return {
        "checkpoint": checkpoint.hash,
        "model": spec.model.name,
        "labels": {"table": str(labels.table), "column": labels.column},
        "note": _note(spec, found, left_out, known, options),
        "outcome": "volume" if spec.volume else "regions",
        "statistics": list(STATISTICS),
        "tr": spec.tr,
        "hop": options.hop,
        "calibrated_by_seconds": options.calibrate,
        "seed": options.seed,
        "classes": list(found.classes),
        "groups": [_group(found, name, labels, left_out) for name in found.classes],
        "n_folds": int(found.nested.folds.max()) + 1,
        "n_permutations": options.permutations,
        **{name: _scores(each) for name, each in found.scores.items()},
        "right_by": _right_by(found),
        "majority": {
            "told": found.classes[largest],
            "balanced_accuracy": 1 / len(found.classes),
            "auc": 0.5,
            "accuracy": float(counts[largest] / counts.sum()),
        },
        "subjects": [_subject(found, i) for i in range(len(found.subjects))],
        "left_out": [
            {"name": each.name, "label": each.label, "why": each.why, "broken": each.broken}
            for each in left_out
        ],
        "trained_on": known,
    }


def _note(
    spec: CheckpointSpec,
    found: Classified,
    left_out: Sequence[LeftOut],
    known: Sequence[str],
    options: ClassifyOptions,
) -> str:
    """Return what has to stand by every number."""
    lines = ["What is predicted holds no more than the EEG does: set it beside the EEG itself."]
    p, few = found.scores["predicted_fmri"].p, 1 / (1 + options.permutations) > LEVEL
    if p > LEVEL:
        why = "the permutations are too few to show it" if few else f"p = {p:.3f}"
        lines.append(
            f"Nothing shows that it is better than chance ({why}), or its pattern than noise."
        )
    if spec.environment == "scanner":
        lines.append("The model was trained on EEG from the scanner; EEG outside is other.")
    if options.calibrate is not None:
        lines.append(
            f"Each recording was scaled by its own first {options.calibrate:g} s, which takes"
            " out by how much one subject's EEG is larger than another's."
        )
    if known:
        lines.append(
            f"In the model's training were subjects of these names: {listed(known)}. If they"
            " are the same people, it knows them better than the others."
        )
    if "pretrained" in spec.training.notes:
        lines.append("Whose EEG its weights were pretrained on, the checkpoint does not say.")
    if left_out:
        why = listed([each.name for each in left_out])
        lines.append(f"Left out: {why}.")
    if spec.training.semi_synthetic:
        lines.append(SEMI_SYNTHETIC)
    return " ".join(lines)


def _group(
    found: Classified, name: str, labels: Labels, left_out: Sequence[LeftOut]
) -> dict[str, Any]:
    """Return how much there is of a group: one that is lost more often is another group."""
    own = [each for each in found.subjects if each.label == name]
    recordings = [each for subject in own for each in subject.recordings]
    windows = sum(each.verdicts["ok"] for each in recordings)
    judged = sum(each.verdicts.total() - each.verdicts["warming_up"] for each in recordings)
    return {
        "name": name,
        "subjects": len(own),
        "subjects_left_out": sum(each == name for each in labels.of.values()) - len(own),
        "recordings": len(recordings),
        "recordings_left_out": sum(each.broken and each.label == name for each in left_out),
        "windows": windows,
        "share_valid": windows / judged,
    }


def _scores(scores: SubjectScores) -> dict[str, Any]:
    return {
        "balanced_accuracy": scores.balanced_accuracy,
        "accuracy": scores.accuracy,
        "auc": scores.auc,
        "p": scores.p,
        "confusion": scores.confusion.sum(axis=0).tolist(),
        "confusion_by_fold": scores.confusion.tolist(),
        "penalties": list(scores.told.penalties),
    }


def _right_by(found: Classified) -> dict[str, int]:
    """Return how many subjects are told by one of the two, by both and by neither."""
    fmri, eeg = (found.scores[name].told.chosen == found.codes for name in WORDS)
    return {
        "both": int(np.sum(fmri & eeg)),
        "predicted_fmri_alone": int(np.sum(fmri & ~eeg)),
        "eeg_alone": int(np.sum(eeg & ~fmri)),
        "neither": int(np.sum(~fmri & ~eeg)),
    }


def _subject(found: Classified, i: int) -> dict[str, Any]:
    subject = found.subjects[i]
    return {
        "name": subject.name,
        "label": subject.label,
        "fold": int(found.nested.folds[i]),
        "told": {
            name: found.classes[int(each.told.chosen[i])] for name, each in found.scores.items()
        },
        "probabilities": {
            name: each.told.probabilities[i].tolist() for name, each in found.scores.items()
        },
        "recordings": [
            {"name": each.name, "seconds": each.seconds, "windows": dict(each.verdicts)}
            for each in subject.recordings
        ],
    }


def print_classification(report: dict[str, Any]) -> None:
    """Print what `classify` returns."""
    keys = ("balanced_accuracy", "auc", "accuracy", "p")
    rows: list[list[str | float | None]] = [
        [words, *(report[name][key] for key in keys)] for name, words in WORDS.items()
    ]
    majority = report["majority"]
    rows.append([f"always '{majority['told']}'", *(majority.get(key) for key in keys)])
    title = (
        f"{len(report['subjects'])} subjects, {report['n_folds']} folds by subject,"
        f" {report['n_permutations']} permutations of labels"
    )
    table(rows, ["told from", "balanced accuracy", "AUC", "accuracy", "p"], title)
    table(
        [
            [name, *row]
            for name, row in zip(
                report["classes"], report["predicted_fmri"]["confusion"], strict=True
            )
        ],
        ["is", *(f"told '{name}'" for name in report["classes"])],
        "Subjects told from predicted fMRI",
    )
    print(report["note"])  # noqa: T201
