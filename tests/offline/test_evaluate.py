from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from offline.evaluate import FIGURE, REPORT, evaluate, print_report
from offline.evaluation.metrics import pearson
from offline.prepare import PrepareConfig, prepare
from offline.store.dataset import MANIFEST, Store, window_at
from offline.train import TrainConfig, train
from rtfeedback.errors import DatasetError, OutputError
from rtfeedback.predictor import Predictor

TEST = "sub-01_task-motorimagery_run-04"


@pytest.fixture
def predictor(ridge: Path) -> Predictor:
    return Predictor.load(ridge, "cpu")


def strictly(text: str) -> Any:
    """Read JSON that has no NaN and no infinity."""

    def refuse(constant: str) -> None:
        pytest.fail(f"{constant} in JSON")

    return json.loads(text, parse_constant=refuse)


def test_its_values_are_those_of_the_one_predictor(
    predictor: Predictor, store: Store, tmp_path: Path
) -> None:
    report = evaluate(predictor, store, tmp_path / "out")
    run, spec = store.runs[TEST], predictor.spec
    examples = run.examples(spec.model.chain, spec.window)
    (said,) = report["runs"]
    assert said["name"] == TEST
    assert said["volumes"] == examples.volumes.tolist()
    features = run.features("tokens")
    for i, end in enumerate(examples.ends):
        roi = predictor(window_at(features, int(end), 40))["motor"]
        assert (said["z"][i], said["predicted"][i]) == (roi.z, roi.raw)
    assert said["measured"] == run.targets[examples.volumes, 0].tolist()
    expected = pearson(np.array(said["measured"]), np.array(said["predicted"]))
    assert said["r"] == pytest.approx(expected)


