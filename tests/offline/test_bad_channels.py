"""Bad channels are found, clean ones are not, and what is interpolated is what was there."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from offline.eeg.bad_channels import (
    BadChannelLimits,
    find_bad_channels,
    interpolate_channels,
    without_site,
)
from offline.eeg.recordings import Recording, read_recording
from rtfeedback.errors import DatasetError
from rtfeedback.signals import Float32, Float64
from tests.offline.made_up_eeg import SITES, brain, recorded

RATE = 250.0
LIMITS = BadChannelLimits()
KINDS = ("flat", "drifting", "loud", "faint", "foreign", "noisy", "dropping out")


@pytest.fixture(scope="module")
def eeg() -> Float64:
    return brain(RATE, 60.0)


def broken(x: Float64 | Float32, sfreq: float, kind: str) -> Float64:
    """Return a channel, shape (n_times,), as a bad electrode would give it."""
    rng = np.random.default_rng(7)
    times, own = np.arange(len(x)) / sfreq, rng.normal(size=len(x))
    out = x.copy()
    out[: len(x) // 2] = out[len(x) // 2]
    return np.asarray(
        {
            "flat": np.full(len(x), 12.0),
            "drifting": 0.1 * times + 0.05 * own,  # the amplifier's noise alone
            "loud": 8 * x,
            "faint": 0.1 * x,
            "foreign": np.std(x) * own,
            "noisy": x + 3 * np.std(x) * own,
            "dropping out": out,
        }[kind]
    )


@pytest.mark.parametrize("kind", KINDS)
def test_a_bad_channel_is_found_and_no_other(eeg: Float64, kind: str) -> None:
    x = eeg.copy()
    x[:, 9] = broken(x[:, 9], RATE, kind)
    assert [*find_bad_channels(recorded(x, RATE), LIMITS)] == [SITES[9]]


def test_several_are_found_at_once_with_what_is_wrong(eeg: Float64) -> None:
    x = eeg.copy()
    x[:, 2], x[:, 12] = broken(x[:, 2], RATE, "flat"), broken(x[:, 12], RATE, "loud")
    found = find_bad_channels(recorded(x, RATE), LIMITS)
    assert found["F7"] == "flat in 100% of the seconds"
    assert "times as large as the median channel" in found["P3"]
    assert len(found) == 2


def test_what_is_bad_for_a_while_is_left_to_the_masks(eeg: Float64) -> None:
    x = eeg.copy()
    x[:3000, 4] = broken(x[:3000, 4], RATE, "foreign")  # 12 of 60 s
    x[:3000, 6] = 0.0
    assert not find_bad_channels(recorded(x, RATE), LIMITS)


@pytest.mark.parametrize("offset", [0.0, 250_000.0])
def test_offsets_rates_and_drifts_are_no_matter(offset: float) -> None:
    """An electrode's offset is a quarter of a volt, and EEG some microvolts."""
    x = brain(1000.0, 30.0)
    x[:, 3] = broken(x[:, 3], 1000.0, "foreign")
    x += offset * np.linspace(-1, 1, x.shape[1]) + 3 * np.arange(len(x))[:, None] / 1000
    assert [*find_bad_channels(recorded(x, 1000.0), LIMITS)] == [SITES[3]]


def test_a_channel_that_is_no_eeg_is_none_of_them(eeg: Float64) -> None:
    x = np.c_[eeg, np.zeros(len(eeg))]
    kinds = ("eeg",) * len(SITES) + ("ecg",)
    assert not find_bad_channels(recorded(x, RATE, (*SITES, "ECG"), kinds), LIMITS)


def test_of_few_channels_or_seconds_only_flat_ones_are_found(eeg: Float64) -> None:
    x = eeg.copy()
    x[:, 0], x[:, 1] = broken(x[:, 0], RATE, "loud"), 0.0
    few = recorded(x[:, :5], RATE, SITES[:5])
    assert [*find_bad_channels(few, LIMITS)] == [SITES[1]]
    assert [*find_bad_channels(recorded(x[:2000], RATE), LIMITS)] == [SITES[1]]


