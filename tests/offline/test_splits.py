from __future__ import annotations

import random

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from offline.splits import RunKey, Split, SplitConfig, split_runs
from rtfeedback.config import parse_config
from rtfeedback.errors import ConfigError, DatasetError


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


@pytest.mark.parametrize("values", [{"kind": "shuffled"}, {"test": 0}, {"validation": -1}])
def test_a_config_that_no_rule_can_follow_is_refused(values: dict[str, object]) -> None:
    with pytest.raises(ConfigError):
        parse_config(values, SplitConfig, source="split")