def test_channels_that_no_live_stream_could_mend_are_named(
    bids: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = PrepareConfig.model_validate({"eeg": {"known_bad": ["Pz"]}})
    store = Store(prepare(bids, tmp_path / "store", config))
    train(store, tmp_path / "ridge", TrainConfig())
    report = evaluate(Predictor.load(tmp_path / "ridge"), store, tmp_path / "out")
    said = (
        "Bad channels of held-out runs were interpolated, as those of a live stream cannot"
        f" be: {TEST} (Pz)."
    )
    assert (report["interpolated"], report["note"]) == (said, said)
    print_report(report)
    assert said in capsys.readouterr().out


def test_a_report_is_json_and_a_figure(
    predictor: Predictor, store: Store, tmp_path: Path
) -> None:
    report = evaluate(predictor, store, tmp_path / "out")
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == [FIGURE, REPORT]
    written = strictly((tmp_path / "out" / REPORT).read_text(encoding="utf-8"))
    assert written == json.loads(json.dumps(report))
    assert written["checkpoint"] == predictor.checkpoint.hash
    assert written["store"] == store.hash
    assert written["split"]["test"] == [TEST]
    assert (tmp_path / "out" / FIGURE).read_bytes().startswith(b"\x89PNG")


def test_it_is_the_same_whenever_it_is_made(
    predictor: Predictor, store: Store, tmp_path: Path
) -> None:
    a = evaluate(predictor, store, tmp_path / "a")
    b = evaluate(predictor, store, tmp_path / "b")
    a.pop("test_reads"), b.pop("test_reads")
    assert a == b


def test_every_reading_of_the_test_part_is_counted_and_printed(
    predictor: Predictor, store_copy: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for reads in (1, 2, 3):
        report = evaluate(predictor, store_copy, tmp_path / str(reads))
        assert report["test_reads"] == reads
    print_report(report)
    said = capsys.readouterr().out
    assert "read 3 x" in said
    assert TEST in said
    assert "nan" not in said


def test_a_reading_counts_though_the_report_cannot_be_written(
    predictor: Predictor, store_copy: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("offline.evaluate.course_figure", fail)
    with pytest.raises(OutputError, match="No space left"):
        evaluate(predictor, store_copy, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    assert store_copy.count_test_read() == 2


def test_the_store_of_another_checkpoint_is_refused(
    predictor: Predictor, store_copy: Store, tmp_path: Path
) -> None:
    path = store_copy.path / MANIFEST
    path.write_text(path.read_text().replace('"upstream": ""', '"upstream": "cleaned"'))
    other = Store(store_copy.path)
    with pytest.raises(DatasetError, match=rf"not trained on the store.*{other.hash[:12]}"):
        evaluate(predictor, other, tmp_path / "out")
    assert other.count_test_read() == Store(store_copy.path).count_test_read() - 1
    assert not (tmp_path / "out").exists()


def test_a_held_out_run_too_short_for_one_window_is_refused(
    predictor: Predictor, store_copy: Store, tmp_path: Path
) -> None:
    for name in ("tokens", "tokens_stamps"):
        path = store_copy.path / TEST / f"{name}.npy"
        np.save(path, np.load(path)[:30])
    with pytest.raises(DatasetError, match=rf"{TEST} is too short for one window"):
        evaluate(predictor, store_copy, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def spoilt(store: Store, *spans: tuple[int, int]) -> Store:
    """Mask rows of the held-out run's tokens in all channels."""
    path = store.path / TEST / "tokens.npy"
    tokens = np.load(path)
    for first, last in spans:
        tokens[first:last] = np.nan
    np.save(path, tokens)
    return store


def test_volumes_whose_window_is_invalid_count_in_nothing_and_are_named(
    predictor: Predictor, store: Store, store_copy: Store, tmp_path: Path
) -> None:
    whole = evaluate(predictor, store, tmp_path / "whole")["runs"][0]
    report = evaluate(predictor, spoilt(store_copy, (150, 190)), tmp_path / "out")
    (run,) = report["runs"]
    spec = predictor.spec
    examples = store_copy.runs[TEST].examples(spec.model.chain, spec.window)
    assert run["artefacts"] == examples.volumes[~examples.allowed].tolist() != []
    assert run["volumes"] == examples.volumes[examples.allowed].tolist()
    assert sorted(run["volumes"] + run["artefacts"]) == sorted(
        whole["volumes"] + whole["artefacts"]
    )
    expected = pearson(np.array(run["measured"]), np.array(run["predicted"]))
    assert run["r"] == pytest.approx(expected)
    assert report["partial"]["n"] == len(whole["volumes"])  # bridged, as a spectrum takes


def test_how_many_windows_were_invalid_is_printed(
    predictor: Predictor, store_copy: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    report = evaluate(predictor, spoilt(store_copy, (150, 190)), tmp_path / "out")
    print_report(report)
    n = len(report["runs"][0]["artefacts"])
    assert f"{n} windows were invalid for their artefacts" in capsys.readouterr().out


def test_a_held_out_run_of_nothing_but_artefacts_is_refused(
    predictor: Predictor, store_copy: Store, tmp_path: Path
) -> None:
    with pytest.raises(DatasetError, match=rf"No window of the held-out run {TEST} is free"):
        evaluate(predictor, spoilt(store_copy, (0, 10**6)), tmp_path / "out")


def test_a_report_is_never_written_over(
    predictor: Predictor, store_copy: Store, tmp_path: Path
) -> None:
    evaluate(predictor, store_copy, tmp_path / "out")
    before = (tmp_path / "out" / REPORT).read_bytes()
    reads = store_copy.count_test_read()
    with pytest.raises(OutputError, match="is there already"):
        evaluate(predictor, store_copy, tmp_path / "out")
    assert (tmp_path / "out" / REPORT).read_bytes() == before
    assert store_copy.count_test_read() == reads + 1  # nor was the test part read


def test_a_semi_synthetic_report_says_so_first(
    predictor: Predictor, store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    report = evaluate(predictor, store, tmp_path / "out")
    capsys.readouterr()
    print_report({**report, "semi_synthetic": True})
    assert "no claim of skill" in capsys.readouterr().out.splitlines()[0]


def test_volumes_that_were_scrubbed_count_in_nothing(
    predictor: Predictor, store: Store, store_copy: Store, tmp_path: Path
) -> None:
    whole = evaluate(predictor, store, tmp_path / "whole")["runs"][0]
    gone = whole["volumes"][3:6]
    run = store_copy.runs[TEST]
    targets = np.array(run.targets)
    targets[gone] = np.nan
    np.save(run.folder / "targets.npy", targets)
    for name in predictor.spec.training.train:
        path = store_copy.path / name / "targets.npy"
        targets = np.load(path)
        targets[:2] = np.nan
        np.save(path, targets)
    report = evaluate(predictor, Store(store_copy.path), tmp_path / "out")
    (said,) = report["runs"]
    assert said["volumes"] == [v for v in whole["volumes"] if v not in gone]
    assert said["artefacts"] == whole["artefacts"]
    assert report["partial"]["n"] == len(whole["volumes"]) + len(
        [v for v in whole["artefacts"] if whole["volumes"][0] < v < whole["volumes"][-1]]
    )


def test_a_held_out_run_that_was_scrubbed_whole_is_refused(
    predictor: Predictor, store_copy: Store, tmp_path: Path
) -> None:
    path = store_copy.path / TEST / "targets.npy"
    np.save(path, np.full_like(np.load(path), np.nan))
    with pytest.raises(DatasetError, match=rf"No volume of the held-out run {TEST} has a"):
        evaluate(predictor, store_copy, tmp_path / "out")


@pytest.fixture
def blocked(store_copy: Store, tmp_path: Path) -> tuple[Predictor, Store]:
    """Return a ridge that was trained on the first half of every run, and its store."""
    path = store_copy.path / MANIFEST
    manifest = json.loads(path.read_text())
    split = {"kind": "block", "blocks": 2, "validation": 0}
    manifest["config"]["split"] = split
    path.write_text(json.dumps(manifest))
    store = Store(store_copy.path)
    recipe = {"model": {"name": "ridge", "length": 2.0}, "split": split}
    train(store, tmp_path / "blocked", TrainConfig.model_validate(recipe))
    return Predictor.load(tmp_path / "blocked", "cpu"), store


def test_of_runs_that_a_split_cut_only_the_test_blocks_are_scored(
    blocked: tuple[Predictor, Store], tmp_path: Path
) -> None:
    predictor, store = blocked
    held = predictor.spec.training.volumes["test"]
    report = evaluate(predictor, store, tmp_path / "out")
    assert [run["name"] for run in report["runs"]] == list(held)
    for run in report["runs"]:
        assert sorted(run["volumes"] + run["artefacts"]) == list(held[run["name"]])


def test_the_design_is_fitted_on_the_training_blocks_alone(
    blocked: tuple[Predictor, Store], tmp_path: Path
) -> None:
    predictor, store = blocked
    before = evaluate(predictor, store, tmp_path / "before")
    for name, volumes in predictor.spec.training.volumes["train"].items():
        path = store.path / name / "targets.npy"
        targets, held = np.load(path), predictor.spec.training.volumes["test"][name]
        between = range(max(volumes) + 1, min(held))
        targets[list(between)] = 99.0
        np.save(path, targets)
    again = evaluate(predictor, Store(store.path), tmp_path / "again")
    for run, other in zip(before["runs"], again["runs"], strict=True):
        assert run["r_of_design"] == other["r_of_design"]
        assert run["r2_of_design"] == other["r2_of_design"]
