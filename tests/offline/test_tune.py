from __future__ import annotations

import re
import shutil
import sqlite3
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest
import tomli_w
import torch

import offline.tuning.study as study_module
from offline.store.dataset import Store, window_at
from offline.store.examples import Examples
from offline.train import TrainConfig, train
from offline.training.fitting import Fitting
from offline.tune import study_name, tune
from offline.tuning.search_space import SearchSpace
from offline.tuning.study import open_study, shown
from offline.tuning.tune_config import Domain, StudyConfig, TuneConfig
from rtfeedback.checkpoint import load_checkpoint
from rtfeedback.config import load_config
from rtfeedback.errors import ConfigError, DatasetError, OutputError
from tests.offline.killed import Killed

Run = Callable[..., tuple[int, str, list[str]]]
CONFIGS = Path(__file__).parents[2] / "configs"
MODEL = {"name": "tcn", "length": 4.0, "blocks": 2, "width": 4}
RATE = {"fit.learning_rate": {"low": 1e-4, "high": 1e-2, "log": True}}
WIDTH = {"model.width": {"choices": [2, 4, 8]}}
WINDOWS = 30  # of the store's validation run there are 36


def recipe(
    tune: dict[str, Any] | None = None,
    *,
    model: dict[str, Any] | None = None,
    study: dict[str, Any] | None = None,
    **sections: Any,
) -> TuneConfig:
    """Return a recipe of a network that is quickly trained, with open keys."""
    fit = {"epochs": 2, "batch": 16, **sections.pop("fit", {})}
    return TuneConfig.model_validate(
        {
            "model": MODEL if model is None else model,
            "fit": fit,
            "tune": tune or {**RATE, **WIDTH},
            "study": {"windows": WINDOWS, **(study or {})},
            **sections,
        }
    )


def trials(config: TuneConfig, store: Store, url: str) -> list[optuna.trial.FrozenTrial]:
    study = open_study(url, study_name(store, config), config.study, config.seed)
    return study.get_trials()


def beside(out: Path) -> str:
    return f"sqlite:///{out.parent / 'trials.db'}"


# ------------------------------------------------------------------------- what is written


def test_the_best_recipe_is_whole_and_trains_to_the_loss_that_it_was_chosen_for(
    store: Store, tmp_path: Path
) -> None:
    out, config = tmp_path / "tuned" / "best.toml", recipe()
    best = tune(store, out, config, 4, source="a.toml")
    assert load_config(out, TrainConfig) == best
    found = trials(config, store, beside(out))
    assert [each.state.name for each in found] == ["COMPLETE"] * 4
    values = {each.number: each.value for each in found}
    number = min(values, key=lambda each: values[each] or 0.0)
    spec = train(store, tmp_path / "model", load_config(out, TrainConfig))
    assert spec.training.notes["loss"] == values[number]
    text = out.read_text()
    assert text.startswith("# `rtfeedback tune` of a.toml")
    assert f"# Trial {number}: validation loss {values[number]:.4f}, over 36 validation" in text
    assert "the best of 4 trials" in text
    assert store.hash[:12] in text
    assert study_name(store, config) in text
    changed = {"learning_rate", "width"}
    plain = config.model_dump(mode="json", exclude={"tune", "study"})
    for section, values_of in tomllib.loads(text).items():
        for key, value in values_of.items() if isinstance(values_of, dict) else ():
            assert key in changed or plain[section][key] == value


def test_the_recipe_as_it_stands_is_the_first_trial(store: Store, tmp_path: Path) -> None:
    out = tmp_path / "best.toml"
    config = recipe(
        {"model.width": {"choices": [2, 4, 8]}, "model.dropout": {"low": 0.0, "high": 0.5}}
    )
    tune(store, out, config, 1)
    assert load_config(out, TrainConfig) == TrainConfig.model_validate(
        config.model_dump(exclude={"tune", "study"})
    )
    outside = recipe({"model.width": {"choices": [2, 8]}})
    assert SearchSpace(outside).own() is None


def test_the_same_seed_draws_the_same_trials_however_often_they_stop(
    store: Store, tmp_path: Path
) -> None:
    config = recipe(study={"random": 2})
    tune(store, tmp_path / "a" / "1.toml", config, 5)
    for stop in (2, 3, 5):
        tune(store, tmp_path / "b" / f"{stop}.toml", config, stop)
    whole, parts = (trials(config, store, beside(tmp_path / each / "x")) for each in "ab")
    assert [(t.params, t.value) for t in whole] == [(t.params, t.value) for t in parts]
    assert len({str(t.params) for t in whole}) == 5
    last = (tmp_path / "b" / "5.toml").read_text().replace("/b/", "/a/")
    assert last == (tmp_path / "a" / "1.toml").read_text()


