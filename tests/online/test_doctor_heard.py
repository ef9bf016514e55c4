"""What the pre-flight says of EEG and markers, whatever they came by."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from rtfeedback.checkpoint import CheckpointSpec
from rtfeedback.doctor.finding import Finding
from rtfeedback.doctor.listening import MOST, Heard, listen
from rtfeedback.doctor.stream import StreamExamination
from rtfeedback.doctor.timing import check_timing
from rtfeedback.online.memory import MemorySource
from rtfeedback.online.settings import StreamConfig
from rtfeedback.online.source import StreamLost
from rtfeedback.signals import Bool, Chunk, Float32, Marker, StreamInfo
from tests.lab import CHANNELS, RATE, TR, checkpoint_spec, noise, stream_info
from tests.online.findings import found, spec_with_limits, subjects

SECONDS = 6.0
N = round(SECONDS * RATE)


def examine(
    samples: Float32 | None = None,
    spec: CheckpointSpec | None = None,
    *,
    info: StreamInfo | None = None,
    config: StreamConfig | None = None,
    **source: Any,
) -> list[Finding]:
    samples = noise(SECONDS) if samples is None else samples
    memory = MemorySource(info or stream_info(), samples, **source)
    tr = spec.tr if spec else None
    return list(StreamExamination(memory, spec, tr, config or StreamConfig(), seconds=60.0))


def volumes(label: str, tr: float = TR, n: int = 6) -> list[Marker]:
    return [Marker(0.1 + tr * k, label) for k in range(n)]


# --------------------------------------------------------------------------- channels


def test_without_a_checkpoint_any_eeg_is_judged() -> None:
    findings = examine()
    assert {f.verdict for f in findings} == {"ok"}, findings
    assert found(findings, "channels", "ok").found == f"EEG: {', '.join(CHANNELS)}"


def test_a_rate_that_the_chain_was_not_made_for_is_refused() -> None:
    findings = examine(spec=checkpoint_spec(), info=stream_info(rate=500.0))
    assert "500 Hz" in found(findings, "channels", "fail").found


def test_a_stream_without_eeg_is_not_guessed_at() -> None:
    findings = examine(info=stream_info(kinds=("misc",) * len(CHANNELS)))
    assert subjects(findings, "warn") == {"channels"}
    assert "amplitude" not in subjects(findings, "ok")


# -------------------------------------------------------------------------------- time


def test_lost_samples_are_counted_and_told() -> None:
    stamps = np.arange(N) / RATE
    stamps[500:] += 0.2
    losses = found(examine(spec=spec_with_limits(), stamps=stamps), "losses", "warn")
    assert losses.found.startswith("50 samples lost in 1 gaps")


def test_losses_that_leave_no_window_whole_fail() -> None:
    stamps = np.arange(N) / RATE
    stamps += 0.2 * (np.arange(N) // 150)
    findings = examine(spec=spec_with_limits(), stamps=stamps)
    assert found(findings, "losses", "fail")


def test_losses_that_leave_time_for_windows_between_them_are_no_failure() -> None:
    stamps = np.arange(4 * N) / RATE
    stamps += 0.2 * (np.arange(4 * N) // (2 * N))
    stamps[-10:] += 0.2
    findings = examine(noise(4 * SECONDS), spec_with_limits(), stamps=stamps)
    assert found(findings, "losses", "warn").found.startswith("100 samples lost in 2 gaps")


def test_jitter_is_measured_and_no_other_rate() -> None:
    stamps = np.arange(N) / RATE + np.random.default_rng(2).normal(0, 0.002, N)
    rate = found(examine(spec=spec_with_limits(), stamps=stamps), "rate", "ok")
    assert "jitter 2." in rate.found or "jitter 1." in rate.found


def test_a_rate_that_jitter_hides_is_not_judged() -> None:
    stamps = np.arange(N) / RATE + np.random.default_rng(2).normal(0, 0.04, N)
    config = StreamConfig(gap=2.0)
    rate = found(examine(stamps=stamps, config=config), "rate", "warn")
    assert "listen for longer" in rate.do


def test_a_second_is_too_little_to_tell_a_rate() -> None:
    rate = found(examine(noise(0.8)), "rate", "warn")
    assert "--duration" in rate.do


def heard(lags: list[float], *, seconds: float = 5.0) -> Heard:
    """Return ten chunks of 0.1 s, whose samples were so late."""
    chunks = [
        Chunk(noise(0.1), np.arange(25 * k, 25 * k + 25) / RATE, received=0.1 * k)
        for k in range(10)
    ]
    return Heard(seconds=seconds, chunks=chunks, lags=lags, n_samples=250)


def every(chunk: Chunk) -> Bool:
    return np.ones(len(chunk.stamps), dtype=np.bool_)


def lag(lags: list[float]) -> Finding:
    [one] = [f for f in check_timing(heard(lags), RATE, every) if f.subject == "lag"]
    return one


def test_eeg_that_arrives_old_is_told() -> None:
    assert lag([0.010] * 9 + [0.030]).verdict == "ok"
    assert lag([0.010] * 9 + [0.030]).found.startswith("The newest sample is 10.0 ms old")
    assert lag([0.4] * 10).verdict == "warn"
    assert "ahead of the clock" in lag([-0.4] * 10).do


def test_a_recording_that_is_played_fast_is_told_by_its_pace() -> None:
    played = lag([-1.5 * k for k in range(11)])  # 15 s more of stamps than of clock, in 5 s
    assert "4.0 times faster" in played.found


# ----------------------------------------------------------------------------- numbers


def test_a_channel_that_is_no_number_fails_by_name() -> None:
    samples = noise(SECONDS)
    samples[:, CHANNELS.index("Pz")] = np.nan
    findings = examine(samples, spec_with_limits())
    assert "100% of the samples of Pz" in found(findings, "numbers", "fail").found


def test_some_samples_that_are_no_numbers_are_losses() -> None:
    samples = noise(SECONDS)
    samples[500:510, CHANNELS.index("Pz")] = np.nan
    findings = examine(samples, spec_with_limits())
    assert "of Pz" in found(findings, "numbers", "warn").found
    assert "10 samples lost" in found(findings, "losses", "warn").found


def test_an_auxiliary_channel_may_be_anything() -> None:
    samples = np.column_stack([noise(SECONDS), np.full(N, np.nan, np.float32)])
    info = stream_info((*CHANNELS, "EOG"))
    findings = examine(samples, spec_with_limits(), info=info)
    assert subjects(findings, "warn") | subjects(findings, "fail") == set()


def test_mains_are_told_with_their_worst_channel() -> None:
    hum = 300 * np.sin(2 * np.pi * 50 * np.arange(N) / RATE)
    samples = noise(SECONDS) + np.outer(hum, [1, -1, 1, -1, 3]).astype(np.float32)
    mains = found(examine(samples, checkpoint_spec()), "mains", "warn")
    assert mains.found.startswith("50 Hz")
    assert "most in Pz" in mains.found
    assert "a notch takes it out" in mains.do


def test_a_flat_channel_is_told_where_no_limits_were_fitted() -> None:
    samples = noise(SECONDS)
    samples[:, CHANNELS.index("Cz")] = 0.0
    findings = examine(samples, checkpoint_spec())
    assert found(findings, "flat channels", "warn").found.startswith("Cz: never changed")


def test_a_channel_that_was_flat_for_a_while_is_told() -> None:
    samples = noise(SECONDS)
    samples[:375, CHANNELS.index("C3")] = 1.0
    findings = examine(samples, checkpoint_spec())
    assert found(findings, "flat channels", "warn").found.startswith("C3: 25% flat")


def test_zeros_at_the_end_of_a_recording_are_no_flat_channel() -> None:
    samples = noise(70.0)
    samples[-150:] = 0.0  # one block in 140
    assert found(examine(samples, checkpoint_spec()), "flat channels", "ok")


def test_an_artefact_that_passes_is_no_refusal() -> None:
    samples = noise(SECONDS)
    samples[900:, 0] *= 60
    findings = examine(samples, spec_with_limits())
    assert "Fp1" in found(findings, "artefacts", "warn").found


def test_gradient_artefact_fails_for_a_checkpoint_of_clean_eeg() -> None:
    gradient = np.random.default_rng(1).normal(0, 2000, (round(TR * RATE), len(CHANNELS)))
    samples = noise(12.0) + np.tile(gradient, (12, 1)).astype(np.float32)
    findings = examine(samples, checkpoint_spec())
    assert "gradient artefact" in found(findings, "scanner_artefact", "fail").found


def test_gradient_artefact_is_looked_for_at_the_tr_that_the_markers_show() -> None:
    gradient = np.random.default_rng(1).normal(0, 2000, (round(0.6 * RATE), len(CHANNELS)))
    samples = noise(12.0) + np.tile(gradient, (20, 1)).astype(np.float32)
    markers = volumes("R128", 0.6, 18)
    findings = examine(samples, checkpoint_spec(), markers=markers)
    assert "repeats every 0.6 s" in found(findings, "scanner_artefact", "fail").found


# ----------------------------------------------------------------------------- markers


def test_markers_that_are_no_volumes_are_told() -> None:
    markers = [Marker(0.5, "cue"), Marker(1.5, "cue"), Marker(2.5, "rest")]
    warned = found(examine(spec=checkpoint_spec(), markers=markers), "markers", "warn")
    assert "'cue' x 2, 'rest' x 1" in warned.found
    assert "volume_labels" in warned.do


def test_the_run_s_own_labels_count() -> None:
    config = StreamConfig(volume_labels=("cue",))
    findings = examine(spec=checkpoint_spec(), markers=volumes("cue"), config=config)
    assert found(findings, "TR", "ok").found.startswith("1 s")


def test_two_markers_show_no_tr() -> None:
    findings = examine(spec=checkpoint_spec(), markers=volumes("R128", 0.7, 2))
    assert "5 even markers show what it is" in found(findings, "TR", "ok").found


@pytest.mark.parametrize(
    "onsets", [[0.1, 1.7, 2.0, 3.9, 4.2, 5.9], [0.1, 1.1, 2.1, 3.5, 3.9, 4.5]]
)
def test_irregular_markers_show_no_tr_and_are_told(onsets: list[float]) -> None:
    markers = [Marker(onset, "R128") for onset in onsets]
    irregular = found(examine(spec=checkpoint_spec(), markers=markers), "TR", "warn")
    assert irregular.found.startswith("6 markers of volumes came, and their intervals do not")


def test_cues_between_volumes_do_not_make_them_irregular() -> None:
    markers = [*volumes("R128"), *(Marker(0.33 * k**1.3, "cue") for k in range(8))]
    assert found(examine(spec=checkpoint_spec(), markers=markers), "TR", "ok")


# --------------------------------------------------------------------------- listening


class Endless:
    """A stream that sends a second of EEG whenever it is asked."""

    description, notes = "", ()

    def __init__(self) -> None:
        self.info = stream_info()

    def pull(self, timeout: float, wanted: int = 1) -> Chunk | None:
        return Chunk(noise(1.0), np.arange(250) / RATE, 0.0)

    def close(self) -> None: ...


class Ending(Endless):
    """A stream that ends after some seconds."""

    def __init__(self, seconds: int) -> None:
        super().__init__()
        self.left = seconds

    def pull(self, timeout: float, wanted: int = 1) -> Chunk | None:
        self.left -= 1
        if self.left < 0:
            raise StreamLost("The stream 'EEG' has ended", do="Restart it")
        return super().pull(timeout)


class Beats:
    """Markers, one whenever they are asked for."""

    name, description = "beats", ""

    def pull(self) -> list[Marker]:
        return [Marker(0.0, "R128")]

    def close(self) -> None: ...


def ticks() -> Any:
    """Return a clock that goes on by a second each time that it is read."""
    return iter(np.arange(1e6).tolist()).__next__


def test_no_more_is_kept_than_memory_has_room_for() -> None:
    got = listen(Endless(), None, 1e9, clock=lambda: 0.0, now=ticks())
    assert got.n_samples == (MOST + 1) * RATE


def test_markers_are_given_the_time_to_show_their_tr() -> None:
    silent = listen(Endless(), None, 5.0, longest=30.0, clock=lambda: 0.0, now=ticks())
    beating = listen(Endless(), Beats(), 5.0, longest=30.0, clock=lambda: 0.0, now=ticks())
    assert (silent.seconds, beating.seconds) == (5.0, 30.0)


def test_what_came_before_a_stream_ended_is_kept() -> None:
    got = listen(Ending(2), None, 60.0, clock=lambda: 0.0, now=ticks())
    assert (got.n_samples, got.ended) == (2 * RATE, "The stream 'EEG' has ended")


class Silenced(Beats):
    """Markers whose stream has ended."""

    def pull(self) -> list[Marker]:
        raise StreamLost("The stream 'beats' has ended", do="Restart it")


def test_markers_that_end_do_not_end_the_eeg() -> None:
    got = listen(Endless(), Silenced(), 5.0, clock=lambda: 0.0, now=ticks())
    assert (got.seconds, got.ended) == (5.0, "")
    assert got.markers_ended == "The stream 'beats' has ended"


@pytest.mark.parametrize("seconds", [0, 2])
def test_a_stream_that_ends_meanwhile_fails(
    seconds: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = MemorySource(stream_info(), noise(1.0))
    monkeypatch.setattr(source, "open_stream", lambda **how: Ending(seconds))
    findings = list(StreamExamination(source, None, None, StreamConfig()))
    assert "has ended while it was listened to" in found(findings, "stream", "fail").found
    assert ("numbers" in subjects(findings, "ok")) == (seconds > 0)
