"""The table of the models: what was trained is judged by its validation runs alone."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from bench import models, zoo
from bench.models import HEADER, Trained, loss_name, on_validation, quick, table, trained
from offline.store.dataset import READS, Store
from offline.train import TrainConfig
from offline.training.fitting import mean_r
from rtfeedback.checkpoint import load_checkpoint

TCN = TrainConfig.model_validate(
    {"model": {"name": "tcn", "length": 4.0, "width": 8, "blocks": 3}, "fit": {"epochs": 2}}
)


@pytest.fixture(scope="module")
def tcn(prepared: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Trained, Path]:
    """Return a small TCN, trained for the table, and its checkpoint."""
    out = tmp_path_factory.mktemp("models") / "tcn"
    return trained(Store(prepared), out, "tcn", TCN), out


def test_the_zoos_shapes_are_those_of_a_simulated_store(store: Store) -> None:
    for name, (rate, hold, n_bands) in zoo.CHAINS.items():
        chain = store.chain(name)
        assert (chain.rate, chain.hold) == (rate, hold)
        assert chain.n_features == n_bands * len(chain.channels)


def test_what_was_trained_has_the_shape_that_the_zoo_takes_it_to_have(
    store: Store, tcn: tuple[Trained, Path]
) -> None:
    n_targets = len(store.manifest.targets)
    expected = zoo.shape_of(TCN.model, len(store.chain("tokens").channels))
    assert tcn[0].shape.n_targets == n_targets
    assert (tcn[0].shape.n_features, tcn[0].shape.n_times) == (
        expected.n_features,
        expected.n_times,
    )


def test_r_is_of_the_validation_runs(store: Store, tcn: tuple[Trained, Path]) -> None:
    checkpoint = load_checkpoint(tcn[1])
    predicted, measured = on_validation(store, TCN, checkpoint.spec, checkpoint.model.eval())
    notes = checkpoint.spec.training.notes
    r = mean_r(predicted.astype(np.float32), measured.astype(np.float32))
    assert r == pytest.approx(notes["validation_r"], abs=1e-4)
    assert tcn[0].loss == notes["loss"]
    assert tcn[0].r == pytest.approx(np.corrcoef(predicted[:, 0], measured[:, 0])[0, 1])


def test_the_table_has_a_row_for_what_was_trained_and_the_test_part_is_not_read(
    store_copy: Store, tmp_path: Path, tcn: tuple[Trained, Path]
) -> None:
    (store_copy.path / READS).unlink(missing_ok=True)
    ridge = trained(store_copy, tmp_path / "ridge", "ridge", zoo.recipes()["ridge"])
    assert not (store_copy.path / READS).exists()
    lines = table([tcn[0], ridge], rounds=1).splitlines()
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    assert rows[0] == list(HEADER)
    assert [row[0] for row in rows[2:]] == ["`tcn`", "`ridge`"]
    assert rows[3][HEADER.index("training windows/s")] == "closed form"
    assert rows[3][HEADER.index("best epoch")] == "-"
    assert rows[3][HEADER.index("validation r")] == f"{ridge.r:.2f}"
    assert ridge.r > 0.2  # the simulation's own region, which is easy


def test_a_loss_is_called_what_it_is() -> None:
    every = zoo.recipes()
    assert loss_name(every["calhas"]) == "mae"
    assert loss_name(every["eegnet"]) == "mse"
    assert loss_name(every["eegnet-levels"]) == "cross-entropy"


def test_quick_stops_after_an_epoch_and_changes_nothing_else() -> None:
    recipe = zoo.recipes()["fc"]
    short = quick(recipe)
    assert short.fit.epochs == 1
    assert short.model_copy(update={"fit": recipe.fit}) == recipe


def test_the_quick_dataset_holds_the_volumes_that_components_take() -> None:
    recipe = zoo.recipes()["volume-lowrank"].model
    settled = models.QUICK.volumes - recipe.length / models.QUICK.tr
    assert settled * (models.QUICK.runs - 2) > recipe.components  # type: ignore[union-attr]
