"""Subjects classified twice, in the same folds: by predicted fMRI, and by the EEG itself."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from offline.classification.folds import subject_folds
from offline.classification.nested import Nested
from offline.classification.options import ClassifyOptions
from offline.classification.scores import SubjectScores, subject_scores
from offline.classification.subjects import Subject, rows_of
from rtfeedback.signals import Int64

WORDS = {"predicted_fmri": "predicted fMRI", "eeg": "the EEG itself"}


@dataclass(frozen=True, slots=True)
class Classified:
    """Subjects, and how well their classes were told.

    Attributes
    ----------
    subjects : sequence of Subject
    classes : tuple of str
    codes : int64, shape (n_subjects,)
        Each subject's class, from 0 on.
    nested : Nested
        Of what was predicted.
    scores : dict of str to SubjectScores
        By the names of `WORDS`, in the same folds and permutations.
    """

    subjects: Sequence[Subject]
    classes: tuple[str, ...]
    codes: Int64
    nested: Nested
    scores: dict[str, SubjectScores]

    @classmethod
    def of(cls, subjects: Sequence[Subject], options: ClassifyOptions) -> Classified:
        """Classify subjects by what is predicted, and by their EEG's own features.

        Raises
        ------
        DatasetError
            If there are too few of a class.
        """
        given = [subject.label for subject in subjects]
        classes, codes = np.unique(given, return_inverse=True)
        folds = subject_folds(given, options.seed)
        nested = Nested(rows_of(subjects, "predicted"), folds)
        beside = Nested(rows_of(subjects, "eeg"), folds)
        scores = {
            name: subject_scores(
                each, codes, options.permutations, options.seed, f"Permutations: {WORDS[name]}"
            )
            for name, each in (("predicted_fmri", nested), ("eeg", beside))
        }
        return cls(subjects, tuple(map(str, classes)), codes, nested, scores)
