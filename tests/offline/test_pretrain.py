from __future__ import annotations

import hashlib
import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tomli_w
import torch
from safetensors.torch import load
from torch import Tensor

from offline.splits.parts import Split
from offline.splits.split import SplitConfig
from offline.store.dataset import Run, Store
from offline.store.examples import feature_statistics
from offline.train import TrainConfig, train
from offline.training.fit_masked import Stretches, fit_masked
from offline.training.fitting import Fitting
from offline.training.learning_rate import learning_rate
from offline.training.masked_patches import MaskConfig, MaskedPatches
from offline.training.pretrain import (
    PretrainConfig,
    chain_of,
    pretrain_recordings,
    pretrain_store,
)
from offline.training.pretrained import (
    WEIGHTS_FILE,
    load_pretrained,
    notes_of_pretrained,
    transformer_of,
)
from offline.training.split_examples import split_store
from rtfeedback.chain import ChainConfig
from rtfeedback.chain.spec import BandPowerConfig
from rtfeedback.errors import CheckpointError, ConfigError, DatasetError, OutputError
from rtfeedback.models import Shape, VolumeLowRankConfig
from rtfeedback.models.patch_transformer import PatchTransformer, PatchTransformerConfig
from rtfeedback.models.volume import VolumeSpec
from rtfeedback.signals import Float32
from tests.offline.killed import Killed, kill_after

Command = Callable[..., tuple[int, str, list[str]]]

MODEL = {"chain": "tokens", "width": 8, "layers": 2, "heads": 2, "hidden": 16, "span": 4}
FIT = {"epochs": 2, "windows": 16, "batch": 8, "length": 8.0}


def recipe(*, model: dict[str, Any] | None = None, **sections: Any) -> PretrainConfig:
    """Return a recipe of what is quickly pretrained."""
    fit = {**FIT, **sections.pop("fit", {})}
    return PretrainConfig.model_validate(
        {"model": {**MODEL, **(model or {})}, "fit": fit, **sections}
    )


def network(*, n_features: int = 3, rate: float = 8.0, **mask: Any) -> MaskedPatches:
    """Return one whose patches have 2 samples and which sees 7 of them."""
    torch.manual_seed(0)
    model = PatchTransformerConfig.model_validate(MODEL).build(Shape(n_features, 100, 1, rate))
    return MaskedPatches(model, MaskConfig(**mask)).eval()


def told(network: MaskedPatches, x: Tensor, hidden: Tensor) -> Tensor:
    """Return what is told of patches, (n, n_told, n_features * stride)."""
    found: list[Tensor] = []
    hook = network.decoder.register_forward_hook(lambda _, __, out: found.append(out))
    network(x, hidden)
    hook.remove()
    return found[0]


def waves(n_times: int = 4000, n_features: int = 3, seed: int = 0) -> Float32:
    """Return features that repeat: what is hidden follows from what is not."""
    time = np.arange(n_times)[:, None] / 8.0
    phase = np.random.default_rng(seed).uniform(0, 6, n_features)
    return (1e-5 * np.sin(2 * np.pi * 0.7 * time + phase)).astype(np.float32)


def test_what_is_hidden_is_not_seen() -> None:
    net, x = network(), torch.randn(2, 3, 40)
    hidden = torch.zeros(2, 20, dtype=torch.bool)
    hidden[:, 8:12] = True
    other = x.clone()
    other[..., 16:24] += 5.0
    assert torch.equal(told(net, x, hidden), told(net, other, hidden))
    assert net(x, hidden) != net(other, hidden)
    other[..., 24] += 5.0
    assert not torch.equal(told(net, x, hidden), told(net, other, hidden))


@pytest.mark.parametrize("ahead", [0, 3])
def test_a_patch_is_told_from_those_after_it_and_the_rest_of_the_reach(ahead: int) -> None:
    net = network(ahead=ahead)
    x = torch.randn(1, 3, 40, requires_grad=True)
    none = torch.zeros(1, 20, dtype=torch.bool)
    told(net, x, none)[0, 4].sum().backward()  # type: ignore[no-untyped-call]
    assert x.grad is not None
    seen = x.grad[0].abs().sum(dim=0).reshape(20, 2).sum(dim=1) > 0
    patch = 7 - 1 - ahead + 4
    newest = patch + ahead
    assert seen.nonzero()[:, 0].tolist() == list(range(newest - 6, newest + 1))


