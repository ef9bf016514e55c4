from __future__ import annotations

import pytest

from rtfeedback.online.silence import Silence, next_tick


def told(silence: Silence, first: float, last: float, *, gone: bool = False) -> list[float]:
    """Return when it tells, looked at each 20 ms."""
    times = [first + 0.02 * k for k in range(round((last - first) / 0.02))]
    return [now for now in times if silence.tells(now, gone=gone)]


def heard(*times: float) -> Silence:
    silence = Silence(after=0.5, period=2.0)
    silence.open(10.0)
    for now in times:
        silence.hear(now)
    return silence


def test_nothing_is_stale_before_a_stream_is_there() -> None:
    assert told(Silence(after=0.5, period=2.0), 0, 20) == []


def test_a_stream_that_sends_nothing_is_told_at_once_and_then_every_period() -> None:
    silence = heard()
    assert told(silence, 10, 17) == pytest.approx([10.52, 12.52, 14.52, 16.52], abs=0.021)
    assert silence.stale
    assert silence.heard is None


def test_eeg_ends_the_silence() -> None:
    silence = heard()
    assert told(silence, 10, 11)
    silence.hear(11)
    assert not silence.stale
    assert silence.heard == 11
    assert told(silence, 11, 11.5) == []
    assert told(silence, 11.5, 11.7) == pytest.approx([11.52], abs=0.021)


def test_a_stream_that_has_ended_need_not_be_waited_for() -> None:
    silence = heard(11.0)
    assert told(silence, 11.04, 16, gone=True) == pytest.approx(
        [11.04, 13.04, 15.04], abs=0.021
    )


def test_the_next_stream_does_not_end_the_silence_by_being_there() -> None:
    silence = heard(11.0)
    assert told(silence, 11.04, 12, gone=True)
    silence.open(12)
    assert told(silence, 12, 16) == pytest.approx([13.04, 15.04], abs=0.021)


def test_a_stream_in_long_chunks_is_stale_after_twice_its_usual_pause() -> None:
    silence = heard(*(11 + 0.8 * k for k in range(6)))
    assert told(silence, 15, 16.6) == []
    assert told(silence, 16.6, 16.8) == pytest.approx([16.62], abs=0.021)


def test_what_is_sent_at_once_and_pulled_in_parts_is_one_chunk() -> None:
    silence = heard(*(11 + 2 * k + part for k in range(6) for part in (0.0, 0.01, 0.02)))
    assert told(silence, 21.02, 25.0) == []
    assert told(silence, 25.0, 25.1) == pytest.approx([25.02], abs=0.061)


@pytest.mark.parametrize("pauses", [[30.0], [0.04, 30.0], [1.9, 0.04], [30.0, 30.0, 30.0]])
def test_a_pause_that_is_none_of_its_habit_makes_no_patience(pauses: list[float]) -> None:
    silence, now = heard(11.0), 11.0
    for pause in pauses:
        now += pause
        silence.hear(now)
    assert told(silence, now, now + 1) == pytest.approx([now + 0.52], abs=0.021)


def test_the_time_until_the_first_chunk_is_no_pause() -> None:
    assert told(heard(11.9), 11.9, 13) == pytest.approx([12.42], abs=0.021)


def test_another_stream_has_habits_of_its_own() -> None:
    silence = heard(*(11 + 0.8 * k for k in range(6)))
    silence.open(16)
    silence.hear(16.1)
    assert told(silence, 16.1, 17) == pytest.approx([16.62], abs=0.021)


def test_ticks_that_went_by_are_left_out() -> None:
    silence = heard(11.0)
    assert silence.tells(11.6, gone=False)
    assert silence.tells(18.0, gone=False)
    assert told(silence, 18.0, 20) == pytest.approx([19.6], abs=0.021)


@pytest.mark.parametrize(("now", "tick"), [(5.0, 5.5), (5.4, 5.5), (5.5, 6.0), (9.1, 9.5)])
def test_the_next_tick_is_still_to_come(now: float, tick: float) -> None:
    assert next_tick(5.0, 0.5, now) == pytest.approx(tick)


@pytest.mark.parametrize("died", [20.0, 20.1, 20.2, 20.24])
def test_who_waits_as_long_as_it_says_is_told_of_silence_the_moment_it_is_one(
    died: float,
) -> None:
    """Waits for many samples at once, that come one by one and are seen at its end only."""
    silence, now = heard(), 10.0
    while not silence.tells(now, gone=False):
        wait = silence.left(now)
        assert 0 < wait <= 0.25
        now += wait
        if min(now, died) > (silence.heard or 10.0):
            silence.hear(min(now, died))
    assert died + 0.5 < now <= died + 0.51
