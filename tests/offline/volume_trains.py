"""Markers of a scan, and what is made of them, for the tests of the alignment."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import pytest

from offline.alignment.align import Alignment, AlignmentConfig, align
from rtfeedback.config import parse_config
from rtfeedback.errors import DatasetError
from rtfeedback.signals import Float64, Marker

TR, N, BEGAN = 2.0, 40, 5.0  # s, volumes of the BOLD, s into the EEG
LONG = BEGAN + N * TR + 30.0  # s of EEG: longer than the scan


def train(
    volumes: Iterable[int] = range(N),
    *,
    tr: float = TR,
    start: float = BEGAN,
    label: str = "R128",
) -> list[Marker]:
    return [Marker(start + volume * tr, label) for volume in volumes]


def grid(start: float = BEGAN, tr: float = TR, n: int = N) -> Float64:
    return np.asarray(start + np.arange(n) * tr, dtype=np.float64)


def aligned(
    markers: list[Marker],
    named: tuple[Marker, ...] = (),
    *,
    tr: float = TR,
    n: int = N,
    duration: float = LONG,
    onset: float | None = None,
    **config: Any,
) -> Alignment:
    parsed = parse_config(config, AlignmentConfig, source="test")
    ordered = sorted(markers, key=lambda marker: marker.stamp)
    return align(
        "run-01",
        ordered,
        named,
        tr=tr,
        n_volumes=n,
        duration=duration,
        stated_onset=onset,
        config=parsed,
    )


def said(alignment: Alignment) -> str:
    return "\n".join(alignment.notes)


def refused(markers: list[Marker], **values: Any) -> str:
    with pytest.raises(DatasetError) as caught:
        aligned(markers, **values)
    assert "run-01" in str(caught.value)
    return str(caught.value)


def assert_onsets(alignment: Alignment, expected: Float64) -> None:
    np.testing.assert_allclose(alignment.onsets, expected, rtol=0, atol=1e-9)
