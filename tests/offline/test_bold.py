from __future__ import annotations

import gzip
import re
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest

from offline.bold import read_bold
from offline.bold.cleaning import without_drift
from offline.bold.images import grid_over, on_grid
from offline.bold.scaling import percent_signal_change
from rtfeedback.errors import DatasetError
from rtfeedback.signals import Float64

RUN = "sub-01/func/sub-01_task-motorimagery_run-01_bold.nii.gz"


def image(shape: tuple[int, ...] = (4, 5, 6, 7)) -> Any:
    voxels = np.random.default_rng(0).integers(0, 30_000, shape).astype(np.int16)
    return nibabel.Nifti1Image(voxels, np.diag([4.0, 4.0, 4.0, 1.0]))


def refusal(path: Path) -> str:
    with pytest.raises(DatasetError) as caught:
        read_bold(path)
    said = str(caught.value)
    assert f"The BOLD file {path} " in said
    assert "\n" not in said
    return said


@pytest.mark.parametrize("name", ["bold.nii", "bold.nii.gz"])
def test_a_whole_image_is_read(tmp_path: Path, name: str) -> None:
    nibabel.save(image(), tmp_path / name)
    assert np.array_equal(read_bold(tmp_path / name).get_fdata(), image().get_fdata())


@pytest.mark.parametrize("share", [0.0, 0.01, 0.3, 0.9, 0.999])
@pytest.mark.parametrize("name", ["bold.nii", "bold.nii.gz"])
def test_a_truncated_image_is_refused_by_name(tmp_path: Path, name: str, share: float) -> None:
    nibabel.save(image(), tmp_path / name)
    whole = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(whole[: int(share * len(whole))])
    assert "cannot be read whole" in refusal(tmp_path / name)


def test_the_last_bytes_of_a_compressed_image_count(tmp_path: Path, bids: Path) -> None:
    whole = (bids / RUN).read_bytes()
    path = tmp_path / "bold.nii.gz"
    path.write_bytes(whole[:-1])
    assert "Compressed file ended" in refusal(path)


