"""What a run published is computed again, whatever happened to its EEG and its markers."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rtfeedback.errors import OutputError
from rtfeedback.online.settings import RunConfig
from rtfeedback.predictor import Predictor
from rtfeedback.replay.archive import Archive
from rtfeedback.replay.replay import replay
from rtfeedback.replay.report import is_same
from rtfeedback.signals import Chunk, Marker
from tests.lab import CHANNELS, RATE, TR, noise, stream_info
from tests.replay.conftest import RunIt, daemon_of
from tests.replay.troubled import (
    START,
    Life,
    Troubled,
    bursts,
    clean,
    cut,
    jittered,
    marked,
    not_numbers,
    shuffled,
    stepped,
    without,
)

CommandLine = Callable[..., tuple[int, str, list[str]]]

SECONDS = 20.0
BOTH: dict[str, Any] = {"markers": "markers", "hop": 0.25}
COUNTED: dict[str, Any] = {"tr": TR, "hop": 0.25}


def samples(seconds: float) -> int:
    return round(seconds * RATE)


def rng() -> np.random.Generator:
    return np.random.default_rng(1)


def said(archive: Archive) -> set[str]:
    """Return every reason and event of a run."""
    return {str(m.get("event") or m.get("reason")) for m in archive.messages}


def assert_computed_again(
    archive: Archive, predictor: Predictor, chunks: Sequence[int] = (33,)
) -> None:
    comparison = replay(archive, predictor)
    assert comparison.differences == []
    assert is_same(archive, comparison)
    for chunk in chunks:
        comparison = replay(archive, predictor, chunk)
        assert comparison.identical == len(comparison.published) == len(comparison.apart)


def twice(source: Troubled) -> Troubled:
    """Mark each second volume twice, the second time a little later."""
    doubles = [(at, Marker(m.stamp + 0.004, m.label)) for at, m in source.markers[::2]]
    return Troubled(source.lives, source.markers + doubles)


def stray(source: Troubled) -> Troubled:
    """Put in markers between volumes, of another label, and without a time."""
    odd = [
        (START + 3.2, Marker(START + 3.7, "R128")),
        (START + 4.1, Marker(START + 4.1, "S  1")),
        (START + 5.1, Marker(math.nan, "R128")),
        (START + 6.1, Marker(math.inf, "R128")),
        (START + 6.2, Marker(-math.inf, "\udc80é")),
    ]
    return Troubled(source.lives, source.markers + odd)


def delayed(source: Troubled, seconds: float) -> Troubled:
    """Let each third marker come late."""
    late = [(at + seconds * (k % 3 == 1), m) for k, (at, m) in enumerate(source.markers)]
    return Troubled(source.lives, late)


def again(*lives: Life) -> list[Life]:
    """Let lives follow each other, 2 s of silence between them."""
    begins = [
        START + k * (2.0 + len(life.stamps) / RATE) - life.stamps[0]
        for k, life in enumerate(lives)
    ]
    return [replace(x, stamps=x.stamps + by) for x, by in zip(lives, begins, strict=True)]


Case = tuple[Callable[[], Troubled], dict[str, Any], set[str]]
WHOLE = Troubled([clean(SECONDS)], marked(SECONDS))
LIFE = WHOLE.lives[0]

# By name: what came, what the run was told, and what it has to have said.
CASES: dict[str, Case] = {
    "nothing is wrong": (lambda: Troubled([LIFE], WHOLE.markers), BOTH, {"volume"}),
    "volumes are counted": (lambda: Troubled([LIFE]), COUNTED, set()),
    "hops only": (lambda: Troubled([LIFE]), {"hop": 0.1}, set()),
    "volumes only": (lambda: Troubled([LIFE], WHOLE.markers), {"markers": "m"}, {"volume"}),
    "a gap": (
        lambda: Troubled([without(LIFE, (2500, 2600))], WHOLE.markers),
        BOTH,
        {"gap"},
    ),
    "samples lost here and there": (
        lambda: Troubled(
            [without(LIFE, *((at, at + 1 + at % 3) for at in range(1000, 4500, 300)))],
            WHOLE.markers,
        ),
        BOTH,
        {"rate"},
    ),
    "stamps jump back": (
        lambda: Troubled([stepped(LIFE, 3000, -0.3)], WHOLE.markers),
        BOTH,
        {"gap"},
    ),
    "the clock is set back": (
        lambda: Troubled([stepped(LIFE, 3000, -1500.0)], WHOLE.markers),
        BOTH,
        {"gap"},
    ),
    "the clock is set ahead": (
        lambda: Troubled([stepped(LIFE, 2500, 9000.0)]),
        COUNTED,
        {"gap"},
    ),
    "jitter": (
        lambda: Troubled([jittered(LIFE, 0.002, rng())], WHOLE.markers),
        BOTH,
        set(),
    ),
    "samples that are no numbers": (
        lambda: Troubled(
            [not_numbers(LIFE, (500, 510), (3000, 3001), (4000, 4100))], WHOLE.markers
        ),
        BOTH,
        {"gap"},
    ),
    "stamps that are no numbers": (
        lambda: Troubled(
            [replace(LIFE, stamps=np.where(np.arange(5000) % 1700 == 9, np.nan, LIFE.stamps))]
        ),
        COUNTED,
        {"gap"},
    ),
    "artefacts": (
        lambda: Troubled([bursts(LIFE, (2200, 2240), (2900, 3700))], WHOLE.markers),
        BOTH,
        {"artefact"},
    ),
    "odd chunks": (
        lambda: Troubled([cut(LIFE, 1, 33, 7, 2, 250, 90)], WHOLE.markers),
        BOTH,
        set(),
    ),
    "chunks of seconds": (
        lambda: Troubled([cut(LIFE, 700, 1100)], WHOLE.markers),
        BOTH,
        {"volume"},
    ),
    "late markers": (lambda: delayed(WHOLE, 1.3), BOTH, {"late_marker"}),
    "markers that are far too late": (
        lambda: delayed(WHOLE, 3.5),
        BOTH,
        {"late_marker", "missing", "tr_unknown"},
    ),
    "missing markers": (
        lambda: Troubled([LIFE], [m for k, m in enumerate(WHOLE.markers) if k % 5 != 3]),
        BOTH,
        {"inserted"},
    ),
    "doubled markers": (lambda: twice(WHOLE), BOTH, {"doubled"}),
    "stray markers": (lambda: stray(WHOLE), BOTH, {"stray"}),
    "another TR": (
        lambda: Troubled([LIFE], marked(SECONDS, tr=1.5)),
        BOTH,
        {"tr", "tr_unknown"},
    ),
    "another TR, without hops": (
        lambda: Troubled([LIFE], marked(SECONDS, tr=0.75)),
        {"markers": "m"},
        {"tr"},
    ),
    "a scanner that stops": (
        lambda: Troubled([LIFE], marked(9.0)),
        {"markers": "m"},
        {"scanner_stopped", "no_volume"},
    ),
    "the stream comes back with channels in another order": (
        lambda: Troubled(again(clean(10), shuffled(clean(10, seed=5), rng())), marked(22)),
        BOTH,
        {"lost", "reconnect", "stale", "gap"},
    ),
    "the stream comes back twice, and its clock is another": (
        lambda: Troubled(
            [clean(9), clean(9, seed=2, start=70.0), clean(9, seed=3, start=9000.0)]
        ),
        COUNTED,
        {"lost", "reconnect", "stale", "gap"},
    ),
    "the markers end and come back": (
        lambda: Troubled([LIFE], WHOLE.markers, markers_end=START + 9),
        BOTH,
        {"lost", "reconnect"},
    ),
    "chunks that have waited": (
        lambda: Troubled([replace(LIFE, late=frozenset(range(90, 110)))], WHOLE.markers),
        BOTH,
        {"late"},
    ),
    "chunks that have waited, and another TR": (
        lambda: Troubled(
            [replace(LIFE, late=frozenset(range(90, 200, 7)))], marked(SECONDS, tr=1.5)
        ),
        {"markers": "m"},
        {"late", "missing", "tr_unknown"},
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_what_was_published_is_computed_again(
    run: RunIt, predictor: Predictor, case: str
) -> None:
    source, options, due = CASES[case]
    archive = run(source(), **options)
    assert due <= said(archive), "the case is not what it is called"
    assert (
        any(m.get("valid") for m in archive.messages) or case == "samples lost here and there"
    )
    assert_computed_again(archive, predictor)


def test_what_was_published_is_computed_again_sample_by_sample(
    run: RunIt, predictor: Predictor
) -> None:
    life = bursts(without(clean(12), (1900, 1940)), (2300, 2320))
    archive = run(delayed(Troubled([life], marked(12)), 0.9), **BOTH)
    assert_computed_again(archive, predictor, (1, 7, 250))


def test_what_was_published_while_a_stream_was_refused_is_computed_again(
    run: RunIt, predictor: Predictor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rtfeedback.online.inputs.REFUSED", 0.1)
    other = Life(stream_info(CHANNELS[1:]), noise(4)[:, 1:], LIFE.stamps[:1000])
    lives = again(clean(10), other, other, clean(10, seed=4))
    archive = run(Troubled(lives), hop=0.05)
    assert {"refused", "stale", "gap"} <= said(archive)
    assert [m["seq"] for m in archive.messages if m.get("reason") == "refused"]
    assert_computed_again(archive, predictor)


def test_what_had_come_when_the_run_was_told_to_end_is_recorded_and_computed_again(
    tmp_path: Path, predictor: Predictor, monkeypatch: pytest.MonkeyPatch
) -> None:
    pulls = Life.pulls

    def pulled(life: Life) -> Iterator[Chunk]:
        for k, chunk in enumerate(pulls(life)):
            if k == 300:
                daemons[0].stop()
            yield chunk

    monkeypatch.setattr(Life, "pulls", pulled)
    daemons = [daemon_of(tmp_path, predictor, Troubled([cut(LIFE, 7)]), **COUNTED)]
    daemons[0].run()
    archive = Archive(daemons[0].folder.path)
    received = [len(x.stamps) for x in archive.received() if isinstance(x, Chunk)]
    assert sum(received) == archive.messages[-1]["samples_received"] == 301 * 7
    assert_computed_again(archive, predictor)


def test_what_was_published_with_settings_of_its_own_is_computed_again(
    run: RunIt, predictor: Predictor
) -> None:
    markers = [(at, Marker(m.stamp, "Scan-é")) for at, m in WHOLE.markers]
    life = without(LIFE, (2000, 2020), (2700, 2730))  # 80 ms and 120 ms
    config = RunConfig.model_validate(
        {
            "session": {"subject": "x7", "run": "4", "environment": "outside"},
            "stream": {"gap": 0.1, "volume_labels": ["Scan-é"], "outlet": ""},
        }
    )
    options = {**BOTH, "accept_domain_shift": True}
    archive = run(Troubled([life], markers), config=config, **options)
    assert len([m for m in archive.messages if m.get("event") == "gap"]) == 1
    assert {tuple(m["flags"]) for m in archive.messages if "seq" in m} == {("domain_shift",)}
    assert_computed_again(archive, predictor)


def test_what_was_recorded_before_the_disk_was_full_is_computed_again(
    tiny_disk: Path,
    predictor: Predictor,
    rtfeedback: CommandLine,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("rtfeedback.online.telling.KEEP", 0.0)  # the run takes no second
    daemon = daemon_of(tiny_disk, predictor, Troubled([clean(60)], marked(60)), **BOTH)
    with pytest.raises(OutputError, match="is not whole"):
        daemon.run()
    folder = daemon.folder.path
    archive = Archive(folder)
    assert not archive.closed
    n = len([m for m in archive.messages if m["topic"] == "feedback"])
    assert 0 < n < 60 / 0.25
    code, out, _ = rtfeedback("replay", folder, "--device", "cpu")
    assert code == 0
    assert out.startswith(f"{n} of {n} identical\n")
    assert "its disk was full" in out


@pytest.mark.parametrize("seed", range(8))
def test_what_was_published_is_computed_again_after_a_bad_day(
    run: RunIt, predictor: Predictor, seed: int
) -> None:
    source, options = bad_day(np.random.default_rng(seed))
    archive = run(source, **options)
    assert_computed_again(archive, predictor, (7,))


def bad_day(rng: np.random.Generator) -> tuple[Troubled, dict[str, Any]]:
    """Return a source to which some of everything happens, and how it is listened to."""
    lives = again(*(bad_life(rng) for _ in range(rng.integers(1, 3))))
    markers = marked(25, tr=float(rng.choice([0.8, 1.0, 1.0, 1.5])), first=rng.uniform(0, 3))
    kept = [pair for pair in markers if rng.random() < 0.9]
    late = [(at + rng.exponential(0.2), marker) for at, marker in kept]
    source = Troubled(lives, late, START + rng.uniform(0, 60))
    source = twice(source) if rng.random() < 0.3 else source
    source = stray(source) if rng.random() < 0.3 else source
    options: list[dict[str, Any]] = [BOTH, COUNTED, {"markers": "m"}, {"hop": 0.1}, {"tr": 0.9}]
    return source, options[int(rng.integers(len(options)))]


def bad_life(rng: np.random.Generator) -> Life:
    """Return EEG to which some of everything happens."""
    life = clean(rng.uniform(4, 14), seed=int(rng.integers(1000)))
    n = len(life.stamps)

    def spans(most: int, longest: int) -> list[tuple[int, int]]:
        firsts = rng.integers(0, n, rng.integers(0, most))
        return [(int(at), int(at + rng.integers(1, longest))) for at in firsts]

    life = bursts(not_numbers(life, *spans(2, 20)), *spans(3, 300))
    life = without(life, *spans(3, 200), *spans(4, 3))
    life = jittered(life, float(rng.choice([0, 1e-6, 1e-3])), rng)
    if rng.random() < 0.4:
        by = float(rng.choice([-2000, -0.7, -0.05, 0.5, 5000]))
        life = stepped(life, int(rng.integers(len(life.stamps))), by)
    if rng.random() < 0.5:
        life = shuffled(life, rng)
    late = frozenset(rng.integers(0, 300, rng.integers(0, 9)).tolist())
    sizes: list[tuple[int, ...]] = [(1, 33, 7), (10,), (33,), (250,), (600, 3)]
    chunks = sizes[int(rng.integers(len(sizes)))]
    return replace(life, late=late, chunks=chunks)