def test_the_median_over_seeds_is_what_counts(store: Store, tmp_path: Path) -> None:
    config = recipe(study={"seeds": 3})
    tune(store, tmp_path / "best.toml", config, 1)
    (trial,) = trials(config, store, beside(tmp_path / "best.toml"))
    plain = config.model_dump(exclude={"tune", "study"})
    reached = [
        train(store, tmp_path / f"{seed}", TrainConfig.model_validate({**plain, "seed": seed}))
        for seed in range(3)
    ]
    losses = [spec.training.notes["loss"] for spec in reached]
    assert trial.user_attrs["seeds"] == losses
    assert trial.value == sorted(map(float, losses))[1]


def test_r_is_made_larger_and_a_loss_smaller(store: Store, tmp_path: Path) -> None:
    for measure, best in (("loss", min), ("r", max)):
        config, out = recipe(study={"measure": measure}), tmp_path / measure / "best.toml"
        tune(store, out, config, 3)
        values = [t.value for t in trials(config, store, beside(out)) if t.value is not None]
        assert len(set(values)) == 3
        assert f"validation {measure} {best(values):.4f}" in out.read_text()


def test_a_closed_form_model_is_judged_by_the_same_windows(
    store: Store, ridge: Path, tmp_path: Path
) -> None:
    model, spec = load_checkpoint(ridge).model, load_checkpoint(ridge).spec
    held = Examples(store, spec.training.validation, "tokens", spec.window)
    rows = held.features(0)
    x = np.stack([window_at(rows, end, held.n_times) for end in held.ends.tolist()])
    with torch.no_grad():
        z = model(torch.from_numpy(x)).numpy()
    expected = float(np.mean((z - held.z(spec.targets)) ** 2))
    config = recipe({"model.length": {"low": 6, "high": 12}}, model={"name": "ridge"})
    best = tune(store, tmp_path / "best.toml", config, 3)
    found = trials(config, store, beside(tmp_path / "best.toml"))
    assert found[0].params == {"model.length": 10}
    assert found[0].value == pytest.approx(expected, rel=1e-5)
    lowest = min(found, key=lambda each: each.value or 0.0)
    assert best.model.length == lowest.params["model.length"]


def test_the_test_part_is_not_read(store_copy: Store, store: Store, tmp_path: Path) -> None:
    with_it = tune(store, tmp_path / "with.toml", recipe(), 2)
    shutil.rmtree(store_copy.path / store.manifest.runs[3].name)
    (store_copy.path / "test_reads.json").unlink(missing_ok=True)
    assert tune(store_copy, tmp_path / "without" / "out.toml", recipe(), 2) == with_it
    assert not (store_copy.path / "test_reads.json").exists()


# ---------------------------------------------------------------- trials that come to nothing


