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
from offline.training.hrf_basis import hrf_basis
from offline.training.rows import Rows
from rtfeedback.checkpoint import load_checkpoint
from rtfeedback.errors import DatasetError
from rtfeedback.models import Ridge, RidgeConfig, Shape
from rtfeedback.models.layers.scaler import FeatureScaler
from rtfeedback.signals import Float64
from rtfeedback.windows import WindowSpec

TRAINING = ("sub-01_task-motorimagery_run-01", "sub-01_task-motorimagery_run-02")
WINDOW = WindowSpec(length=10.0)


def linear(store: Store, **config: Any) -> tuple[Ridge, RidgeConfig, Examples, Float64]:
    """Return an untrained model with a config, its windows and their targets."""
    chosen = RidgeConfig.model_validate(config)
    examples = Examples(store, TRAINING, "tokens", WindowSpec(length=chosen.length))
    chain = store.chain("tokens")
    shape = Shape(
        n_features=chain.n_features,
        n_times=examples.n_times,
        n_targets=2,
        rate=examples.rate,
        hold=chain.hold,
        n_bands=8,
    )
    z = (examples.targets - examples.targets.mean(axis=0)) / examples.targets.std(axis=0)
    return Ridge(shape), chosen, examples, z


def weights(model: Ridge) -> Float64:
    """Return the weights, shape (n_targets, n_channels, n_bands, n_times)."""
    return model.linear.weight.detach().double().numpy().reshape(2, 16, 8, -1)


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


@pytest.mark.parametrize("basis", ["lags", "hrf"])
def test_windows_a_few_at_a_time_are_the_same_as_all_at_once(store: Store, basis: str) -> None:
    model, config, examples, _ = linear(store, basis=basis, length=12.0)
    whole = Rows(model, config, examples)
    few = Rows(model, config, examples, block=8 * 128 * 48 * 7)  # seven windows
    x = whole.rows(slice(0, len(examples)))
    assert np.allclose(few.kernel(), x @ x.T, rtol=1e-12)
    assert np.allclose(whole.kernel(), x @ x.T, rtol=1e-12)
    dual = np.random.default_rng(0).normal(0, 1, (len(examples), 2))
    assert np.allclose(few.weighted(dual), dual.T @ x, rtol=1e-9, atol=1e-9)
    order = np.arange(few.size)[::-1]
    assert np.array_equal(few.held(order), x[:, order].astype(np.float32))


@pytest.mark.parametrize("penalty", ["ridge", "group-lasso"])
def test_weights_of_an_hrf_basis_are_folded_into_those_of_lags(
    store: Store, penalty: str
) -> None:
    model, config, examples, z = linear(
        store, basis="hrf", length=16.0, penalty=penalty, penalties=[10.0], path=[0.3]
    )
    fit_ridge(model, config, examples, z)
    basis = hrf_basis(64, 4.0, 0.0)
    assert basis.shape[1] == 3
    found = weights(model)
    # All weights over the lags lie in what the three responses span.
    by_response = found @ np.linalg.pinv(basis).T
    assert np.allclose(by_response @ basis.T, found, rtol=0, atol=1e-6 * np.abs(found).max())
    assert np.abs(found).max() > 0
    # And do to windows what the responses' weights do to convolved features.
    windows = examples.gather(np.arange(6))
    with torch.no_grad():
        predicted = model(torch.from_numpy(windows)).numpy()
    x = model.scaler(torch.from_numpy(windows)).double().numpy() @ basis
    expected = x.reshape(6, -1) @ by_response.reshape(2, -1).T + z.mean(axis=0)
    assert np.allclose(predicted, expected, atol=1e-5)


def test_an_hrf_basis_under_ridge_is_the_closed_form_of_convolved_features(
    store: Store,
) -> None:
    model, config, examples, z = linear(store, basis="hrf", length=16.0, penalties=[30.0])
    notes = fit_ridge(model, config, examples, z)
    rows = Rows(model, config, examples).rows(slice(0, len(examples)))
    reference = SklearnRidge(alpha=30.0, fit_intercept=False).fit(rows, z - z.mean(axis=0))
    expected = reference.coef_.reshape(2, 16, 8, 3) @ hrf_basis(64, 4.0, 0.0).T
    assert np.allclose(weights(model), expected, rtol=0, atol=1e-6)
    assert notes["penalty"] == 30.0


@pytest.mark.parametrize(("group", "axis"), [("channel", 1), ("band", 2)])
@pytest.mark.parametrize("basis", ["lags", "hrf"])
def test_group_lasso_takes_or_leaves_channels_or_bands_whole(
    store: Store, group: str, axis: int, basis: str
) -> None:
    model, config, examples, z = linear(
        store, penalty="group-lasso", group=group, basis=basis, length=12.0, path=[0.7, 0.4]
    )
    notes = fit_ridge(model, config, examples, z)
    found = np.moveaxis(weights(model), axis, 1).reshape(2, (16, 8)[axis - 1], -1)
    used = (found != 0).any(axis=2)
    assert np.array_equal(used, (found != 0).mean(axis=2) > 0.9)
    assert 0 < notes[f"{group}s"] == used.any(axis=0).sum() < used.shape[1]  # type: ignore[operator]
    assert notes["penalty"] in config.path


def test_group_lassos_penalty_has_the_least_error_over_held_out_training_runs(
    store: Store,
) -> None:
    config = {"penalty": "group-lasso", "basis": "hrf", "length": 12.0}
    model, chosen, examples, z = linear(store, **config, path=[0.9, 0.3, 0.05])
    notes = fit_ridge(model, chosen, examples, z)
    alone = {}
    for share in chosen.path:
        model, each, examples, z = linear(store, **config, path=[share])
        alone[share] = fit_ridge(model, each, examples, z)["held_out_mse"]
    assert notes["penalty"] == min(alone, key=alone.__getitem__)
    assert notes["held_out_mse"] == pytest.approx(min(alone.values()), rel=0.01)


def test_the_same_windows_give_the_same_weights(store: Store) -> None:
    found = []
    for _ in range(2):
        model, config, examples, z = linear(
            store, penalty="group-lasso", basis="hrf", length=12.0, path=[0.3]
        )
        fit_ridge(model, config, examples, z)
        found.append(weights(model))
    assert np.array_equal(found[0], found[1])


def test_more_windows_than_group_lasso_can_hold_are_refused(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("offline.training.fit_group_lasso.LARGEST", 1000)
    model, config, examples, z = linear(store, penalty="group-lasso")
    with pytest.raises(DatasetError, match=r"more windows than group lasso.*basis = 'hrf'"):
        fit_ridge(model, config, examples, z)
