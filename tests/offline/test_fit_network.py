from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors import SafetensorError
from safetensors.torch import save_file
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from offline.store.dataset import Store
from offline.train import TrainConfig, train
from offline.training import training_state
from offline.training.fitting import Fitting
from rtfeedback.checkpoint import Checkpoint, load_checkpoint
from rtfeedback.errors import CheckpointError, ConfigError, OutputError
from rtfeedback.predictor import Predictor
from tests.offline.killed import Killed, kill_after


def eegnet(**fit: Any) -> TrainConfig:
    """Return a recipe of a network that is quickly trained."""
    return TrainConfig.model_validate(
        {
            "model": {"name": "eegnet", "length": 4.0, "f1": 2, "f2": 4},
            "fit": {"epochs": 2, "batch": 16, **fit},
        }
    )


def tcn(**fit: Any) -> TrainConfig:
    """Return a recipe of a network on tokens that is quickly trained."""
    return TrainConfig.model_validate(
        {
            "model": {"name": "tcn", "length": 4.0, "blocks": 2, "width": 4},
            "fit": {"epochs": 2, "batch": 16, **fit},
        }
    )


def trained(store: Store, out: Path, config: TrainConfig) -> Checkpoint:
    train(store, out, config)
    return load_checkpoint(out)


def weights(checkpoint: Checkpoint) -> dict[str, torch.Tensor]:
    return checkpoint.model.state_dict()


def test_the_same_seed_gives_the_same_network(store: Store, tmp_path: Path) -> None:
    a = trained(store, tmp_path / "a", eegnet())
    b = trained(store, tmp_path / "b", eegnet())
    assert a.hash == b.hash
    c = trained(store, tmp_path / "c", eegnet().model_copy(update={"seed": 1}))
    assert not torch.equal(weights(a)["spatial.weight"], weights(c)["spatial.weight"])
    assert a.spec.training.notes["epochs"] in (1, 2)


def test_a_network_on_tokens_is_trained_and_reads_them(store: Store, tmp_path: Path) -> None:
    a = trained(store, tmp_path / "a", tcn())
    assert trained(store, tmp_path / "b", tcn()).hash == a.hash
    assert a.spec.chain.config.band_power is not None
    with torch.no_grad():
        z = a.model(torch.randn(2, a.spec.chain.n_features, 16))
    assert z.shape == (2, 2)
    assert not torch.equal(z[0], z[1])
    scaler = weights(a)["scaler.mean"]
    assert -14 < scaler.min() < scaler.max() < -9  # log10 of some uV**2


@pytest.mark.parametrize(("recipe", "turned"), [(tcn, False), (eegnet, True)])
def test_samples_are_turned_in_training_and_tokens_never(
    store: Store, tmp_path: Path, recipe: Callable[..., TrainConfig], turned: bool
) -> None:
    a = weights(trained(store, tmp_path / "a", recipe(flip=True)))
    b = weights(trained(store, tmp_path / "b", recipe(flip=False)))
    assert all(torch.equal(a[name], b[name]) for name in a) is not turned


def test_the_networks_spatial_filters_keep_their_norm(store: Store, tmp_path: Path) -> None:
    network = weights(trained(store, tmp_path / "a", eegnet(learning_rate=0.05)))
    assert network["spatial.weight"].norm(dim=1).max() <= 1.0 + 1e-5


