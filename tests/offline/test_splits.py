from __future__ import annotations

import random

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from offline.splits.blocks import Blocks, scattered
from offline.splits.parts import Split, scanned
from offline.splits.split import RunKey, SplitConfig, split_runs
from rtfeedback.config import parse_config
from rtfeedback.errors import ConfigError, DatasetError
from rtfeedback.windows import WindowSpec


def runs_of(*counts: int) -> list[RunKey]:
    return [
        RunKey(f"sub-{subject}_run-{run}", f"{subject}", "1", run)
        for subject, count in enumerate(counts, start=1)
        for run in range(1, count + 1)
    ]


unhurried = settings(deadline=None, max_examples=60)
counts = st.lists(st.integers(1, 12), min_size=1, max_size=8)
configs = st.builds(SplitConfig, test=st.integers(1, 3), validation=st.integers(0, 3))


def split_or_skip(runs: list[RunKey], config: SplitConfig) -> Split:
    try:
        return split_runs(runs, config)
    except DatasetError:
        assume(False)
        raise


@unhurried
@given(counts=counts, config=configs)
def test_parts_are_disjoint_and_cover_all_runs(counts: list[int], config: SplitConfig) -> None:
    runs = runs_of(*counts)
    split = split_or_skip(runs, config)
    names = split.train + split.validation + split.test
    assert len(names) == len(runs)
    assert set(names) == {run.name for run in runs}


@unhurried
@given(counts=counts, config=configs)
def test_test_is_the_last_runs_of_each_subject(counts: list[int], config: SplitConfig) -> None:
    split = split_or_skip(runs_of(*counts), config)
    expected = {
        f"sub-{subject}_run-{run}"
        for subject, count in enumerate(counts, start=1)
        for run in range(max(1, count - config.test + 1), count + 1)
    }
    assert set(split.test) == expected


@unhurried
@given(counts=counts, config=configs)
def test_validation_leaves_its_subject_a_training_run(
    counts: list[int], config: SplitConfig
) -> None:
    split = split_or_skip(runs_of(*counts), config)
    trained = {name.split("_")[0] for name in split.train}
    assert {name.split("_")[0] for name in split.validation} <= trained


@unhurried
@given(counts=counts, config=configs)
def test_no_training_run_was_recorded_after_a_held_out_one(
    counts: list[int], config: SplitConfig
) -> None:
    split = split_or_skip(runs_of(*counts), config)
    for part, later in [(split.train, split.validation + split.test)]:
        for name in part:
            subject, run = name.split("_run-")
            after = [int(n.split("_run-")[1]) for n in later if n.startswith(f"{subject}_")]
            assert all(int(run) < other for other in after)


@unhurried
@given(counts=counts, config=configs, seed=st.integers(0, 2**32))
def test_a_split_is_independent_of_input_order(
    counts: list[int], config: SplitConfig, seed: int
) -> None:
    runs = runs_of(*counts)
    split = split_or_skip(runs, config)
    shuffled = runs.copy()
    random.Random(seed).shuffle(shuffled)
    assert split_runs(shuffled, config) == split


@unhurried
@given(counts=counts, config=configs)
def test_a_report_is_told_of_every_short_part(counts: list[int], config: SplitConfig) -> None:
    split = split_or_skip(runs_of(*counts), config)
    short = config.validation > 0 and 6 * len(split.validation) < sum(counts)
    lone = sum(count <= config.test for count in counts)
    assert len(split.notes) == short + lone


def test_validation_takes_the_last_subjects_and_as_few_as_make_a_sixth() -> None:
    split = split_runs(runs_of(4, 4, 4), SplitConfig())
    assert split.test == ("sub-1_run-4", "sub-2_run-4", "sub-3_run-4")
    assert split.validation == ("sub-2_run-3", "sub-3_run-3")
    assert split.train[:3] == ("sub-1_run-1", "sub-1_run-2", "sub-1_run-3")
    assert split.notes == ()


def test_validation_passes_over_a_subject_with_one_run_left() -> None:
    split = split_runs(runs_of(3, 2), SplitConfig())
    assert split.validation == ("sub-1_run-2",)


def test_two_runs_each_leave_no_validation_and_say_so() -> None:
    split = split_runs(runs_of(2, 2), SplitConfig())
    assert split.validation == ()
    assert split.train == ("sub-1_run-1", "sub-2_run-1")
    assert "no validation part" in split.notes[0]


def test_a_validation_short_of_a_sixth_says_so() -> None:
    split = split_runs(runs_of(20), SplitConfig())
    assert split.validation == ("sub-1_run-19",)
    assert split.notes == ("Validation has 1 of 20 runs, less than a sixth",)


def test_validation_can_be_switched_off_without_a_note() -> None:
    split = split_runs(runs_of(6), SplitConfig(validation=0))
    assert (split.validation, split.notes) == ((), ())


def test_a_subject_with_test_runs_only_is_named() -> None:
    split = split_runs(runs_of(1, 3), SplitConfig())
    assert "sub-1_run-1" in split.test
    assert any(note.startswith("Subject 1 has no training run") for note in split.notes)