def test_a_trial_whose_worker_was_killed_is_tried_again(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config, out = recipe(), tmp_path / "best.toml"
    with monkeypatch.context() as patched:
        one_epoch, n = Fitting.one_epoch, list[int]()

        def until_killed(fitting: Fitting) -> Any:
            n.append(1)
            if len(n) == 4:  # the second epoch of the second trial
                raise Killed
            return one_epoch(fitting)

        patched.setattr(Fitting, "one_epoch", until_killed)
        with pytest.raises(Killed):
            tune(store, out, config, 3)
    assert not out.exists()
    killed = trials(config, store, beside(out))
    assert [each.state.name for each in killed] == ["COMPLETE", "RUNNING"]
    with sqlite3.connect(tmp_path / "trials.db") as database:  # long enough ago
        database.execute("UPDATE trial_heartbeats SET heartbeat = '2020-01-01 00:00:00'")
    tune(store, out, config, 3)
    found = trials(config, store, beside(out))
    states = [each.state.name for each in found]
    assert states == ["COMPLETE", "FAIL", "COMPLETE", "COMPLETE"]
    assert found[2].params == killed[1].params
    assert "the best of 3 trials" in out.read_text()


def test_an_interrupted_trial_is_tried_again_at_once(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config, out = recipe(), tmp_path / "best.toml"
    with monkeypatch.context() as patched:
        patched.setattr(Fitting, "one_epoch", interrupt)
        with pytest.raises(KeyboardInterrupt):
            tune(store, out, config, 2)
    tune(store, out, config, 2)
    found = trials(config, store, beside(out))
    assert [each.state.name for each in found] == ["FAIL", "COMPLETE", "COMPLETE"]
    assert found[1].params == found[0].params


def interrupt(fitting: Fitting) -> Any:
    raise KeyboardInterrupt


def test_a_trial_that_is_worse_than_most_is_ended_early(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    epochs: dict[float, int] = {}

    def validate(fitting: Fitting) -> tuple[float, float]:
        rate = fitting.config.learning_rate
        epochs[rate] = epochs.get(rate, 0) + 1
        return rate * 100 - 0.01 * fitting.epoch, 0.0  # the lower the rate, the better

    monkeypatch.setattr(Fitting, "_validate", validate)
    study = {"unpruned": 1, "epochs": 3}
    config, out = recipe(RATE, study=study, fit={"epochs": 5}), tmp_path / "best.toml"
    tune(store, out, config, 6)
    found = trials(config, store, beside(out))
    done = {t.params["fit.learning_rate"]: t.state.name for t in found}
    assert "PRUNED" in done.values()
    assert {epochs[r] for r, state in done.items() if state == "PRUNED"} == {3}
    assert {epochs[r] for r, state in done.items() if state == "COMPLETE"} == {5}

    epochs.clear()
    without = recipe(RATE, study={**study, "pruning": False}, fit={"epochs": 5})
    tune(store, tmp_path / "b" / "best.toml", without, 6)
    assert set(epochs.values()) == {5}


def test_keys_that_are_at_odds_are_refused_trial_by_trial(store: Store, tmp_path: Path) -> None:
    config = recipe({"model.blocks": {"choices": [2, 8]}}, study={"random": 0})
    out = tmp_path / "best.toml"
    tune(store, out, config, 6)
    found = trials(config, store, beside(out))
    refused = [each for each in found if each.params["model.blocks"] == "8"]
    assert refused
    assert {each.state.name for each in refused} == {"PRUNED"}
    assert "too short for 'tcn'" in refused[0].user_attrs["refused"]
    assert f"and {len(refused)} refused" in out.read_text()
    with pytest.raises(ConfigError, match=r"None of 2 trials could be trained.*too short"):
        tune(store, tmp_path / "no.toml", recipe({"model.blocks": {"choices": [8, 9]}}), 2)
    assert not (tmp_path / "no.toml").exists()


def test_few_validation_windows_choose_nothing(store: Store, tmp_path: Path) -> None:
    out = tmp_path / "tuned" / "best.toml"
    with pytest.raises(ConfigError, match=r"36 of them, where study.windows asks for 100"):
        tune(store, out, recipe(study={"windows": 100}), 2)
    with pytest.raises(ConfigError, match=r"too few validation windows.*0 of them"):
        tune(store, out, recipe(split={"validation": 0}), 2)
    with pytest.raises(DatasetError, match="too short for one window"):
        tune(store, out, recipe(model={**MODEL, "length": 200.0}), 2)
    assert not out.parent.exists()


# ------------------------------------------------------------------------------- open keys


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"model.widht": {"choices": [4]}}, ["'model.widht'", "Did you mean 'width'"]),
        ({"model.width": {"choices": [4, "x"]}}, ["'model.width' to 'x'", "valid integer"]),
        ({"model.blocks": {"low": 0, "high": 3}}, ["'model.blocks' to 0", "greater than 0"]),
        ({"model.blocks": {"low": 1.0, "high": 3.0}}, ["'model.blocks' to 1.764"]),
        ({"fit.learning_rate.x": {"choices": [4]}}, ["'fit.learning_rate.x'", "no keys"]),
        ({"split.test": {"choices": [1]}}, ["cannot open 'split.test'", "what is judged"]),
        ({"seed": {"low": 0, "high": 9}}, ["cannot open 'seed'"]),
        ({"fit.device": {"choices": ["cpu"]}}, ["cannot open 'fit.device'", "worker's own"]),
        ({"model.f1": {"choices": [4], "of": "eegnet"}}, ["'model.f1' of a model", "eegnet"]),
        ({"model.name": {"low": 1, "high": 2}}, ["'model.name' to no models"]),
        (
            {"model.name": {"choices": ["tcn", "nct"]}},
            ["'model.name' to 'nct'", "Allowed here"],
        ),
        ({"model.name": {"choices": ["tcn", "fc"]}}, ["something else than the recipe"]),
    ],
)
def test_a_key_that_cannot_be_opened_is_named(values: dict[str, Any], words: list[str]) -> None:
    with pytest.raises(ConfigError) as error:
        SearchSpace(recipe(values, study={"measure": "r"}), "a.toml")
    assert [word for word in ["a.toml", *words] if word not in str(error.value)] == []