def test_the_weights_kept_are_those_of_the_best_epoch(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    losses = iter([0.9, 0.5, 0.7, 0.6])
    kept: list[dict[str, torch.Tensor]] = []

    def validate(fitting: Fitting) -> tuple[float, float]:
        state = fitting.model.state_dict()
        kept.append({name: each.clone() for name, each in state.items()})
        return next(losses), 0.0

    monkeypatch.setattr(Fitting, "_validate", validate)
    best = trained(store, tmp_path / "a", eegnet(epochs=4, patience=2))
    assert best.spec.training.notes["epochs"] == 2
    assert all(torch.equal(weights(best)[name], kept[1][name]) for name in kept[1])


def test_patience_ends_a_training_that_no_longer_improves(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    losses = iter([0.5, 0.6, 0.7])  # a fourth would raise
    monkeypatch.setattr(Fitting, "_validate", lambda _: (next(losses), 0.0))
    spec = train(store, tmp_path / "a", eegnet(epochs=9, patience=2))
    assert (spec.training.notes["epochs"], spec.training.notes["loss"]) == (1, 0.5)


@pytest.mark.parametrize("validation", [0, 1])
def test_a_training_that_diverges_is_refused(
    store: Store, tmp_path: Path, validation: int
) -> None:
    values = eegnet(learning_rate=1e30).model_dump()
    config = TrainConfig.model_validate({**values, "split": {"validation": validation}})
    with pytest.raises((ConfigError, CheckpointError), match=r"diverged.*learning_rate"):
        train(store, tmp_path / "a", config)
    assert not [*tmp_path.iterdir()]


@pytest.mark.parametrize("after", [1, 3])
@pytest.mark.parametrize("recipe", [tcn, eegnet])
def test_a_training_that_was_killed_goes_on_to_the_same_weights(
    store: Store,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    recipe: Callable[..., TrainConfig],
    after: int,
) -> None:
    config = recipe(epochs=4, augment={"noise": 0.1, "channel_dropout": 0.1})
    whole = trained(store, tmp_path / "whole", config)
    epochs = kill_after(monkeypatch, after)
    with pytest.raises(Killed):
        train(store, tmp_path / "out", config)
    assert not (tmp_path / "out").exists()
    again = trained(store, tmp_path / "out", config)
    assert epochs == [1, 2, 3, 4]
    assert again.hash == whole.hash
    left = {path.name for path in tmp_path.iterdir()}
    assert left == {"whole", "out", "logs"}


def test_what_was_kept_and_is_torn_is_said_and_then_begun_anew(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kill_after(monkeypatch, 1)
    with pytest.raises(Killed):
        train(store, tmp_path / "out", tcn())
    (kept,) = tmp_path.glob(".out.unfinished/parts/*.safetensors")
    kept.write_bytes(kept.read_bytes()[:2000])
    with pytest.raises(OutputError, match=r"cannot be read.*give the same command again"):
        train(store, tmp_path / "out", tcn())
    plain = trained(store, tmp_path / "plain", tcn())
    assert trained(store, tmp_path / "out", tcn()).hash == plain.hash


def test_a_full_disk_is_said_and_the_training_goes_on_once_there_is_room(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, kept = trained(store, tmp_path / "whole", tcn()), []

    def full_after_one(tensors: object, path: Path, metadata: object) -> None:
        kept.append(path)
        if len(kept) == 2:
            path.write_bytes(b"torn")
            raise SafetensorError("I/O error: No space left on device (os error 28)")
        save_file(tensors, path, metadata=metadata)  # type: ignore[arg-type]

    monkeypatch.setattr(training_state, "save_file", full_after_one)
    with pytest.raises(OutputError, match=r"no room left.*No space left.*goes on"):
        train(store, tmp_path / "out", tcn())
    assert trained(store, tmp_path / "out", tcn()).hash == whole.hash
    assert len(kept) == 3  # of two epochs: the second one once more


def test_what_was_kept_of_another_training_is_let_go(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kill_after(monkeypatch, 1)
    with pytest.raises(Killed):
        train(store, tmp_path / "out", tcn(learning_rate=0.1))
    plain = trained(store, tmp_path / "plain", tcn())
    assert trained(store, tmp_path / "out", tcn()).hash == plain.hash


def test_tensorboard_reads_what_each_epoch_reached(store: Store, tmp_path: Path) -> None:
    spec = train(store, tmp_path / "a", tcn(epochs=3, patience=9))
    reader = EventAccumulator(str(tmp_path / "logs" / "a")).Reload()
    tags = {"loss/training", "loss/validation", "r/validation", "learning rate"}
    assert set(reader.Tags()["scalars"]) == tags
    told = [event.value for event in reader.Scalars("loss/validation")]
    assert [event.step for event in reader.Scalars("loss/validation")] == [1, 2, 3]
    assert min(told) == pytest.approx(spec.training.notes["loss"])


@pytest.mark.parametrize("loss", ["mse", "mae", "correlation", "nll"])
@pytest.mark.parametrize("optimiser", ["adam", "adamw"])
def test_every_loss_trains_and_a_variance_goes_with_its_own(
    store: Store, tmp_path: Path, loss: str, optimiser: str
) -> None:
    recipe = tcn(loss=loss, optimiser=optimiser).model_dump()
    recipe["model"]["variance"] = loss == "nll"
    train(store, tmp_path / "a", TrainConfig.model_validate(recipe))
    predictor = Predictor.load(tmp_path / "a", "cpu")
    found = predictor(np.random.default_rng(0).normal(-11, 0.5, predictor.shape).astype("f4"))
    assert list(found) == ["motor", "spheres"]
    for roi, target in zip(found.values(), predictor.spec.targets, strict=True):
        assert (roi.sd is not None) is (loss == "nll")
        assert roi.z is not None
        assert roi.raw == pytest.approx(roi.z * target.sd + target.mean)


@pytest.mark.parametrize(("variance", "loss"), [(True, "mse"), (False, "nll")])
def test_a_variance_without_its_loss_is_refused(
    store: Store, tmp_path: Path, variance: bool, loss: str
) -> None:
    recipe = tcn(loss=loss).model_dump()
    recipe["model"]["variance"] = variance
    with pytest.raises(ConfigError, match=r"does not go with the model.+variance"):
        train(store, tmp_path / "a", TrainConfig.model_validate(recipe))


def test_bfloat16_trains_to_other_weights_that_are_float32(
    store: Store, tmp_path: Path
) -> None:
    half = trained(store, tmp_path / "half", eegnet(precision="bfloat16"))
    full = trained(store, tmp_path / "full", eegnet())
    assert half.hash != full.hash
    assert {each.dtype for each in half.model.parameters()} == {torch.float32}


def test_windows_read_from_files_train_to_the_same_bits(store: Store, tmp_path: Path) -> None:
    for recipe in (eegnet, tcn):
        here = trained(store, tmp_path / f"{recipe.__name__}-memory", recipe())
        read = trained(store, tmp_path / f"{recipe.__name__}-maps", recipe(memory=0.0))
        assert here.hash == read.hash


@pytest.mark.parametrize("recipe", [tcn, eegnet])
def test_augmented_windows_train_another_network_and_the_same_again(
    store: Store, tmp_path: Path, recipe: Callable[..., TrainConfig]
) -> None:
    values = {"shift": 0.5, "noise": 0.1, "scale": 0.1, "channel_dropout": 0.2}
    a = trained(store, tmp_path / "a", recipe(augment=values))
    b = trained(store, tmp_path / "b", recipe(augment=values))
    plain = weights(trained(store, tmp_path / "plain", recipe()))
    assert a.hash == b.hash
    assert not all(torch.equal(weights(a)[name], plain[name]) for name in plain)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_a_device_that_is_not_there_is_refused(store: Store, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no CUDA device to train on"):
        train(store, tmp_path / "a", eegnet(device="cuda"))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device")
@pytest.mark.parametrize("memory", [0.0, 1.0])
def test_a_network_that_a_gpu_trained_runs_on_a_cpu(
    store: Store, tmp_path: Path, memory: float
) -> None:
    there = trained(store, tmp_path / "a", eegnet(device="cuda", memory=memory))
    here = weights(trained(store, tmp_path / "b", eegnet()))
    assert all(not each.is_cuda for each in weights(there).values())
    assert there.spec.training.notes["loss"] == pytest.approx(
        load_checkpoint(tmp_path / "b").spec.training.notes["loss"], rel=0.2
    )
    assert set(weights(there)) == set(here)