def test_a_flipped_bit_of_a_compressed_image_is_refused(tmp_path: Path, bids: Path) -> None:
    whole = (bids / RUN).read_bytes()
    path = tmp_path / "bold.nii.gz"
    for place in (20, 100, 5_000, len(whole) // 2, len(whole) - 6):
        flipped = bytearray(whole)
        flipped[place] ^= 0xFF
        path.write_bytes(flipped)
        assert "cannot be read whole" in refusal(path)


@pytest.mark.parametrize("content", [b"", b"../../annex/objects/MD5E-s11812--a2.nii.gz\n"])
@pytest.mark.parametrize("name", ["bold.nii", "bold.nii.gz"])
def test_a_links_text_in_a_files_place_is_refused(
    tmp_path: Path, name: str, content: bytes
) -> None:
    (tmp_path / name).write_bytes(content)
    assert "fetch it again" in refusal(tmp_path / name)


def test_an_absent_file_or_a_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.nii").mkdir()
    for name in ("none.nii.gz", "none.nii", "a.nii"):
        refusal(tmp_path / name)


def test_text_that_is_compressed_is_refused(tmp_path: Path) -> None:
    (tmp_path / "bold.nii.gz").write_bytes(gzip.compress(b"no image" * 100))
    refusal(tmp_path / "bold.nii.gz")


@pytest.mark.parametrize("shape", [(4, 5, 6), (4, 5, 6, 1), (4, 5, 6, 7, 2)])
def test_what_is_no_series_is_refused(tmp_path: Path, shape: tuple[int, ...]) -> None:
    nibabel.save(image(shape), tmp_path / "a.nii.gz")
    assert re.search(
        rf"no series of volumes\. Its shape is {re.escape(str(shape))}",
        refusal(tmp_path / "a.nii.gz"),
    )


def test_a_course_becomes_per_cent_of_its_mean() -> None:
    course = np.array([99.0, 100.0, 101.0])
    assert np.allclose(percent_signal_change(course, "x"), [-1.0, 0.0, 1.0])


@pytest.mark.parametrize("course", [[-1.0, 1.0], [-3.0, -2.0], [0.0, 0.0], [np.nan, 1.0]])
def test_a_course_that_was_scaled_before_is_refused(course: list[float]) -> None:
    with pytest.raises(DatasetError, match=r"BOLD of run-1 has a mean of .+ z-scored"):
        percent_signal_change(np.array(course), "run-1")


def cosine(n: int, k: int) -> Float64:
    return np.asarray(np.cos(np.pi / n * (np.arange(n) + 0.5) * k))


def test_drift_goes_and_what_is_faster_stays() -> None:
    n, tr, period = 200, 2.0, 128.0  # cosine k of the run has a period of 800 / k s
    for k in (1, 3, 5):
        assert np.abs(without_drift(cosine(n, k), tr, period)).max() < 1e-10
    for k in (7, 20, 80):
        assert np.allclose(without_drift(cosine(n, k), tr, period), cosine(n, k), atol=1e-10)


@pytest.mark.parametrize("n", [2, 10, 31])
def test_a_short_run_loses_its_mean_and_trend(n: int) -> None:
    line = 3.0 + 0.2 * np.arange(n, dtype=np.float64)
    assert np.abs(without_drift(line, 2.0, 128.0)).max() < 1e-10
    wave = cosine(n, 8 if n > 8 else 0)
    left = without_drift(line + wave, 2.0, 128.0)
    steps = np.arange(n, dtype=np.float64)
    assert np.allclose(left, wave - np.polyval(np.polyfit(steps, wave, 1), steps), atol=1e-10)


@pytest.mark.parametrize("tr", [2.0, 0.8, 1.333, 2.56, 0.1])
def test_a_run_of_any_length_gives_a_course_without_a_warning(tr: float) -> None:
    for seconds in (10, 63, 64, 65, 127, 128, 129):
        check_drift(round(seconds / tr), tr)


def check_drift(n: int, tr: float) -> None:
    course = np.random.default_rng(n).normal(0, 1, n)
    course -= course.mean()
    left = without_drift(course, tr, 128.0)
    assert left.dtype == np.float64
    assert abs(left.mean()) < 1e-10
    assert 0.3 < left.std() / course.std() <= 1.0


def corners(affine: Any, shape: tuple[int, ...]) -> Any:
    """Return the outer corners of a field of view in millimetres."""
    return nibabel.affines.apply_affine(
        affine, [(-0.5, -0.5, -0.5), np.array(shape[:3], dtype=float) - 0.5]
    )


@pytest.mark.parametrize("shape", [(53, 63, 52), (64, 64, 30), (4, 5, 6), (2, 5, 3)])
def test_a_grid_of_a_shape_fills_the_field_of_view(shape: tuple[int, int, int]) -> None:
    affine, found = grid_over(image(), shape)
    assert found == shape
    old = corners(image().affine, image().shape)
    assert np.allclose(corners(affine, found), old)


@pytest.mark.parametrize("millimetres", [2.0, 3.0, 4.0, 7.0, 100.0])
def test_a_grid_of_a_resolution_covers_the_field_of_view(millimetres: float) -> None:
    affine, found = grid_over(image(), millimetres)
    assert np.allclose(nibabel.affines.voxel_sizes(affine), millimetres)
    low, high = corners(affine, found)
    old_low, old_high = corners(image().affine, image().shape)
    assert np.allclose((low + high) / 2, (old_low + old_high) / 2)
    over = (high - low) - (old_high - old_low)
    assert ((over > -1e-6) & (over < millimetres)).all()


def test_an_image_on_its_own_grid_is_itself() -> None:
    own = image()
    assert on_grid(own, *grid_over(own, 4.0)) is own
    assert on_grid(own, *grid_over(own, (4, 5, 6))) is own


def test_a_finer_grid_shows_the_same_places() -> None:
    slope = np.zeros((8, 8, 8, 2), dtype=np.float32)
    slope += np.arange(8, dtype=np.float32)[:, None, None, None]
    coarse = nibabel.Nifti1Image(slope, np.diag([4.0, 4.0, 4.0, 1.0]))
    fine = on_grid(coarse, *grid_over(coarse, 2.0))
    at = nibabel.affines.apply_affine(fine.affine, [(i, 8, 8) for i in range(2, 14)])
    assert np.allclose(fine.get_fdata()[2:14, 8, 8, 1], at[:, 0] / 4.0, atol=1e-5)