def test_numbers_in_names_count_as_numbers() -> None:
    runs = [RunKey(f"s{i}", "a", f"ses-{i}", 1) for i in (1, 2, 10)]
    assert split_runs(runs, SplitConfig(validation=0)).test == ("s10",)


def test_sessions_come_before_the_order_of_runs() -> None:
    runs = [RunKey("early", "a", "1", 9), RunKey("late", "a", "2", 1)]
    assert split_runs(runs, SplitConfig()).test == ("late",)


@pytest.mark.parametrize(("n", "part"), [(0, "train and test"), (1, "train")])
def test_a_dataset_with_too_few_runs_is_refused(n: int, part: str) -> None:
    with pytest.raises(DatasetError, match=f"no run for {part}"):
        split_runs(runs_of(n), SplitConfig())


def test_runs_with_one_name_are_refused() -> None:
    with pytest.raises(DatasetError, match=r"one name.*sub-1_run-1"):
        split_runs(runs_of(2) + runs_of(1), SplitConfig())


def test_a_split_cannot_hold_a_run_twice() -> None:
    with pytest.raises(ValueError, match="two parts"):
        Split(train=("a", "b"), validation=(), test=("b",))


@pytest.mark.parametrize(
    "values", [{"kind": "window"}, {"test": 0}, {"validation": -1}, {"blocks": 1}]
)
def test_a_config_that_no_rule_can_follow_is_refused(values: dict[str, object]) -> None:
    with pytest.raises(ConfigError):
        parse_config(values, SplitConfig, source="split")


# ------------------------------------------------------------------- sessions and subjects


def sessions_of(*counts: int, runs: int = 2) -> list[RunKey]:
    return [
        RunKey(f"sub-{subject}_ses-{session}_run-{run}", f"{subject}", f"{session}", run)
        for subject, count in enumerate(counts, start=1)
        for session in range(1, count + 1)
        for run in range(1, runs + 1)
    ]


def test_a_session_is_held_out_with_all_of_its_runs() -> None:
    split = split_runs(sessions_of(3, 3), SplitConfig(kind="session"))
    assert split.test == (
        "sub-1_ses-3_run-1", "sub-1_ses-3_run-2", "sub-2_ses-3_run-1", "sub-2_ses-3_run-2",
    )  # fmt: skip
    assert split.validation == ("sub-2_ses-2_run-1", "sub-2_ses-2_run-2")
    assert len(split.train) == 6
    assert split.kind == "session"


def test_a_subject_is_held_out_with_all_of_its_runs() -> None:
    split = split_runs(sessions_of(1, 1, 1), SplitConfig(kind="subject"))
    assert {name[:5] for name in split.test} == {"sub-3"}
    assert {name[:5] for name in split.validation} == {"sub-2"}
    assert {name[:5] for name in split.train} == {"sub-1"}
    assert split.notes == ()


@pytest.mark.parametrize(
    ("kind", "name", "n"),
    [("subject", "2", 6), ("session", "1", 6), ("run", "sub-1_ses-3_run-1", 1)],
)
def test_what_is_left_out_can_be_named(kind: str, name: str, n: int) -> None:
    runs = sessions_of(3, 3, 3)
    config = SplitConfig.model_validate({"kind": kind, "leave_out": [name], "validation": 0})
    split = split_runs(runs, config)
    label = "name" if kind == "run" else kind
    said = {key.name: getattr(key, label) for key in runs}
    assert len(split.test) == n
    assert {said[test] for test in split.test} == {name}
    assert name not in {said[train] for train in split.train}


def test_subjects_are_left_out_one_after_the_other() -> None:
    """Leave one out: over all subjects, each is the test once, and never trained on."""
    runs = sessions_of(1, 1, 1, 1)
    tested: list[str] = []
    for subject in "1234":
        split = split_runs(runs, SplitConfig(kind="subject", leave_out=(subject,)))
        assert not set(split.test) & set(split.train + split.validation)
        tested += split.test
    assert sorted(tested) == sorted(run.name for run in runs)


def test_a_name_that_is_not_there_is_refused() -> None:
    with pytest.raises(DatasetError, match=r"no subject 07 to leave out.*There is 1, 2"):
        split_runs(sessions_of(1, 1), SplitConfig(kind="subject", leave_out=("07",)))


@pytest.mark.parametrize("kind", ["session", "subject"])
def test_one_session_or_subject_alone_cannot_be_split(kind: str) -> None:
    with pytest.raises(DatasetError, match="no run for train"):
        split_runs(sessions_of(1), SplitConfig.model_validate({"kind": kind}))


def test_two_subjects_leave_none_for_validation_and_say_so() -> None:
    split = split_runs(sessions_of(1, 1), SplitConfig(kind="subject"))
    assert split.validation == ()
    assert "no subject to train on" in split.notes[0]


# ------------------------------------------------------------------------- inside of runs


