from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.linear_model import Ridge as SklearnRidge

from offline.splits.blocks import BESIDE
from offline.store.dataset import Store
from offline.store.examples import Examples
from offline.train import TrainConfig, train
from offline.training.fit_ridge import fit_ridge
from rtfeedback.checkpoint import load_checkpoint
from rtfeedback.errors import DatasetError
from rtfeedback.models import Ridge, RidgeConfig, Shape
from rtfeedback.models.scaler import FeatureScaler
from rtfeedback.signals import Float64
from rtfeedback.windows import WindowSpec

TRAINING = ("sub-01_task-motorimagery_run-01", "sub-01_task-motorimagery_run-02")
WINDOW = WindowSpec(length=10.0)


def scaled(examples: Examples, ridge: Path) -> Float64:
    """Return the windows as the model sees them: z, and 0 where an artefact is."""
    mean, sd = examples.statistics()
    windows = examples.gather(np.arange(len(examples)))
    scaler = load_checkpoint(ridge).model.get_submodule("scaler")
    assert isinstance(scaler, FeatureScaler)
    left_out = scaler.left_out(torch.from_numpy(windows)).numpy()
    assert 0 < left_out.mean() < 0.5
    x = np.where(left_out, 0.0, (windows - mean[:, None]) / sd[:, None])
    return np.asarray(x.reshape(len(windows), -1), dtype=np.float64)


def test_ridge_is_the_closed_form_that_sklearn_finds(store: Store, ridge: Path) -> None:
    spec = load_checkpoint(ridge).spec
    examples = Examples(store, TRAINING, "tokens", spec.window)
    x = scaled(examples, ridge)
    z = examples.z(spec.targets)
    reference = SklearnRidge(alpha=spec.training.notes["penalty"], fit_intercept=False)
    reference.fit(x, z - z.mean(axis=0))
    model = load_checkpoint(ridge).model.state_dict()
    assert np.allclose(model["linear.weight"], reference.coef_, rtol=0, atol=1e-6)
    assert np.allclose(model["linear.bias"], z.mean(axis=0), rtol=0, atol=1e-6)
    assert np.abs(reference.coef_).max() > 1e-3


def test_the_penalty_has_the_least_error_over_held_out_training_runs(
    store: Store, ridge: Path
) -> None:
    spec = load_checkpoint(ridge).spec
    examples = Examples(store, TRAINING, "tokens", spec.window)
    x, z = scaled(examples, ridge), examples.z(spec.targets)
    errors = []
    for penalty in RidgeConfig().penalties:
        error = 0.0
        for run in (0, 1):
            kept = examples.run != run
            fitted = SklearnRidge(alpha=penalty, fit_intercept=False)
            fitted.fit(x[kept], z[kept] - z[kept].mean(axis=0))
            predicted = fitted.predict(x[~kept]) + z[kept].mean(axis=0)
            error += float(np.sum((z[~kept] - predicted) ** 2))
        errors.append(error / z.size)
    assert spec.training.notes["penalty"] == RidgeConfig().penalties[int(np.argmin(errors))]
    assert spec.training.notes["held_out_mse"] == pytest.approx(min(errors), rel=1e-6)


def test_blocks_of_a_lone_run_are_held_out_with_a_gap(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    examples = Examples(store, TRAINING[:1], "tokens", WINDOW)
    sizes = []

    def solve(kernel: Any, y: Any, penalty: float) -> Any:
        sizes.append(len(kernel))
        return np.zeros_like(y)

    monkeypatch.setattr("offline.training.fit_ridge._solve", solve)
    model = Ridge(Shape(n_features=16 * 8, n_times=40, n_targets=1, rate=4.0))
    fit_ridge(model, RidgeConfig(penalties=(1.0,)), examples, examples.targets[:, :1])
    blocks = np.array_split(examples.times, 5)
    gap = WINDOW.length + BESIDE
    folds = np.arange(len(examples)) * 5 // len(examples)
    for fold, size in zip(range(5), sizes, strict=False):
        held = examples.times[folds == fold]
        near = (examples.times > held[0] - gap) & (examples.times < held[-1] + gap)
        assert size == np.sum(~near)
    assert len(blocks) == len(sizes) - 1  # and once more for all of them


def test_a_lone_run_too_short_to_choose_by_is_refused(store: Store, tmp_path: Path) -> None:
    config = TrainConfig.model_validate(
        {"model": {"name": "ridge", "length": 30.0}, "split": {"test": 2, "validation": 1}}
    )
    with pytest.raises(DatasetError, match=r"too little to train on.*Train on two runs"):
        train(store, tmp_path / "a", config)
    assert list(tmp_path.iterdir()) == []
