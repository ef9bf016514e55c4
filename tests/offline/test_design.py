from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nilearn.glm.first_level import spm_hrf

from offline.design import Event, conditions, design_regressors, read_events
from rtfeedback.errors import DatasetError
from rtfeedback.signals import Float64

TR = 2.0
FRAMES: Float64 = np.arange(150, dtype=np.float64) * TR
BLOCKS = [
    Event(20.0 * i, 20.0, "Rest" if i % 2 == 0 else "Task-MI") for i in range(15)
]  # as ds002336 writes them


def test_a_design_has_response_and_derivative_of_each_condition_but_rest() -> None:
    assert conditions([*BLOCKS, Event(5, 1, "cue")]) == ("Task-MI", "cue")
    assert design_regressors(BLOCKS, FRAMES, TR).shape == (150, 2)
    assert design_regressors([*BLOCKS, Event(5, 1, "cue")], FRAMES, TR).shape == (150, 4)


def test_without_a_task_there_is_no_column() -> None:
    assert design_regressors([], FRAMES, TR).shape == (150, 0)
    assert design_regressors([Event(0, 300, "rest")], FRAMES, TR).shape == (150, 0)
    assert design_regressors([], FRAMES[:1], TR).shape == (1, 0)


def test_a_block_is_convolved_with_the_response_and_taken_at_target_times() -> None:
    event = Event(10.0, 12.0, "t")
    got = design_regressors([event], FRAMES, TR)[:, 0]
    step = 0.01
    times = np.arange(0, 330, step)
    block = ((times >= 10.0) & (times < 22.0)).astype(float)
    response = np.convolve(block, spm_hrf(step, oversampling=1))[: len(times)]
    expected = np.interp(FRAMES + 0.5 * TR, times, response)
    np.testing.assert_allclose(got, expected, atol=0.02)
    assert np.abs(got - np.interp(FRAMES, times, response)).max() > 0.1


def test_slice_ref_says_where_in_the_volume_the_design_is_taken() -> None:
    later = design_regressors(BLOCKS, FRAMES, TR, slice_ref=1.0)[:-1]
    onset = design_regressors(BLOCKS, FRAMES + TR, TR, slice_ref=0.0)[:-1]
    np.testing.assert_allclose(later[:, 0], onset[:, 0], atol=1e-12)


@settings(deadline=None, max_examples=10)
@given(order=st.permutations(BLOCKS))
def test_a_design_is_independent_of_the_order_of_events(order: list[Event]) -> None:
    expected = design_regressors(BLOCKS, FRAMES, TR)
    np.testing.assert_allclose(design_regressors(order, FRAMES, TR), expected, atol=1e-12)


def test_the_first_volumes_may_be_left_out() -> None:
    whole = design_regressors(BLOCKS, FRAMES, TR)[8:, 0]
    late = design_regressors(BLOCKS, FRAMES[8:], TR)[:, 0]
    np.testing.assert_allclose(late, whole, atol=0.02)


def test_a_block_that_began_long_before_the_run_lasts_into_it() -> None:
    early = design_regressors([Event(-5000.0, 5100.0, "t")], FRAMES, TR)[:, 0]
    np.testing.assert_allclose(early[:45], 1.0, atol=0.01)
    np.testing.assert_allclose(early[75:], 0.0, atol=0.01)


@pytest.mark.parametrize("onset", [-500.0, 5000.0])
def test_events_outside_the_run_do_nothing(onset: float) -> None:
    inside = design_regressors(BLOCKS, FRAMES, TR)
    outside = design_regressors([*BLOCKS, Event(onset, 3.0, "Task-MI")], FRAMES, TR)
    np.testing.assert_array_equal(outside, inside)
    assert not design_regressors([Event(onset, 3.0, "t")], FRAMES, TR).any()


def test_an_impulse_has_a_response() -> None:
    got = design_regressors([Event(10.0, 0.0, "t")], FRAMES, TR)[:, 0]
    assert FRAMES[int(np.argmax(got))] + TR / 2 == pytest.approx(15, abs=1.1)


def test_columns_can_be_named_for_runs_that_lack_a_condition() -> None:
    got = design_regressors(BLOCKS, FRAMES, TR, only=["absent", "Task-MI"])
    assert got.shape == (150, 4)
    assert not got[:, :2].any()
    np.testing.assert_array_equal(got[:, 2:], design_regressors(BLOCKS, FRAMES, TR))


@pytest.mark.parametrize("frames", [FRAMES[:1], FRAMES[[0, 1, 3]], FRAMES / 2])
def test_uneven_or_single_volumes_are_refused(frames: Float64) -> None:
    with pytest.raises(ValueError, match=r"2\.0 s apart"):
        design_regressors(BLOCKS, frames, TR)


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "sub-01_task-mi_events.tsv"
    path.write_bytes(text.encode())
    return path


def test_events_are_read_by_column_name(tmp_path: Path) -> None:
    header, rows = "trial_type\tstim\tonset\tduration", "Rest\tx\t0\t20\r\nMI\ty\t20.5\t2e1"
    path = written(tmp_path, f"\ufeff{header}\r\n{rows}\r\n")
    assert read_events(path) == [Event(0, 20, "Rest"), Event(20.5, 20, "MI")]


def test_a_row_that_ends_in_a_tab_is_read_like_any_other(tmp_path: Path) -> None:
    text = "onset\tduration\ttrial_type\n2\t20\tRest\n62\t20\tTask-MI\t\n\n"
    assert read_events(written(tmp_path, text))[1] == Event(62, 20, "Task-MI")


def test_rows_without_a_condition_are_passed_over(tmp_path: Path) -> None:
    text = "onset\tduration\ttrial_type\nn/a\tn/a\tn/a\n13.2\tn/a\tn/a\n14\tn/a\tcue\n"
    assert read_events(written(tmp_path, text)) == [Event(14, 0, "cue")]


def test_a_file_with_a_header_alone_has_no_events(tmp_path: Path) -> None:
    assert read_events(written(tmp_path, "onset\tduration\ttrial_type\n")) == []


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "no column onset nor duration nor trial_type.*nothing"),
        ("onset\tduration\n1\t2\n", "no column trial_type.*onset, duration"),
        ("onset,duration,trial_type\n1,2,x\n", "no column onset.*separated by tabs"),
        ("onset\tduration\ttrial_type\n1\t2\n", "too short.*line 2.*2 cells"),
        ("onset\tduration\ttrial_type\n1\t2\tx\n1,5\t2\tx\n", "onset.*line 3.*'1,5'"),
        ("onset\tduration\ttrial_type\nn/a\t2\tx\n", "onset is no number.*'n/a'"),
        ("onset\tduration\ttrial_type\ninf\t2\tx\n", "onset is no number.*'inf'"),
        ("onset\tduration\ttrial_type\n1\t-2\tx\n", "duration is negative.*-2"),
    ],
)
def test_a_broken_file_is_named_with_line_and_remedy(
    tmp_path: Path, text: str, said: str
) -> None:
    with pytest.raises(DatasetError, match=said) as caught:
        read_events(written(tmp_path, text))
    assert "sub-01_task-mi_events.tsv" in str(caught.value)


def test_a_file_that_is_not_there_or_not_text_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="cannot be read"):
        read_events(tmp_path / "absent.tsv")
    path = tmp_path / "events.tsv"
    path.write_bytes(b"onset\xff\xfe")
    with pytest.raises(DatasetError, match="cannot be read"):
        read_events(path)