def parts_of(split: Split, times: list[float], window: WindowSpec) -> list[str]:
    """Return what each time of a run from 100 to 200 s belongs to."""
    at = np.array(times)
    found = [""] * len(at)
    for part in ("train", "validation", "test"):
        held = split.holds(
            part,
            "sub-1_run-1",
            volumes=np.arange(len(at)),
            times=at,
            n_volumes=len(at),
            scanned=(100.0, 200.0),
            window=window,
        )
        found = [part if h else before for h, before in zip(held, found, strict=True)]
    return found


def test_a_gap_of_window_lead_and_20_s_lies_on_either_side_of_a_block() -> None:
    config = SplitConfig(kind="block", blocks=2, validation=0, leave_out=("2",))
    split = split_runs(runs_of(1), config)
    window = WindowSpec(length=4.0, lead=1.0)
    times = [90.0, 124.9, 125.0, 149.9, 150.0, 250.0]
    assert parts_of(split, times, window) == ["train", "train", "", "", "test", "test"]
    other = split_runs(runs_of(1), config.model_copy(update={"leave_out": ("1",)}))
    times = [90.0, 149.9, 150.0, 174.9, 175.0]
    assert parts_of(other, times, window) == ["test", "test", "", "", "train"]


def test_validation_is_the_block_before_the_test_and_keeps_away_from_it() -> None:
    split = split_runs(runs_of(1), SplitConfig(kind="block", blocks=4))
    assert split.inside == ("train", "train", "validation", "test")
    times = [124.0, 126.0, 150.0, 153.9, 154.1, 174.9, 175.0]
    found = parts_of(split, times, WindowSpec(length=1.0))
    assert found == ["train", "train", "validation", "validation", "", "", "test"]
    first = split_runs(runs_of(1), SplitConfig(kind="block", blocks=4, leave_out=("1",)))
    assert first.inside == ("test", "validation", "train", "train")


def test_training_intervals_keep_away_from_every_window_of_the_test() -> None:
    split = split_runs(runs_of(2), SplitConfig(kind="block", blocks=2, validation=0, reach=10))
    assert split.training_intervals("sub-1_run-1", 210.0, (100.0, 200.0)) == ((0.0, 120.0),)
    assert split.training_intervals("sub-1_run-1", 100.0) == ((0.0, 20.0),)
    middle = SplitConfig(kind="block", blocks=5, validation=0, reach=10, leave_out=("3",))
    found = split_runs(runs_of(1), middle).training_intervals("sub-1_run-1", 500.0)
    assert found == ((0.0, 170.0), (330.0, 500.0))


def test_training_intervals_are_whole_training_runs_elsewhere() -> None:
    split = split_runs(runs_of(4), SplitConfig())
    assert split.training_intervals("sub-1_run-1", 90.0) == ((0.0, 90.0),)
    assert split.training_intervals("sub-1_run-3", 90.0) == ()
    assert split.training_intervals("sub-1_run-4", 90.0) == ()


def test_a_window_longer_than_the_reach_is_refused() -> None:
    split = split_runs(runs_of(1), SplitConfig(kind="block"))
    with pytest.raises(ConfigError, match=r"further back.*31 s of window and lead"):
        parts_of(split, [100.0], WindowSpec(length=30.0, lead=1.0))


@pytest.mark.parametrize(
    ("values", "word"),
    [
        ({"kind": "block", "test": 4}, "no block for training"),
        ({"kind": "block", "leave_out": ["1", "3"]}, "side by side"),
        ({"kind": "block", "leave_out": ["9"]}, "blocks 1 to 5"),
        ({"kind": "shuffled"}, "--allow-shuffled"),
        ({"kind": "shuffled", "allow_shuffled": True, "leave_out": ["1"]}, "none with"),
    ],
)
def test_a_cut_that_cannot_be_made_is_refused(values: dict[str, object], word: str) -> None:
    with pytest.raises(ConfigError, match=word):
        split_runs(runs_of(2), SplitConfig.model_validate(values))


def test_shuffled_volumes_fall_into_parts_of_their_share() -> None:
    config = SplitConfig(kind="shuffled", allow_shuffled=True, blocks=4)
    split = split_runs(runs_of(1), config)
    found = parts_of(split, [float(i) for i in range(400)], WindowSpec(length=90.0))
    assert [found.count(part) for part in ("train", "validation", "test")] == [200, 100, 100]
    assert found != sorted(found)


def test_folds_are_a_runs_own_and_the_same_again() -> None:
    assert (scattered("a", 50, 5) == scattered("a", 50, 5)).all()
    assert (scattered("a", 50, 5) != scattered("b", 50, 5)).any()


def test_blocks_that_lie_side_by_side_are_one_interval() -> None:
    blocks = Blocks(("train", "train", "test"))
    assert blocks.intervals("train", (0.0, 90.0), 10.0) == ((-np.inf, 50.0),)


def test_the_scan_goes_from_the_first_onset_that_is_known_to_the_last() -> None:
    assert scanned(np.array([np.nan, 3.0, 5.0, np.nan]), 2.0) == (3.0, 7.0)
    assert scanned(np.array([np.nan]), 2.0) == (0.0, 0.0)
