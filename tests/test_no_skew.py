"""What the daemon computes on is what training saw: the same volumes, the same bits."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import numpy as np
import pytest

from offline.alignment.align import align
from offline.eeg.features import through_chain
from offline.eeg.recordings import Recording
from offline.store.dataset import Run, window_at
from offline.store.manifest import RunManifest, StoreManifest
from rtfeedback.chain import Chain, ChainConfig, ChainSpec
from rtfeedback.chain.spec import BandPowerConfig
from rtfeedback.online.line import Line
from rtfeedback.online.trclock import TRClock
from rtfeedback.online.volumes import CountedVolumes
from rtfeedback.signals import Chunk, Float32, Marker, StreamInfo
from rtfeedback.windows import WindowSpec, volumes_ahead

pytest.importorskip("mne")

TR, N_VOLUMES, OFFSET = 2.0, 40, 417123.456789  # s from the recording's clock to LSL's
NAMES = ("Fp1", "Cz", "ECG", "O2", "C3", "C4", "Pz")
KINDS = ("eeg", "eeg", "ecg", "eeg", "eeg", "eeg", "eeg")
MODEL = ("C3", "Cz", "C4", "O2")
MISSING = (3, 17, 18)  # markers; and that of volume 25 is told twice
CLOCK = 40e-6  # s by which the clocks of two inlets differ

Windows = dict[int, Float32]

both_chains = pytest.mark.parametrize(
    "power", [None, BandPowerConfig()], ids=["samples", "tokens"]
)
each_lead = pytest.mark.parametrize("lead", [0.0, 2.5, 5.0])
short_leads = pytest.mark.parametrize("lead", [0.0, 2.5])
each_rate = pytest.mark.parametrize("sfreq", [160.0, 250.0, 256.0, 1000.0])


def recorded(
    sfreq: float,
    phase: float,
    *,
    missing: Collection[int] = MISSING,
    slices: int = 1,
    late: int = 0,
) -> Recording:
    """Return a run whose first volume begins `phase` seconds into it.

    Every fifth marker may be some samples late.
    """
    n_times, rng = round((phase + N_VOLUMES * TR + 0.4) * sfreq), np.random.default_rng(0)
    drift = rng.normal(0, 0.5, (n_times, len(NAMES))).cumsum(axis=0)
    samples = rng.normal(rng.normal(0, 5e3, len(NAMES)), 20, (n_times, len(NAMES))) + drift
    marked = [k for k in range(N_VOLUMES * slices) if k not in {n * slices for n in missing}]
    onsets = [phase + k * TR / slices + (k % 5 == 4) * late / sfreq for k in marked]
    if slices == 1:
        onsets = sorted([*onsets, phase + 25 * TR + 0.1])
    info = StreamInfo("run", sfreq, NAMES, KINDS, ("µV",) * len(NAMES))
    markers = (Marker(0.01, "S  1"), *(Marker(onset, "R128") for onset in onsets))
    return Recording(info, samples.astype(np.float32), markers)


def spec_of(sfreq: float, power: BandPowerConfig | None) -> ChainSpec:
    return ChainSpec(config=ChainConfig(band_power=power), channels=MODEL, sfreq=sfreq)


def at_the_desk(
    folder: Path, recording: Recording, chain: ChainSpec, window: WindowSpec
) -> Windows:
    """Return the windows of a run by their volume, out of a store as `prepare` writes it."""
    features, stamps = through_chain(recording, chain)
    duration = len(recording.samples) / chain.sfreq
    alignment = align(
        "run", recording.markers, (), tr=TR, n_volumes=N_VOLUMES, duration=duration
    )
    (folder / "run").mkdir()
    for name, array in (("c", features), ("c_stamps", stamps), ("onsets", alignment.onsets)):
        np.save(folder / "run" / f"{name}.npy", array)
    manifest = SimpleNamespace(name="run", tr=TR, marked_tr=alignment.tr, n_volumes=N_VOLUMES)
    store = SimpleNamespace(chains={"c": chain})
    run = Run(folder / "run", cast(RunManifest, manifest), cast(StoreManifest, store))
    examples = run.examples("c", window)
    n_times = window.n_times(chain.rate)
    return {
        int(volume): window_at(run.features("c"), int(end), n_times)
        for volume, end in zip(examples.volumes, examples.ends, strict=True)
    }


SIZES = (0, 1, 3, 8, 25, 100, 500, 1999)  # samples of a chunk; most are some seconds


def cut(n_times: int, rng: np.random.Generator, sizes: Sequence[int]) -> Iterator[slice]:
    """Yield chunks of any of some sizes."""
    first = 0
    while first < n_times:
        size = int(rng.choice(sizes))
        yield slice(first, first + size)
        first += size


def in_the_lab(
    recording: Recording,
    chain: ChainSpec,
    window: WindowSpec,
    *,
    hop: float | None = None,
    counted: bool = False,
    jitter: float = 0.0,
    seed: int = 0,
    sizes: Sequence[int] = SIZES,
) -> Windows:
    """Return the valid windows by their volume; the stream has its channels otherwise."""
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(NAMES))
    info = StreamInfo(
        "EEG",
        chain.sfreq,
        tuple(NAMES[i].upper() for i in order),
        tuple(KINDS[i] for i in order),
        ("microvolts",) * len(NAMES),
    )
    volumes = CountedVolumes(TR) if counted else TRClock(TR)
    line = Line(Chain(chain, info), window, volumes, hop=hop)
    times = np.arange(len(recording.samples)) / chain.sfreq + OFFSET
    stamps = times + rng.uniform(-jitter, jitter, len(times))
    markers = [
        Marker(marker.stamp + OFFSET + rng.uniform(-CLOCK, CLOCK) / 2, marker.label)
        for marker in recording.markers
    ]
    found: Windows = {}
    for at in cut(len(times), rng, sizes):
        while markers and markers[0].stamp <= times[min(at.stop, len(times)) - 1] + 0.03:
            line.mark(markers.pop(0))
        chunk = Chunk(recording.samples[at][:, order], stamps[at], 0.0)
        for due in line.push(chunk):
            if due.valid and due.volume is not None:
                assert due.volume not in found
                found[due.volume] = due.data.copy()
    return found


def assert_same(lab: Windows, desk: Windows, window: WindowSpec, chain: ChainSpec) -> None:
    # The desk drops volumes past the BOLD's end; a forecast in the lab may name one.
    lab = {volume: data for volume, data in lab.items() if volume < N_VOLUMES}
    # A volume without a marker is inserted when its window falls due, and so not where a
    # chunk of seconds, or a lead that ends it late, brought the next marker before.
    assert lab.keys() <= desk.keys()
    ahead = volumes_ahead(window, TR, chain.rate)
    assert {volume - ahead for volume in desk.keys() - lab.keys()} <= {*MISSING}
    assert len(lab) >= 25
    for volume, data in lab.items():
        assert desk[volume].dtype == data.dtype == np.float32
        np.testing.assert_array_equal(desk[volume].view(np.int32), data.view(np.int32))


@each_rate
@each_lead
@both_chains
def test_the_daemon_sees_the_windows_that_training_saw(
    tmp_path: Path, sfreq: float, lead: float, power: BandPowerConfig | None
) -> None:
    recording, chain = recorded(sfreq, phase=1.0), spec_of(sfreq, power)
    window = WindowSpec(length=6.0, lead=lead)
    desk = at_the_desk(tmp_path, recording, chain, window)
    for seed in range(2):
        assert_same(in_the_lab(recording, chain, window, seed=seed), desk, window, chain)


@pytest.mark.parametrize("phase", [0.3337, 1.9, 2.468])
@both_chains
def test_wherever_the_onsets_lie_between_samples(
    tmp_path: Path, phase: float, power: BandPowerConfig | None
) -> None:
    recording, chain = recorded(250.0, phase), spec_of(250.0, power)
    window = WindowSpec(length=6.0, lead=5.0, slice_ref=0.37)
    desk = at_the_desk(tmp_path, recording, chain, window)
    assert_same(in_the_lab(recording, chain, window), desk, window, chain)


@both_chains
@pytest.mark.parametrize("hop", [0.25, 0.5, 0.73])
def test_hops_between_volumes_change_no_volume(
    tmp_path: Path, hop: float, power: BandPowerConfig | None
) -> None:
    recording, chain = recorded(250.0, phase=1.0), spec_of(250.0, power)
    window = WindowSpec(length=6.0, lead=2.5)
    desk = at_the_desk(tmp_path, recording, chain, window)
    assert_same(in_the_lab(recording, chain, window, hop=hop), desk, window, chain)


@both_chains
def test_jittered_stamps_change_no_window_of_aligned_onsets(
    tmp_path: Path, power: BandPowerConfig | None
) -> None:
    recording, chain = recorded(250.0, phase=1.0), spec_of(250.0, power)
    window = WindowSpec(length=6.0)
    desk = at_the_desk(tmp_path, recording, chain, window)
    for seed in range(3):
        lab = in_the_lab(recording, chain, window, jitter=0.2e-3, seed=seed)
        assert_same(lab, desk, window, chain)


@short_leads
@both_chains
@pytest.mark.parametrize("seed", range(3))
def test_whichever_markers_are_missing_the_daemon_inserts_what_the_desk_fills_in(
    tmp_path: Path, lead: float, seed: int, power: BandPowerConfig | None
) -> None:
    """Two in a row at most, and some that are left are late."""
    missing = set(np.random.default_rng(seed).choice(np.arange(4, 38), 9).tolist())
    missing -= {n for n in missing if {n - 1, n - 2} <= missing}
    recording = recorded(250.0, phase=1.0, missing=missing, late=2)
    chain, window = spec_of(250.0, power), WindowSpec(length=6.0, lead=lead)
    desk = at_the_desk(tmp_path, recording, chain, window)
    lab = in_the_lab(recording, chain, window, seed=seed, sizes=SIZES[:6])
    assert lab.keys() >= desk.keys()
    assert_same(lab, desk, window, chain)


@short_leads
@both_chains
@pytest.mark.parametrize("slices", [10, 32])
def test_markers_of_slices_give_both_the_same_volumes(
    tmp_path: Path, lead: float, slices: int, power: BandPowerConfig | None
) -> None:
    """Of some volumes the first slice has no marker."""
    recording, chain = recorded(250.0, phase=1.0, slices=slices), spec_of(250.0, power)
    window = WindowSpec(length=6.0, lead=lead)
    desk = at_the_desk(tmp_path, recording, chain, window)
    lab = in_the_lab(recording, chain, window, sizes=SIZES[:6])
    assert lab.keys() >= desk.keys()
    assert_same(lab, desk, window, chain)


@each_lead
@both_chains
def test_volumes_counted_on_the_stream_are_those_of_markers_on_the_same_grid(
    tmp_path: Path, lead: float, power: BandPowerConfig | None
) -> None:
    recording, chain = recorded(250.0, phase=0.0), spec_of(250.0, power)
    window = WindowSpec(length=6.0, lead=lead)
    desk = at_the_desk(tmp_path, recording, chain, window)
    lab = in_the_lab(recording, chain, window, counted=True)
    assert_same(lab, desk, window, chain)
