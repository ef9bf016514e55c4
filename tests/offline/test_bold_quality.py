from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import nibabel
import numpy as np
import pytest
from matplotlib.image import imread

from offline.bold import BoldConfig, BoldRun, ROIConfig, RunTargets, TargetMaker
from offline.bold.quality import Quality
from rtfeedback.errors import OutputError
from tests.offline.made_up_bold import AFFINE, SHAPE, mask, planted, scan


def made(folder: Path, run: BoldRun, **settings: object) -> RunTargets:
    roi = ROIConfig(mask=mask(folder, planted()))
    return TargetMaker([roi], BoldConfig.model_validate(settings)).of_run(run)


def judged(folder: Path, run: BoldRun, **settings: object) -> Quality:
    quality = made(folder, run, **settings).quality
    assert quality
    return quality


def test_tsnr_is_mean_over_sd_without_the_trend(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    volumes = 1000 + rng.normal(0, 10, (*SHAPE, 200)) + np.linspace(0, 400, 200)
    volumes[planted()] += rng.normal(0, 30, volumes[planted()].shape)
    image = tmp_path / "a.nii.gz"
    nibabel.save(nibabel.Nifti1Image(volumes.astype(np.float32), AFFINE), image)
    quality = judged(tmp_path, BoldRun("a", "01", "mi", 2.0, image))
    assert quality.tsnr == pytest.approx(1200 / 10, rel=0.03)
    assert quality.tsnr_of["motor"] == pytest.approx(1200 / np.hypot(10, 30), rel=0.05)
    assert quality.displacement is None
    assert quality.summary()["displacement_mean"] is None


def test_a_spike_is_found_and_a_clean_run_has_few(tmp_path: Path) -> None:
    quality = judged(tmp_path, scan(tmp_path, "a", jumps=(10, 50)))
    assert {10, 11, 50, 51} <= set(np.flatnonzero(quality.spikes).tolist())
    assert quality.dvars[0] == 0.0
    clean = [judged(tmp_path, scan(tmp_path, "b", seed=s)).spikes.sum() for s in range(5)]
    assert sum(clean) <= 0.05 * 5 * 80


def test_dvars_is_the_change_of_the_brain_in_per_cent(tmp_path: Path) -> None:
    volumes = np.full((*SHAPE, 6), 500.0, dtype=np.float32)
    volumes += np.linspace(-1, 1, SHAPE[0], dtype=np.float32)[:, None, None, None]
    volumes[..., 3:] += 5.0
    image = tmp_path / "a.nii.gz"
    nibabel.save(nibabel.Nifti1Image(volumes, AFFINE), image)
    quality = judged(tmp_path, BoldRun("a", "01", "mi", 2.0, image))
    assert quality.dvars == pytest.approx([0, 0, 0, 100 * 5 / 502.5, 0, 0], abs=0.02)


def test_the_summary_is_plain_json(tmp_path: Path) -> None:
    run = scan(tmp_path, "a", jumps=(10,))
    summary = judged(tmp_path, run, scrub=0.5).summary()
    assert json.loads(json.dumps(summary, allow_nan=False)) == summary
    assert summary["scrubbed"] == [10]
    assert summary["displaced"] == 1
    assert summary["displacement_max"] == pytest.approx(1.0, abs=0.2)
    assert summary["displacement_mean"] < 0.2
    assert 10 in summary["spikes"]
    assert 50 < summary["tsnr"] < 150


@pytest.mark.parametrize("moved", [True, False])
def test_a_figure_is_drawn_for_every_run(tmp_path: Path, moved: bool) -> None:
    run = scan(tmp_path, "a", jumps=(10, 30))
    if not moved:
        run = replace(run, confounds=None)
    found = made(tmp_path, run, **({"scrub": 0.5} if moved else {}))
    found.draw(tmp_path / "quality.png")
    pixels = imread(tmp_path / "quality.png")
    assert pixels.shape[:2] == (624, 1080)
    assert pixels[..., :3].min() < 0.2
    with pytest.raises(OutputError, match=r"figure .+none/q\.png cannot be written"):
        found.draw(tmp_path / "none" / "q.png")


def test_a_run_of_courses_alone_has_no_figure(tmp_path: Path) -> None:
    table = tmp_path / "c.tsv"
    table.write_text("motor\n" + "\n".join(str(900 + i % 7) for i in range(40)) + "\n")
    run = BoldRun("a", "01", "mi", 2.0, image=None, course=table)
    found = TargetMaker([ROIConfig()]).of_run(run)
    found.draw(tmp_path / "quality.png")
    assert found.quality is None
    assert not (tmp_path / "quality.png").exists()
