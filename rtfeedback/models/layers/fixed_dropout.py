"""Dropout whose masks are drawn once and stay, in place of torch's."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from math import prod

import numpy as np
import torch
from torch import Tensor, nn

DROPOUTS = (nn.Dropout, nn.Dropout1d)


class FixedDropout(nn.Module):
    """Drops what its masks say, as often as there are masks; else what comes in goes out.

    What comes in is of one window, or of as many copies of it as there are passes, one
    after another; what goes out is of as many. So whatever comes before a network's first
    dropout is computed once for all passes.

    Parameters
    ----------
    dropout : nn.Dropout or nn.Dropout1d
        The one that it stands for: what it drops, it drops as that does in training, whole
        rows included.

    Attributes
    ----------
    shapes : list of tuple of int
        Of what came in, call by call, where there are no masks yet.
    """

    def __init__(self, dropout: nn.Dropout | nn.Dropout1d) -> None:
        super().__init__()
        self.p = dropout.p
        self.by_row = isinstance(dropout, nn.Dropout1d)
        self.shapes: list[tuple[int, ...]] = []
        self._masks: list[str] = []
        self._call: int | None = None

    def forward(self, x: Tensor) -> Tensor:
        """Drop from (n, ...) of one window, or from (passes * n, ...): (passes * n, ...)."""
        if self._call is None:
            return x
        if not self._masks:
            self.shapes.append(tuple(x.shape))
            return x
        mask: Tensor = getattr(self, self._masks[self._call])
        self._call += 1
        return (x.reshape(-1, mask.shape[1], *x.shape[1:]) * mask).flatten(0, 1)

    @contextmanager
    def on(self) -> Iterator[None]:
        """Drop from what goes through in here, beginning with the first mask."""
        self._call = 0
        try:
            yield
        finally:
            self._call = None

    def sizes(self, passes: int) -> list[tuple[int, ...]]:
        """Return the shapes of its masks, (passes, n, ...), call by call."""
        rows = [(*shape[:-1], 1) if self.by_row else shape for shape in self.shapes]
        return [(passes, *each) for each in rows]

    def draw(self, passes: int, seed: int, name: str, device: torch.device) -> None:
        """Draw the masks of each call, by the layer's name; they are no part of the weights.

        On the CPU, of the bits that seed and name begin: no device, no other draw and no
        version of a library changes them, so that a checkpoint's values stay its own.
        """
        for call, size in enumerate(self.sizes(passes)):
            mask = f"mask{call}"
            drawn = torch.empty(size, device="meta")
            if device.type != "meta":
                drawn = _drawn(self.p, size, seed, f"{name}/{call}").to(device)
            self.register_buffer(mask, drawn, persistent=False)
            self._masks.append(mask)


def _drawn(p: float, size: Sequence[int], seed: int, place: str) -> Tensor:
    words = np.frombuffer(hashlib.sha256(place.encode()).digest(), dtype="<u4")
    n = prod(size)
    # Raw, as numpy keeps this stream (NEP 19), and none of what `Generator` makes of it.
    raw = np.random.PCG64([seed, *words.tolist()]).random_raw((n + 1) // 2)
    even = raw.astype("<u8").view("<u4")[:n] >> 8  # 24 bits
    kept = even >= np.ceil(float(np.float32(p)) * 2**24)
    return torch.from_numpy(kept.reshape(size)).float().div_(1 - p)
