from __future__ import annotations

import numpy as np
import pytest

from offline.eeg.recordings import Recording
from offline.eeg.resample import resample
from rtfeedback.errors import DatasetError
from rtfeedback.signals import Marker, StreamInfo


def recording(sfreq: float, seconds: float = 20.0) -> Recording:
    """Return two channels: 7 Hz on an electrode's offset, and 13 Hz."""
    times = np.arange(round(seconds * sfreq)) / sfreq
    samples = np.stack(
        [30_000 + 20 * np.sin(2 * np.pi * 7 * times), 10 * np.cos(2 * np.pi * 13 * times)],
        axis=1,
    )
    info = StreamInfo("it", sfreq, ("C3", "C4"), ("eeg",) * 2, ("microvolts",) * 2)
    return Recording(info, samples.astype(np.float32), (Marker(1.5, "R128"),))


@pytest.mark.parametrize(("before", "after"), [(5000.0, 250.0), (250.0, 160.0), (250.0, 200.0)])
def test_what_both_rates_can_hold_comes_through_at_its_time(
    before: float, after: float
) -> None:
    there = resample(recording(before), after, name="it")
    expected = recording(after)
    assert there.info.sfreq == after
    assert there.markers == expected.markers
    assert there.samples.shape == expected.samples.shape
    inside = slice(round(after), -round(after))  # the filter sees no further at the ends
    np.testing.assert_allclose(there.samples[inside], expected.samples[inside], atol=0.1)


def test_the_ends_do_not_ring_with_the_electrodes_offset() -> None:
    there = resample(recording(5000.0), 250.0, name="it")
    assert np.abs(there.samples[:, 0] - 30_000).max() < 25


def test_what_the_new_rate_cannot_hold_is_gone() -> None:
    fast = recording(1000.0)
    fast.samples[:, 1] = 50 * np.sin(2 * np.pi * 180 * np.arange(len(fast.samples)) / 1000)
    there = resample(fast, 250.0, name="it")
    assert np.abs(there.samples[250:-250, 1]).max() < 0.5


@pytest.mark.parametrize("rate", [250.0, 500.0, 250.0 / np.sqrt(2)])
def test_rates_that_are_not_lower_or_have_no_common_measure_are_refused(rate: float) -> None:
    with pytest.raises(DatasetError, match="recorded at 250 Hz"):
        resample(recording(250.0), rate, name="it")
