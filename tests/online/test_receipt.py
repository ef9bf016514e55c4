from __future__ import annotations

from rtfeedback.online.receipt import SETTLE, STALL, Receipt

PULL = 0.02  # s that each pull here may wait


def pull(receipt: Receipt, now: float, *, waiting: bool = False) -> float:
    return receipt.date(now, waited=PULL, waiting=waiting)


def test_samples_are_as_young_as_their_pull_while_pulls_go_on() -> None:
    receipt = Receipt(0.0)
    for k in range(1, 100):
        assert pull(receipt, 0.1 * k) == 0.1 * k


def test_samples_after_a_stall_are_as_old_as_the_last_pull_before_it() -> None:
    receipt = Receipt(0.9)
    pull(receipt, 1.0)
    assert pull(receipt, 4.0) == 1.0


def test_opening_counts_as_a_pull() -> None:
    assert Receipt(5.0).date(5.0 + STALL + 1, waited=PULL, waiting=False) == 5.0


def test_a_pull_that_waited_long_for_its_samples_is_no_stall() -> None:
    receipt = Receipt(0.0)
    assert receipt.date(9.0, waited=10.0, waiting=False) == 9.0


def test_what_a_full_pull_left_behind_is_as_old_as_the_last_one_that_left_nothing() -> None:
    receipt = Receipt(0.9)
    pull(receipt, 1.0)
    assert pull(receipt, 1.1, waiting=True) == 1.1
    assert pull(receipt, 1.2, waiting=True) == 1.0
    assert pull(receipt, 1.3) == 1.0
    assert pull(receipt, 1.4) == 1.4


def test_a_backlog_is_old_to_its_end() -> None:
    receipt = Receipt(0.9)
    pull(receipt, 1.0)
    dates = [pull(receipt, 4.0 + 0.01 * k, waiting=k < 20) for k in range(21)]
    assert set(dates) == {1.0}
    assert pull(receipt, 4.3) == 4.3


def test_a_backlog_that_comes_in_piece_by_piece_is_old_until_it_has_settled() -> None:
    receipt = Receipt(0.9)
    pull(receipt, 1.0)
    assert pull(receipt, 4.0) == 1.0  # the first piece, and no more was there yet
    assert pull(receipt, 4.0 + SETTLE / 2) == 1.0
    assert pull(receipt, 4.0 + SETTLE) == 1.0
    assert pull(receipt, 4.1 + SETTLE) == 4.1 + SETTLE


def test_no_sample_looks_younger_than_it_is_by_more_than_a_stall() -> None:
    receipt, taken, now = Receipt(0.0), 0, 0.0
    for k in range(500):
        now += (0.02, 0.2, 3.0, 0.01, 0.02, 0.05, 0.3, 0.001)[k % 8]
        there = round(now / 0.004)  # a sample comes each 4 ms
        n = min(there - taken, 100)
        received = pull(receipt, now, waiting=n == 100)
        assert received <= now
        assert received <= 0.004 * (taken + 1) + PULL + STALL  # when the oldest of them came
        taken += n