@pytest.mark.parametrize(
    "values",
    [
        {"fit.loss": {"choices": ["mse", "mae"]}},
        {"model.name": {"choices": ["tcn", "eegnet"]}},
    ],
)
def test_losses_of_different_kinds_are_not_compared(values: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=r"cannot be compared.*measure = 'r'"):
        SearchSpace(recipe(values))
    SearchSpace(recipe(values, study={"measure": "r"}))


@pytest.mark.parametrize(
    ("domain", "words"),
    [
        ({"low": 1}, "either 'choices', or 'low' and 'high'"),
        ({"low": 1, "high": 2, "choices": [1]}, "either 'choices', or"),
        ({"low": 2, "high": 1}, "2 is not below 1"),
        ({"low": 0, "high": 1, "log": True}, "'low' above 0"),
        ({"choices": []}, "at least 1 item"),
        ({"low": 1, "hihg": 2}, "'tune.fit.batch.0.hihg'.*Did you mean 'high'"),
    ],
)
def test_a_domain_that_says_nothing_is_refused(
    tmp_path: Path, domain: dict[str, Any], words: str
) -> None:
    path = tmp_path / "a.toml"
    path.write_text(tomli_w.dumps({"tune": {"fit.batch": domain}}))
    with pytest.raises(ConfigError, match=words):
        load_config(path, TuneConfig)


def test_paths_may_be_quoted_or_not(tmp_path: Path) -> None:
    texts = (
        '[tune]\n"fit.batch" = {low = 8, high = 16}',
        "[tune]\nfit.batch = {low = 8, high = 16}",
    )
    found = []
    for text in texts:
        (tmp_path / "a.toml").write_text(text)
        found.append(load_config(tmp_path / "a.toml", TuneConfig).tune)
    assert found[0] == found[1] == {"fit.batch": (Domain(low=8, high=16),)}


def test_a_key_of_one_model_is_open_where_that_model_is_tried(
    store: Store, tmp_path: Path
) -> None:
    config = recipe(
        {
            "model.name": {"choices": ["tcn", "eegnet"]},
            "model.width": {"choices": [2, 4], "of": "tcn"},
            "model.length": {"choices": [4.0], "of": "eegnet"},
            "model.f1": {"low": 1, "high": 2, "of": "eegnet"},
            "model.dropout": [
                {"low": 0.0, "high": 0.1, "of": "tcn"},
                {"low": 0.5, "high": 0.6, "of": ["eegnet"]},
            ],
        },
        study={"measure": "r", "random": 6},
    )
    space = SearchSpace(config)
    tune(store, tmp_path / "best.toml", config, 6)
    names = set()
    for trial in trials(config, store, beside(tmp_path / "best.toml")):
        found = space.recipe(space.suggest(optuna.trial.FixedTrial(trial.params))).model
        names.add(found.name)
        if found.name == "tcn":
            assert (found.length, found.blocks) == (4.0, 2)  # the recipe's own
            assert set(trial.params) == {
                "model.name",
                "model.width of tcn",
                "model.dropout of tcn",
            }
        elif found.name == "eegnet":
            assert (found.length, found.f2, found.f1 in (1, 2)) == (4.0, 16, True)
            assert 0.5 <= found.dropout <= 0.6
    assert names == {"tcn", "eegnet"}


def test_lists_may_be_chosen_and_nested_keys() -> None:
    config = recipe(
        {
            "model.penalties": {"choices": [[1e2, 1e3], [1e4]]},
            "fit.augment.noise": {"low": 0.0, "high": 0.1},
        },
        model={"name": "ridge"},
    )
    space = SearchSpace(config)
    params = {"model.penalties": "[10000.0]", "fit.augment.noise": 0.05}
    found = space.recipe(space.suggest(optuna.trial.FixedTrial(params)))
    assert found.model.model_dump()["penalties"] == (1e4,)
    assert found.fit.augment.noise == 0.05


# ------------------------------------------------------------------------- shared and shipped


def test_studies_are_told_apart_by_store_and_recipe(store: Store, tmp_path: Path) -> None:
    a, b = recipe(), recipe(fit={"epochs": 3})
    assert study_name(store, a) != study_name(store, b)
    assert study_name(store, a) == study_name(store, recipe(fit={"device": "cuda"}))
    url = beside(tmp_path / "x")
    tune(store, tmp_path / "a.toml", a, 2, storage=url)
    tune(store, tmp_path / "b.toml", b, 1, storage=url)
    assert [len(trials(each, store, url)) for each in (a, b)] == [2, 1]
    tune(store, tmp_path / "again.toml", a, 2, storage=url)  # as another worker that comes late
    assert len(trials(a, store, url)) == 2
    assert (tmp_path / "again.toml").read_text() == (tmp_path / "a.toml").read_text()