def test_the_error_is_over_what_is_hidden_and_no_artefact() -> None:
    net, x = network(ahead=2), torch.randn(2, 3, 40)
    hidden = torch.zeros(2, 20, dtype=torch.bool)
    hidden[0, 6], hidden[1, 10], hidden[1, 1] = True, True, True  # the last is not told
    x[1, 2, 20] = torch.nan
    out = told(net, x, hidden).detach().reshape(2, 14, 3, 2)
    first = (out[0, 6 - 4] - x[0, :, 12:14]).square()
    second = (out[1, 10 - 4] - x[1, :, 20:22]).square()
    expected = (first.sum() + second.nansum()) / 11
    assert torch.allclose(net(x, hidden), expected)


def test_patches_are_hidden_in_blocks_and_in_their_share() -> None:
    net, rng = network(ratio=0.4, block=5), np.random.default_rng(0)
    hidden = net.draw(rng, 500, 23)
    assert hidden.shape == (500, 23)
    assert 0.37 < hidden.mean() < 0.43
    changes = np.flatnonzero((hidden[:, 1:] != hidden[:, :-1]).any(axis=0))
    assert set(np.diff(changes)) == {5}
    firsts = {int(np.diff(net.draw(rng, 50, 23)).any(axis=0).argmax()) for _ in range(40)}
    assert firsts == {0, 1, 2, 3, 4}


def test_waves_are_learnt_and_the_head_has_no_part() -> None:
    config = recipe(
        model={"feature_dropout": 0.0, "dropout": 0.0, "width": 16},
        fit={"epochs": 6, "windows": 128, "batch": 16, "learning_rate": 2e-2},
    )
    torch.manual_seed(0)
    model = config.model.build(Shape(3, 100, 1, 8.0))
    head = model.head.weight.clone()
    stretches = Stretches(("a",), [waves()], [waves(400, seed=0)])
    notes = fit_masked(model, stretches, config.fit, config.mask, rate=8.0, seed=0)
    assert float(notes["loss"]) < 0.5  # to tell the mean each time would be 1
    assert torch.equal(model.head.weight, head)


def test_features_are_scaled_by_what_is_not_masked() -> None:
    rows = waves(50)
    rows[10:20, 1] = np.nan
    mean, sd = feature_statistics(lambda: [rows[:30], rows[30:]])
    np.testing.assert_allclose(mean, np.nanmean(rows.astype(np.float64), axis=0), rtol=1e-6)
    np.testing.assert_allclose(sd, np.nanstd(rows.astype(np.float64), axis=0), rtol=1e-5)


def built(store: Store, seed: int = 1, **model: Any) -> PatchTransformer:
    """Return an untrained model for the store's tokens."""
    torch.manual_seed(seed)
    chain = store.chain("tokens")
    config = PatchTransformerConfig.model_validate({**MODEL, **model})
    return config.build(Shape(chain.n_features, 60, 2, chain.rate, chain.hold))


def test_a_store_gives_weights_that_a_model_begins_with(store: Store, tmp_path: Path) -> None:
    spec = pretrain_store(store, tmp_path / "a", recipe())
    assert spec.recordings == tuple(run.name for run in store.manifest.runs[:2])
    pretrain_store(store, tmp_path / "b", recipe())
    pretrain_store(store, tmp_path / "c", recipe(seed=1))
    weights = [(tmp_path / each / "weights.safetensors").read_bytes() for each in "abc"]
    assert weights[0] == weights[1] != weights[2]
    assert not any(name.startswith("head.") for name in load(weights[0]))

    model, fresh = built(store, dropout=0.5), built(store)
    load_pretrained(tmp_path / "a", model, store.chain("tokens"))
    same = {
        name
        for name, each in model.state_dict().items()
        if torch.equal(each, fresh.state_dict()[name])
    }
    assert same == {"head.weight", "head.bias"}
    assert -14 < model.scaler.mean.min() < model.scaler.mean.max() < -9  # log10 of some uV**2


