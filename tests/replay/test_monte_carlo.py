"""A run with Monte-Carlo dropout is computed again to the same bits, sd and volumes too."""

from __future__ import annotations

from pathlib import Path

from offline.monte_carlo import with_passes
from rtfeedback.checkpoint import load_checkpoint
from rtfeedback.online.settings import RunConfig
from rtfeedback.predictor import Predictor
from rtfeedback.replay.archive import Archive
from rtfeedback.replay.replay import replay
from tests.replay.conftest import run_of
from tests.replay.troubled import Troubled, clean, marked, without
from tests.volume_lab import save_volume_model, volume_spec


def test_a_run_with_passes_is_replayed_to_the_bit(tmp_path: Path) -> None:
    save_volume_model(tmp_path / "parent", volume_spec())
    with_passes(load_checkpoint(tmp_path / "parent"), tmp_path / "model", 6)
    config = RunConfig.model_validate({"volume": {"publish": True}})
    source = Troubled([without(clean(16), (2100, 2200))], marked(16))
    live = Predictor.load(tmp_path / "model", "cpu")
    run = run_of(tmp_path, live, source, config=config, markers="markers", hop=0.25)
    archive = Archive(run)
    valid = [m for m in archive.messages if m["topic"] == "feedback" and m["valid"]]
    assert len(valid) > 10
    sds = {roi["sd"] for message in valid for roi in message["rois"].values()}
    assert min(sds) > 0
    assert len(sds) > len(valid)
    comparison = replay(archive, Predictor.load(run / "checkpoint", "cpu"))
    assert comparison.differences == []
    assert comparison.identical_volumes > 2