def test_a_storage_that_cannot_be_opened_is_refused_and_no_password_is_shown() -> None:
    config = StudyConfig()
    for url in ("sqlite:////no/such/folder/a.db", "nosql://b", "no url"):
        with pytest.raises(
            ConfigError, match=r"storage .+ cannot be opened.*install its driver"
        ):
            open_study(url, "a", config, 0)
    assert shown("mysql://lab:secret@host/db") == "mysql://lab:***@host/db"


@pytest.mark.parametrize("name", ["tcn", "eegnet"])
def test_a_shipped_recipe_opens_keys_of_the_one_that_it_is_named_after(name: str) -> None:
    path = CONFIGS / f"tune-{name}.toml"
    config = load_config(path, TuneConfig)
    plain = load_config(CONFIGS / f"train-{name}.toml", TrainConfig)
    space = SearchSpace(config, str(path))
    assert space.recipe({}) == plain
    assert space.own() is not None
    assert config.study == StudyConfig()
    for key in {*StudyConfig.model_fields, *Domain.model_fields}:
        assert re.search(rf"\b{key}\b", path.read_text()), f"{path} does not name {key}"
    assert tomllib.loads((CONFIGS / f"train-{name}.toml").read_text()).items() <= (
        tomllib.loads(path.read_text()).items()
    )


def test_the_command_writes_a_recipe_that_train_takes(
    rtfeedback: Run, prepared: Path, tmp_path: Path
) -> None:
    (tmp_path / "a.toml").write_text(
        "model = {name = 'tcn', length = 4.0, blocks = 2, width = 4}\n"
        "fit = {epochs = 1}\nstudy = {windows = 30}\n"
        "tune = {'model.width' = {choices = [2, 4]}}\n"
    )
    line = ["tune", prepared, "--config", "a.toml", "--trials", 2]
    code, out, said = rtfeedback(*line)
    assert (code, out) == (0, "tuned/prepared-a.toml\n")
    assert said[0] == "judged by 36 validation windows"
    assert rtfeedback("train", prepared, "--config", out.strip())[0] == 0
    code, out, said = rtfeedback(*line)
    assert (code, out) == (0, "tuned/prepared-a-2.toml\n")
    assert re.match(r"going on with rtfeedback-\w+ in sqlite:.*: 2 trials so far", said[1])
    code, out, said = rtfeedback(*line, "--out", "tuned/prepared-a.toml")
    assert (code, out, len(said)) == (1, "", 1)
    assert "tuned/prepared-a.toml is there already" in said[0]
    (tmp_path / "b.toml").write_text("tune = {'model.widht' = {choices = [2, 4]}}\n")
    code, out, said = rtfeedback("tune", prepared, "--config", "b.toml", "--trials", 2)
    assert (code, out, len(said)) == (1, "", 1)
    assert "b.toml: [tune] opens 'model.widht'" in said[0]
    assert rtfeedback("tune", prepared, "--trials", 2)[0] == 2


def test_a_file_that_cannot_be_written_is_refused_before_a_trial(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("data")
    url = f"sqlite:///{tmp_path / 'elsewhere.db'}"
    monkeypatch.setattr(Fitting, "one_epoch", lambda _: pytest.fail("a trial began"))
    with pytest.raises(OutputError, match="cannot be written"):
        tune(store, tmp_path / "file" / "best.toml", recipe(), 1, storage=url)


def test_a_worker_that_ends_second_finds_its_recipe_written(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two with the same command: the file comes while the second waits, and is its own."""
    out, first = tmp_path / "best.toml", tmp_path / "first.toml"
    url = beside(out)
    best = tune(store, first, recipe(), 2, storage=url)
    begin = study_module.begin_with

    def meanwhile(*args: Any) -> None:
        shutil.copy(first, out)
        begin(*args)

    monkeypatch.setattr("offline.tune.begin_with", meanwhile)
    assert tune(store, out, recipe(), 2, storage=url) == best
    assert out.read_bytes() == first.read_bytes()
    out.unlink()
    first.write_text(first.read_text().replace("seed = 0", "seed = 1"))
    with pytest.raises(OutputError, match="is there already"):
        tune(store, out, recipe(), 2, storage=url)


def test_a_worker_without_its_device_takes_no_trial_from_the_others(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    out = tmp_path / "best.toml"
    with pytest.raises(ConfigError, match="no CUDA device"):
        tune(store, out, recipe(fit={"device": "cuda"}), 1)
    tune(store, out, recipe(), 1)
    assert "best of 1 trials" in out.read_text()
    assert " 0 refused" in out.read_text()
