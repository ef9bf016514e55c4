"""How recordings are predicted, and subjects classified."""

from __future__ import annotations

from dataclasses import dataclass

PERMUTATIONS = 199


@dataclass(frozen=True, slots=True)
class ClassifyOptions:
    """How recordings are predicted, and subjects classified.

    Attributes
    ----------
    task : str, optional
        Only recordings of this one.
    hop : float, optional
        Seconds between windows that are predicted besides those of each TR.
    calibrate : float, optional
        Seconds at the beginning of each recording that its scaler and artefact limits are
        fitted to, as by `rtfeedback calibrate --eeg`; the checkpoint's own without.
    include_trained : bool
        Whether to keep subjects whose names are among the model's training.
    permutations, seed : int
    """

    task: str | None = None
    hop: float | None = None
    calibrate: float | None = None
    include_trained: bool = False
    permutations: int = PERMUTATIONS
    seed: int = 0
