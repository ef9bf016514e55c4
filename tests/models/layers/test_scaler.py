"""What a model sees of an artefact: the training part's mean."""

from __future__ import annotations

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from rtfeedback.models.layers.scaler import FeatureScaler


def scaler(hold: int = 0) -> FeatureScaler:
    found = FeatureScaler(2, hold)
    found.fit(np.array([1.0, -3.0]), np.array([2.0, 0.5]))
    return found


def test_numbers_are_standardised() -> None:
    z = scaler()(torch.tensor([[[1.0, 3.0], [-3.0, -2.0]]]))
    assert z.tolist() == [[[0.0, 1.0], [0.0, 2.0]]]


def test_what_is_masked_is_the_mean() -> None:
    z = scaler()(torch.tensor([[[float("nan"), 3.0], [-2.0, float("nan")]]]))
    assert z.tolist() == [[[0.0, 1.0], [2.0, 0.0]]]


@settings(deadline=None, derandomize=True, max_examples=60)
@given(
    hold=st.integers(0, 9),
    masked=st.lists(st.booleans(), min_size=1, max_size=24),
)
def test_so_many_before_a_masked_one_are_left_out_with_it(
    hold: int, masked: list[bool]
) -> None:
    x = torch.where(torch.tensor(masked), torch.nan, 1.0)[None, None]
    expected = [any(masked[i : i + hold + 1]) for i in range(len(masked))]
    assert scaler(hold).left_out(x)[0, 0].tolist() == expected


def test_one_window_is_scaled_as_it_is_among_many() -> None:
    x = torch.randn(5, 2, 40)
    x[:, :, 20] = torch.nan
    many = scaler(3)(x)
    assert all(torch.equal(scaler(3)(x[i : i + 1])[0], many[i]) for i in range(5))
