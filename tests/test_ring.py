from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from rtfeedback.ring import RingBuffer
from rtfeedback.signals import Float32

SIZES = st.lists(
    st.one_of(st.integers(0, 12), st.sampled_from([1, 40, 200]), st.none()), max_size=60
)


def numbered(first: int, n: int, n_features: int) -> Float32:
    """Return samples that say in each float which sample and feature they are."""
    samples = np.arange(first, first + n)[:, None] * 16 + np.arange(n_features)
    return samples.astype(np.float32)


@settings(deadline=None, derandomize=True, max_examples=200)
@given(n_features=st.integers(1, 7), n_times=st.integers(1, 30), sizes=SIZES)
def test_the_window_is_the_newest_samples_whatever_was_pushed(
    n_features: int, n_times: int, sizes: list[int | None]
) -> None:
    ring, kept, pushed = RingBuffer(n_features, n_times), numbered(0, 0, n_features), 0
    for size in sizes:  # None: clear
        if size is None:
            ring.clear()
            kept = kept[:0]
        else:
            samples = numbered(pushed, size, n_features)
            ring.push(samples)
            kept, pushed = np.concatenate([kept, samples])[-n_times:], pushed + size
        window = ring.window()
        assert ring.filled == len(kept)
        assert ring.full == (len(kept) == n_times)
        assert window.shape == (n_features, n_times)
        assert window.dtype == np.float32
        assert window.flags.c_contiguous
        np.testing.assert_array_equal(window[:, n_times - len(kept) :], kept.T)


def test_a_window_is_a_view_and_not_a_copy() -> None:
    ring = RingBuffer(3, 5)
    places = set()
    for i in range(40):
        ring.push(numbered(i, 1, 3))
        assert np.shares_memory(ring.window(), ring.window())
        places.add(ring.window().ctypes.data)
    assert len(places) > 10  # it slides


def test_a_push_takes_a_copy_of_the_samples() -> None:
    ring, samples = RingBuffer(2, 4), numbered(0, 4, 2)
    ring.push(samples)
    samples[:] = -1
    np.testing.assert_array_equal(ring.window(), numbered(0, 4, 2).T)


def test_any_memory_order_may_be_pushed() -> None:
    samples = numbered(0, 10, 4)
    wide = np.zeros((10, 8), dtype=np.float32)
    wide[:, ::2] = samples
    for same in (np.asfortranarray(samples), wide[:, ::2]):
        ring = RingBuffer(4, 6)
        ring.push(same)
        np.testing.assert_array_equal(ring.window(), samples[-6:].T)


def test_its_memory_is_two_windows_whatever_was_pushed() -> None:
    ring = RingBuffer(4, 6)

    def held() -> int:
        return sum(v.nbytes for v in vars(ring).values() if isinstance(v, np.ndarray))

    for i in range(1000):
        ring.push(numbered(i, 1 + i % 20, 4))
    assert held() == 2 * 4 * 6 * 4


def test_copying_back_is_rare() -> None:
    ring, before, back = RingBuffer(8, 100), 0, 0
    for i in range(8000):
        ring.push(numbered(i, 1, 8))
        now = ring.window().ctypes.data
        back += now < before
        before = now
    assert back <= 8000 // (8 * 100)


def test_a_filled_window_is_full_and_a_cleared_one_is_not() -> None:
    ring = RingBuffer(2, 3)
    assert not ring.full
    ring.push(numbered(0, 2, 2))
    assert not ring.full
    ring.push(numbered(2, 1, 2))
    assert ring.full
    ring.clear()
    assert not ring.full
    ring.push(numbered(3, 100, 2))
    assert ring.full