def test_the_test_part_is_not_read(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[str] = []
    features = Run.features

    def noted(run: Run, chain: str) -> Float32:
        read.append(run.name)
        return features(run, chain)

    monkeypatch.setattr(Run, "features", noted)
    pretrain_store(store, tmp_path / "a", recipe(fit={"epochs": 1}))
    assert read == [run.name for run in store.manifest.runs[:3]]


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"model": {"span": 5}}, r"span: 4, here 5.*pretrain again"),
        ({"channels": 15}, r"channels: \(.*here \("),
        ({"chain": {"reference": "recorded"}}, r"reference: average, here recorded"),
        ({"chain": {"band": (2.0, 40.0)}}, r"band: \(1.0, 40.0\), here \(2.0, 40.0\)"),
    ],
)
def test_weights_of_something_else_are_refused(
    store: Store, tmp_path: Path, change: dict[str, Any], match: str
) -> None:
    pretrain_store(store, tmp_path / "a", recipe(fit={"epochs": 1}))
    chain = store.chain("tokens")
    if "channels" in change:
        chain = chain.model_copy(update={"channels": chain.channels[:15]})
    config = chain.config.model_copy(update=change.get("chain", {}))
    chain = chain.model_copy(update={"config": config})
    with pytest.raises(CheckpointError, match=match):
        load_pretrained(tmp_path / "a", built(store, **change.get("model", {})), chain)


def test_weights_that_were_altered_are_refused(store: Store, tmp_path: Path) -> None:
    pretrain_store(store, tmp_path / "a", recipe(fit={"epochs": 1}))
    weights = tmp_path / "a" / "weights.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"\x01")
    with pytest.raises(CheckpointError, match="does not have the hash"):
        load_pretrained(tmp_path / "a", built(store), store.chain("tokens"))
    content = json.loads((tmp_path / "a" / "pretrained.json").read_text())
    (tmp_path / "a" / "pretrained.json").write_text(json.dumps({**content, "hours": "many"}))
    with pytest.raises(CheckpointError, match="'hours' is 'many'"):
        load_pretrained(tmp_path / "a", built(store), store.chain("tokens"))
    with pytest.raises(CheckpointError, match="holds no pretrained weights"):
        load_pretrained(tmp_path, built(store), store.chain("tokens"))


def test_a_folder_of_recordings_is_gone_through_the_chain(
    bids: Path, store: Store, tmp_path: Path
) -> None:
    folder = tmp_path / "eeg"
    shutil.copytree(next(bids.rglob("*run-01*.vhdr")).parent, folder / "sub-01")
    for other in [*folder.rglob("*run-03*"), *folder.rglob("*run-04*")]:
        other.unlink()
    spec = pretrain_recordings(folder, tmp_path / "a", recipe(), store.chain("tokens"))
    assert [Path(name).suffix for name in spec.recordings] == [".vhdr", ".vhdr"]
    rows = sum(len(run.features("tokens")) for run in list(store.runs.values())[:2])
    assert spec.hours == pytest.approx(0.8 * rows / 4.0 / 3600, rel=0.01)
    load_pretrained(tmp_path / "a", built(store), store.chain("tokens"))


