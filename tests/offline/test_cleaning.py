from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from offline.bold import BoldConfig, ROIConfig, TargetMaker
from offline.bold.cleaning import Cleaner, without_drift
from offline.bold.confounds import (
    framewise_displacement,
    motion,
    read_courses,
    regressors,
)
from rtfeedback.config import parse_config
from rtfeedback.errors import ConfigError, DatasetError
from rtfeedback.signals import Float64
from tests.offline.made_up_bold import N_VOLUMES, TR, mask, planted, scan

GROUPS = ("motion6", "motion24", "global_signal", "acompcor", "a_comp_cor_*")


def noise(n: int = N_VOLUMES, columns: int = 1, seed: int = 0) -> Float64:
    return np.random.default_rng(seed).normal(0, 1, (n, columns))


def table_of(tmp_path: Path) -> dict[str, Float64]:
    confounds = scan(tmp_path, "a").confounds
    assert confounds
    return read_courses(confounds)


def test_what_confounds_explain_goes_and_the_rest_stays() -> None:
    x, confounds = noise(), noise(columns=4, seed=1)
    cleaner = Cleaner(tr=TR, n_volumes=N_VOLUMES, regressors=confounds)
    cleaned = cleaner(x + (confounds - confounds.mean(axis=0)) @ noise(4, seed=2))
    assert np.allclose(cleaned, cleaner(x), atol=1e-10)
    for column in (confounds - confounds.mean(axis=0)).T:
        assert abs(column @ cleaned[:, 0]) < 1e-9
    assert cleaned.std() > 0.8 * x.std()


def test_drift_goes_where_a_confound_looks_like_it_too() -> None:
    steps = np.arange(N_VOLUMES)
    slow = np.cos(np.pi / N_VOLUMES * (steps + 0.5))[:, None]
    second = np.cos(np.pi / N_VOLUMES * (steps + 0.5) * 2)[:, None]
    cleaner = Cleaner(tr=TR, n_volumes=N_VOLUMES, regressors=slow + 0.01 * noise())
    assert np.abs(cleaner(second)).max() < 1e-9  # nilearn alone would leave it in


def test_a_scrubbed_volume_is_nan_and_changes_no_other() -> None:
    keep = np.ones(N_VOLUMES, dtype=np.bool_)
    keep[[3, 40, 41]] = False
    cleaner = Cleaner(tr=TR, n_volumes=N_VOLUMES, regressors=noise(seed=1), keep=keep)
    x = noise()
    damaged = x.copy()
    damaged[~keep] = 1e6
    cleaned = cleaner(x)
    assert np.array_equal(np.isnan(cleaned[:, 0]), ~keep)
    assert np.array_equal(cleaned, cleaner(damaged), equal_nan=True)


def test_detrending_takes_mean_and_line_besides() -> None:
    line = 3.0 + 0.2 * np.arange(N_VOLUMES, dtype=np.float64)[:, None]
    for high_pass in (0.0, 128.0):
        cleaner = Cleaner(tr=TR, n_volumes=N_VOLUMES, high_pass=high_pass, detrend=True)
        assert np.abs(cleaner(line)).max() < 1e-9
    untouched = Cleaner(tr=TR, n_volumes=N_VOLUMES, high_pass=0)
    assert np.array_equal(untouched(line), line)


@pytest.mark.parametrize("detrend", [False, True])
@pytest.mark.parametrize("high_pass", [0.0, 30.0, 128.0])
@pytest.mark.parametrize("scrubbed", [(), (5, 20, 21)])
@pytest.mark.parametrize("confounds", [0, 3])
def test_causal_weights_give_the_last_value_of_the_run_so_far(
    detrend: bool, high_pass: float, scrubbed: tuple[int, ...], confounds: int
) -> None:
    n = 45
    keep = np.ones(n, dtype=np.bool_)
    keep[list(scrubbed)] = False
    cleaner = Cleaner(
        tr=TR,
        n_volumes=n,
        high_pass=high_pass,
        detrend=detrend,
        regressors=noise(n, confounds, seed=3) if confounds else None,
        keep=keep if scrubbed else None,
    )
    x, weights = noise(n), cleaner.causal
    assert np.array_equal(weights, np.tril(weights))
    for volume in (12, 25, 31, 44):
        so_far = cleaner.up_to(volume)(x[: volume + 1])
        assert weights[volume] @ x[:, 0] == pytest.approx(so_far[-1, 0], abs=1e-9)


def test_a_run_with_too_little_left_is_refused(tmp_path: Path) -> None:
    run = scan(tmp_path, "a", jumps=tuple(range(1, 70)))
    maker = TargetMaker([ROIConfig(radius=80.0)], BoldConfig(scrub=0.5))
    with pytest.raises(DatasetError, match=r"Too little of a is left.+11 of 80.+2 columns"):
        maker.of_run(run)
    short = scan(tmp_path, "b", n_volumes=30)
    many = BoldConfig(confounds=("motion24",))
    with pytest.raises(DatasetError, match="Too little of b"):
        TargetMaker([ROIConfig(radius=80.0)], many).of_run(short)


def test_volumes_of_much_motion_and_those_around_are_scrubbed(tmp_path: Path) -> None:
    run = scan(tmp_path, "a", jumps=(10, 50))
    roi = ROIConfig(mask=mask(tmp_path, planted()))
    found = TargetMaker([roi], BoldConfig(scrub=0.5)).of_run(run)
    assert np.flatnonzero(np.isnan(found.courses[:, 0])).tolist() == [10, 50]
    assert "2 of 80 volumes are scrubbed" in found.notes[0]
    around = TargetMaker([roi], BoldConfig(scrub=0.5, scrub_around=(1, 2))).of_run(run)
    assert np.flatnonzero(np.isnan(around.courses[:, 0])).tolist() == [
        9,
        10,
        11,
        12,
        49,
        50,
        51,
        52,
    ]
    spiky = TargetMaker([roi]).of_run(run)
    assert abs(spiky.courses[10, 0]) > 3 * np.nanmax(np.abs(found.courses))


