"""Residual blocks of 3-D convolutions, from a volume to a latent code.

A stack is stated for one shape, as a search found it, and carried over to others.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Annotated, Self

import torch
import torch.nn.functional as F
from pydantic import Field, model_validator
from torch import Tensor, nn

from rtfeedback.config import Config

Positive = Annotated[int, Field(gt=0)]
Size = tuple[int, int, int]


class Stack(Config):
    """Kernels of a stack's blocks, in positions along each of three axes."""

    stated_for: tuple[Positive, Positive, Positive]
    """The shape that kernels and strides are stated for. On another, kernels see the same
    share of an axis, and strides leave as many positions."""
    kernels: tuple[tuple[Positive, Positive, Positive], ...]
    """Of each block's first convolution."""
    strides: tuple[tuple[Positive, Positive, Positive], ...]
    """Of the same."""
    pool: tuple[Positive, Positive, Positive]
    """Neighbouring positions of whose values the largest is kept after it, at every one."""
    maps: Positive = 4
    """Of each block."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if not self.kernels or len(self.kernels) != len(self.strides):
            raise ValueError("a stack has as many kernels as strides, at least one")
        for axis, size in enumerate(self.stated_for):
            for kernel, stride in zip(self.kernels, self.strides, strict=True):
                left = (size - kernel[axis]) // stride[axis] + 2 - self.pool[axis]
                if size < kernel[axis] or left < 1:
                    raise ValueError(f"a kernel and its pool take more than {size} positions")
                size = left
        return self

    def on(self, shape: Size) -> list[Block]:
        """Return the blocks for a volume's shape, which may be any."""
        x, y, z = (self._on_axis(axis, size) for axis, size in enumerate(shape))
        axes = zip(x, y, z, strict=True)
        return [Block(*zip(*block, strict=True)) for block in axes]

    def _on_axis(self, axis: int, size: int) -> list[tuple[int, int, int, int]]:
        """Return each block's kernel, stride and pool, and the positions left of the axis."""
        stated, made = self.stated_for[axis], []
        for kernels, strides in zip(self.kernels, self.strides, strict=True):
            kernel, stride, pool = kernels[axis], strides[axis], self.pool[axis]
            positions = (stated - kernel) // stride + 1
            if size != stated:
                kernel = max(1, round(kernel * size / stated))
                # The rest of the axis in as many steps; a single position takes a step off it.
                steps = positions - 1 if positions > 1 else 0.5
                stride = max(1, round((size - kernel) / steps))
            stated = positions - pool + 1
            pool = min(pool, (size - kernel) // stride + 1)
            size = (size - kernel) // stride + 2 - pool
            made.append((kernel, stride, pool, size))
        return made


@dataclass(frozen=True, slots=True)
class Block:
    """What a block does along the three axes, and the positions that it leaves of each."""

    kernel: Size
    stride: Size
    pool: Size
    left: Size

    def turned(self) -> Block:
        """Return the block for volumes whose last axis is the first."""
        return Block(
            *((z, x, y) for x, y, z in (self.kernel, self.stride, self.pool, self.left))
        )


class ResidualBlock(nn.Module):
    """A convolution, pooled, and what one more convolution adds to it.

    Both paths begin with a convolution of their own of the same volume, pooled and
    normalised alike: they are made as one, of twice the maps, which reads it once. Maps lie
    innermost in memory, by which pooling and small kernels take a third of the time on a CPU.

    Parameters
    ----------
    n_in, n_out : int
        Maps.
    block : Block

    References
    ----------
    He et al. 2016, doi:10.1109/CVPR.2016.90.
    """

    def __init__(self, n_in: int, n_out: int, block: Block) -> None:
        super().__init__()
        self.pool = block.pool
        self.both = nn.Conv3d(n_in, 2 * n_out, block.kernel, block.stride)
        self.norm = nn.BatchNorm3d(2 * n_out)
        self.left = nn.Conv3d(n_out, n_out, 3, padding=1)
        self.left_norm = nn.BatchNorm3d(n_out)
        for weight in (*self.both.weight.detach().chunk(2), self.left.weight):
            nn.init.xavier_uniform_(weight)
        nn.init.zeros_(_bias(self.both))
        nn.init.zeros_(_bias(self.left))

    def forward(self, x: Tensor) -> Tensor:
        """Return maps (n, n_out, *left) of maps (n, n_in, *shape)."""
        x = self.both(x).contiguous(memory_format=torch.channels_last_3d)
        x = self.norm(F.max_pool3d(x, self.pool, stride=1))
        left, right = x.chunk(2, dim=1)
        left = F.relu(self.left_norm(self.left(F.relu(left))))
        return F.relu(left + right)


class ResidualEncoder(nn.Module):
    """Residual blocks, then one dense layer to a latent code.

    The last axis, of few positions, is turned to the front: with the longest innermost, a
    single window's first convolution takes a third of the time on a CPU.

    Parameters
    ----------
    stack : Stack
    shape : tuple of int
        Of what is encoded.
    latent : int
        Values of the code.
    """

    def __init__(self, stack: Stack, shape: Size, latent: int) -> None:
        super().__init__()
        blocks, maps = (
            [block.turned() for block in stack.on(shape)],
            [1] + [stack.maps] * len(stack.kernels),
        )
        self.blocks = nn.Sequential(
            *(
                ResidualBlock(n_in, n_out, block)
                for (n_in, n_out), block in zip(pairwise(maps), blocks, strict=True)
            )
        )
        x, y, z = blocks[-1].left
        self.dense = nn.Linear(stack.maps * x * y * z, latent)
        nn.init.xavier_uniform_(self.dense.weight)
        nn.init.zeros_(self.dense.bias)

    def forward(self, x: Tensor) -> Tensor:
        """Return codes (n, latent) of volumes (n, *shape)."""
        code: Tensor = self.dense(self.blocks(x.movedim(-1, 1)[:, None]).flatten(1))
        return code


def _bias(convolution: nn.Conv3d) -> Tensor:
    assert isinstance(convolution.bias, torch.Tensor)
    return convolution.bias