def test_a_pretraining_that_was_killed_goes_on_to_the_same_weights(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = recipe(fit={"epochs": 3})
    whole = pretrain_store(store, tmp_path / "whole", config)
    epochs = kill_after(monkeypatch, 2)
    with pytest.raises(Killed):
        pretrain_store(store, tmp_path / "out", config)
    assert not (tmp_path / "out").exists()
    again = pretrain_store(store, tmp_path / "out", config)
    assert epochs == [1, 2, 3]
    assert again == whole
    first, second = ((tmp_path / name / WEIGHTS_FILE).read_bytes() for name in ("whole", "out"))
    assert first == second
    logs = {path.parent.name for path in (tmp_path / "logs").glob("*/events.*")}
    assert logs == {"whole", "out"}
    left = {path.name for path in tmp_path.iterdir()}
    assert left == {"whole", "out", "logs"}


def test_recordings_alone_give_a_chain(bids: Path) -> None:
    paths = sorted(bids.rglob("*.vhdr"))[:1]
    chain = chain_of(paths, ChainConfig(band_power=BandPowerConfig()))
    assert len(chain.channels) == 16
    assert chain.artefacts is not None
    assert chain.artefacts.fitted_on == (str(paths[0]),)


def test_what_cannot_be_pretrained_on_is_refused(store: Store, tmp_path: Path) -> None:
    out = tmp_path / "out"
    with pytest.raises(DatasetError, match="holds no EEG recording"):
        pretrain_recordings(tmp_path, out, recipe())
    with pytest.raises(ConfigError, match=r"which cuts them.*Hold out runs"):
        pretrain_store(store, out, recipe(split={"kind": "block"}))
    with pytest.raises(ConfigError, match=r"hold 6 patches.*sees 7.*Lengthen"):
        pretrain_store(store, out, recipe(fit={"length": 1.5}))
    with pytest.raises(DatasetError, match=r"No recording holds a whole window"):
        pretrain_store(store, out, recipe(fit={"length": 1000.0}))
    with pytest.raises(ConfigError, match=r"told 7 patches later.*sees 7 patches"):
        pretrain_store(store, out, recipe(mask={"ahead": 7}))
    with pytest.raises(ConfigError, match=r"training diverged.*learning_rate"):
        pretrain_store(store, out, recipe(fit={"learning_rate": 1e30}))
    assert not out.exists()


@pytest.mark.parametrize("place", ["taken", "taken/mine/out"])
def test_a_folder_that_cannot_be_is_refused_before_anything_is_read(
    store: Store, tmp_path: Path, place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "mine").touch()
    monkeypatch.setattr(f"{pretrain_store.__module__}.pretrain", lambda *_: pytest.fail("late"))
    refused = r"is there already|cannot be written"
    with pytest.raises(OutputError, match=refused):
        pretrain_store(store, tmp_path / place, recipe())
    with pytest.raises(OutputError, match=refused):
        pretrain_recordings(tmp_path, tmp_path / place, recipe())


# ------------------------------------------------------------------------- what trainings owe


def test_the_rate_rises_and_falls_as_every_trainings_does(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rates: list[float] = []
    step = torch.optim.AdamW.step

    def noted(optimiser: torch.optim.AdamW, *args: Any) -> Any:
        rates.append(optimiser.param_groups[0]["lr"])
        return step(optimiser, *args)

    monkeypatch.setattr(torch.optim.AdamW, "step", noted)
    fit = {"epochs": 2, "windows": 20, "batch": 8, "patience": 9, "learning_rate": 1e-3}
    pretrain_store(store, tmp_path / "a", recipe(fit=fit))
    expected = [learning_rate(i, 6, largest=1e-3, warm_up=0.1) for i in range(6)]
    assert rates == expected


def fine_tuned(**model: Any) -> TrainConfig:
    """Return a recipe that begins with what `recipe` pretrains."""
    return TrainConfig.model_validate(
        {
            "model": {"name": "patch-transformer", **MODEL, "length": 8.0, **model},
            "fit": {"epochs": 1},
        }
    )


def test_a_training_begins_with_pretrained_weights_and_notes_their_hash(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = pretrain_store(store, tmp_path / "a", recipe(fit={"epochs": 1}))
    weights = (tmp_path / "a" / "weights.safetensors").read_bytes()
    begun: list[dict[str, Tensor]] = []
    one_epoch = Fitting.one_epoch

    def noted(fitting: Fitting) -> Any:
        begun.append({name: each.clone() for name, each in fitting.model.state_dict().items()})
        return one_epoch(fitting)

    monkeypatch.setattr(Fitting, "one_epoch", noted)
    notes = train(store, tmp_path / "b", fine_tuned(), pretrained=tmp_path / "a").training.notes
    assert notes["pretrained"] == hashlib.sha256(weights).hexdigest()
    assert notes["pretrained_hours"] == pytest.approx(spec.hours, abs=1e-3)
    assert "epochs" in notes
    learnt = {k: each for k, each in load(weights).items() if not k.startswith("scaler.")}
    assert all(torch.equal(begun[0][name], each) for name, each in learnt.items())
    plain = train(store, tmp_path / "c", fine_tuned()).training.notes
    assert "pretrained" not in plain
    assert not all(torch.equal(begun[1][name], each) for name, each in learnt.items())


def test_weights_of_a_held_out_run_are_refused(store: Store, tmp_path: Path) -> None:
    last = store.manifest.runs[3].name
    first = [run.name for run in store.manifest.runs[:1]]
    pretrain_store(store, tmp_path / "a", recipe(fit={"epochs": 1}, split={"leave_out": first}))
    with pytest.raises(DatasetError, match=rf"pretrained on a held-out run.*{last}"):
        train(store, tmp_path / "b", fine_tuned(), pretrained=tmp_path / "a")
    assert not (tmp_path / "b").exists()
    path = tmp_path / "a" / "pretrained.json"
    content = json.loads(path.read_text())
    for recording, refused in (
        (f"sub-01/eeg/{last}_eeg.vhdr", True),
        (f"x/{last}0_eeg.vhdr", False),
    ):
        path.write_text(json.dumps({**content, "recordings": [recording], "stopped_by": []}))
        found = parts_of(store)
        if refused:
            with pytest.raises(DatasetError, match=last):
                notes_of_pretrained(tmp_path / "a", found)
        else:
            assert notes_of_pretrained(tmp_path / "a", found)


def parts_of(store: Store) -> Split:
    return split_store(store, SplitConfig())


def test_what_cannot_begin_with_pretrained_weights_is_refused(
    store: Store, tmp_path: Path
) -> None:
    pretrain_store(store, tmp_path / "a", recipe(fit={"epochs": 1}))
    for config, error, match in (
        (TrainConfig(), ConfigError, r"a patch-transformer's, and it is a Ridge"),
        (fine_tuned(span=5), CheckpointError, r"span: 4, here 5"),
    ):
        with pytest.raises(error, match=match):
            train(store, tmp_path / "b", config, pretrained=tmp_path / "a")
    with pytest.raises(CheckpointError, match="holds no pretrained weights"):
        train(store, tmp_path / "b", fine_tuned(), pretrained=tmp_path)
    assert not (tmp_path / "b").exists()


def test_a_volume_models_encoder_is_what_is_pretrained() -> None:
    torch.manual_seed(0)
    encoder = {"name": "patch-transformer", **{k: v for k, v in MODEL.items() if k != "chain"}}
    config = VolumeLowRankConfig.model_validate({"components": 2, "encoder": encoder})
    affine = ((1.0, 0, 0, 0), (0, 1.0, 0, 0), (0, 0, 1.0, 0), (0, 0, 0, 1.0))
    volume = VolumeSpec(grid=(2, 2, 2), affine=affine, n_voxels=5, unit="1")
    model = config.build(Shape(3, 100, 1, 8.0, volume=volume))
    assert transformer_of(model) is model.encoder


def test_pretrain_then_train_on_the_command_line(
    rtfeedback: Command, prepared: Path, bids_copy: Path, tmp_path: Path
) -> None:
    values = recipe(fit={"epochs": 1}).model_dump(mode="json")
    (tmp_path / "p.toml").write_text(tomli_w.dumps(values))
    fine = fine_tuned().model_dump(mode="json")
    (tmp_path / "t.toml").write_text(tomli_w.dumps(fine))
    code, out, _ = rtfeedback("pretrain", prepared, "--config", "p.toml")
    assert (code, out.splitlines()[0]) == (0, "pretrained/prepared")
    assert re.fullmatch(r"2 recordings, 0.0\d h: epochs 1, loss [\d.]+", out.splitlines()[1])
    line = ["pretrain", bids_copy, "--config", "p.toml"]
    code, out, said = rtfeedback(*line)
    assert (code, out) == (1, "")
    assert "do not say what the chain 'tokens' is" in said[-1]
    assert "--store DATA" in said[-1]
    code, out, _ = rtfeedback(*line, "--store", prepared)
    assert (code, out.splitlines()[0]) == (0, "pretrained/bids")
    assert rtfeedback("pretrain", prepared, "--store", prepared)[0] == 2
    train_it = ["train", prepared, "--config", "t.toml", "--pretrained"]
    for pretrained in ("prepared", "bids"):
        code, out, _ = rtfeedback(*train_it, f"pretrained/{pretrained}")
        text = (tmp_path / "pretrained" / pretrained / "pretrained.json").read_text()
        assert (code, f"pretrained {json.loads(text)['weights_sha256']}" in out) == (0, True)
    code, out, said = rtfeedback(*train_it, "nowhere")
    assert (code, out, len(said)) == (1, "", 1)
    assert "nowhere holds no pretrained weights" in said[0]