def test_scrubbing_takes_motion(tmp_path: Path) -> None:
    run = replace(scan(tmp_path, "a"), confounds=None)
    with pytest.raises(DatasetError, match=r"how the head moved in a.+No table"):
        TargetMaker([ROIConfig(radius=80.0)], BoldConfig(scrub=0.5)).of_run(run)


# ------------------------------------------------------------------------------ confounds


def test_groups_are_the_columns_that_the_field_means(tmp_path: Path) -> None:
    table = table_of(tmp_path)
    shapes = [regressors(table, [group], "a").shape[1] for group in GROUPS]
    assert shapes == [6, 24, 1, 2, 2]
    six = motion(table)
    assert six is not None
    assert np.array_equal(regressors(table, ["motion6"], "a"), six)
    many = regressors(table, ["motion24"], "a")
    assert np.array_equal(many[1:, 6:12], np.diff(six, axis=0))
    assert np.array_equal(many[:, 12:], many[:, :12] ** 2)
    both = regressors(table, ["motion6", "motion24", "global_signal"], "a")
    assert both.shape[1] == 25  # none is there twice


def test_a_value_that_is_not_there_is_the_columns_mean(tmp_path: Path) -> None:
    table = table_of(tmp_path)
    column = table["trans_x_derivative1"]
    found = regressors(table, ["trans_x_derivative1"], "a")[:, 0]
    assert np.isnan(column[0])
    assert found[0] == pytest.approx(column[1:].mean())
    assert np.array_equal(found[1:], column[1:])


def test_a_confound_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(
        DatasetError, match=r"confounds of a hold no 'csf'.+columns are trans_x"
    ):
        regressors(table_of(tmp_path), ["csf"], "a")
    run = scan(tmp_path, "b")
    maker = TargetMaker([ROIConfig(radius=80.0)], BoldConfig(confounds=("nothing",)))
    with pytest.raises(DatasetError, match="hold no 'nothing'"):
        maker.of_run(run)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.tsv", "trans_x\ttrans_y\ttrans_z\trot_x\trot_y\trot_z\n1\t2\t3\t.1\t.2\t.3\n"),
        ("d.tsv", "\tx\ty\tz\tpitch\troll\tyaw\n\t 1.0e0\t 2\t 3\t .1\t .2\t .3\r\n"),
        ("o.csv", "X,Y,Z,RotX,RotY,RotZ,csf\n1,2,3,.1,.2,.3,9\n"),
        ("rp_a.txt", "  1.0e+00   2.0  3.0  1.0e-01  0.2   0.3\n"),
        ("m.par", ".1  .2  .3  1  2  3\n"),
    ],
)
def test_motion_is_read_as_every_program_writes_it(
    tmp_path: Path, name: str, text: str
) -> None:
    path = tmp_path / name
    path.write_bytes(text.encode())
    found = motion(read_courses(path))
    assert found is not None
    assert np.allclose(found, [[1, 2, 3, 0.1, 0.2, 0.3]])


def test_real_headmotion_is_read(shared: Path) -> None:
    folder = shared / "openneuro_sidecars"
    paths = sorted(folder.rglob("*_headmotion.tsv"))
    assert len(paths) > 50
    for path in paths:
        found = motion(read_courses(path))
        assert found is not None
        assert found.shape[0] > 100
        assert np.isfinite(found).all()
        assert np.median(framewise_displacement(found)) < 1.0


@pytest.mark.parametrize("text", ["", "a\tb\n1\n", "a\tb\n1\tx\n"])
def test_a_broken_table_is_named(tmp_path: Path, text: str) -> None:
    path = tmp_path / "t.tsv"
    path.write_text(text)
    with pytest.raises(DatasetError, match=r"confounds .+t\.tsv cannot be read"):
        read_courses(path)
    with pytest.raises(DatasetError, match="cannot be read"):
        read_courses(tmp_path / "none.tsv")


def test_confounds_of_another_run_are_refused(tmp_path: Path) -> None:
    run, other = scan(tmp_path, "a"), scan(tmp_path, "b", n_volumes=60)
    with pytest.raises(DatasetError, match=r"does not go with its BOLD.+60 rows, 80 volumes"):
        TargetMaker([ROIConfig(radius=80.0)]).of_run(replace(run, confounds=other.confounds))


def test_displacement_is_powers_sum() -> None:
    moved = np.zeros((4, 6))
    moved[1:, 0] = 0.3
    moved[2:, 4] = -0.01
    assert np.allclose(framewise_displacement(moved), [0.0, 0.3, 0.5, 0.0])


@pytest.mark.parametrize(
    ("values", "word"),
    [
        ({"high_pass": 0.008}, "period in seconds"),
        ({"resample": [0, 2, 2]}, "resample"),
        ({"causal": True, "scrub_around": [1, 2]}, "a movement is to come"),
        ({"scaling": "psc"}, "scaling"),
        ({"scrub": -1}, "scrub"),
    ],
)
def test_settings_that_make_no_sense_are_refused(values: dict[str, object], word: str) -> None:
    with pytest.raises(ConfigError, match=word):
        parse_config(values, BoldConfig, source="x")


def test_without_drift_is_the_cleaner_by_default() -> None:
    x = noise()
    cleaned = Cleaner(tr=TR, n_volumes=N_VOLUMES)(x)[:, 0]
    assert np.array_equal(without_drift(x[:, 0], TR, 128.0), cleaned)