def test_limits_decide(eeg: Float64) -> None:
    x = eeg.copy()
    x[:, 9] *= 8
    lenient = BadChannelLimits(ratio=20.0)
    assert not find_bad_channels(recorded(x, RATE), lenient)


# --------------------------------------------------------------------------- interpolated


def test_what_is_interpolated_is_much_what_was_there(eeg: Float64) -> None:
    samples = eeg.astype(np.float32)
    samples[:, 9] = 1e6
    interpolate_channels(samples, SITES, {"Cz"}, SITES)
    assert np.corrcoef(samples[:, 9], eeg[:, 9])[0, 1] > 0.9
    others = [i for i in range(len(SITES)) if i != 9]
    assert np.array_equal(samples[:, others], eeg.astype(np.float32)[:, others])


def test_it_is_what_mne_makes_of_the_whole_recording(eeg: Float64) -> None:
    import mne

    raw = mne.io.RawArray(
        eeg.T * 1e-6, mne.create_info([*SITES], RATE, "eeg", verbose="error"), verbose="error"
    )
    places = mne.channels.make_standard_montage("colin27_1005").get_positions()["ch_pos"]
    sites = {site: places[site] for site in SITES}
    raw.set_montage(mne.channels.make_dig_montage(sites, coord_frame="head"))
    raw.info["bads"] = ["Fp1", "P4"]
    raw.interpolate_bads(origin=(0.0, 0.0, 0.04), verbose="error")
    samples = eeg.astype(np.float32)
    interpolate_channels(samples, SITES, {"P4", "Fp1"}, SITES)
    np.testing.assert_allclose(samples, raw.get_data().T * 1e6, atol=1e-4)


def test_channels_without_a_site_neither_give_nor_take(eeg: Float64) -> None:
    names = ("E1", "F3-C3", *SITES[2:])
    assert without_site(names) == ("E1", "F3-C3")
    assert without_site(("T3", "cz", "AFF5h")) == ()
    one, other = eeg.astype(np.float32), eeg.astype(np.float32)
    other[:, :2] = 5e5
    for samples in (one, other):
        interpolate_channels(samples, names, {"Pz"}, names)
    assert np.array_equal(one[:, 2:], other[:, 2:])


def test_three_channels_are_too_few_to_interpolate_from(eeg: Float64) -> None:
    samples = eeg[:, :4].astype(np.float32)
    with pytest.raises(DatasetError, match=r"F3 cannot be interpolated.*3 good channels"):
        interpolate_channels(samples, SITES[:4], {"F3"}, SITES[:4])


# ------------------------------------------------------------------------------- real EEG


def real(shared: Path, run: int) -> Recording:
    return read_recording(shared / "eegmmidb_S001" / f"S001R{run:02d}.edf")


@pytest.mark.parametrize("run", [1, 2, 5, 10])
def test_clean_real_eeg_has_no_bad_channel(shared: Path, run: int) -> None:
    assert not find_bad_channels(real(shared, run), LIMITS)


@pytest.mark.parametrize("kind", KINDS)
def test_bad_channels_are_found_in_real_eeg(shared: Path, kind: str) -> None:
    recording = real(shared, 1)
    for name in ("Fz", "T8"):
        samples = recording.samples.copy()
        column = recording.info.channels.index(name)
        samples[:, column] = broken(samples[:, column], recording.info.sfreq, kind)
        found = find_bad_channels(Recording(recording.info, samples, ()), LIMITS)
        assert [*found] == [name]


def test_real_channels_are_interpolated_from_their_neighbours(shared: Path) -> None:
    """Leave one out: the median channel comes back with r above 0.9."""
    recording = real(shared, 1)
    names = recording.info.channels
    r = []
    for column in range(0, 64, 7):
        name = names[column]
        samples = recording.samples[:3200].copy()
        interpolate_channels(samples, names, {name}, names)
        r.append(np.corrcoef(samples[:, column], recording.samples[:3200, column])[0, 1])
    assert np.median(r) > 0.9
