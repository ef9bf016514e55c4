"""What a transformer learns of EEG alone: to tell hidden patches from those around them."""

from __future__ import annotations

from typing import Annotated

import numpy as np
from pydantic import Field
from torch import Tensor, nn

from rtfeedback.config import Config
from rtfeedback.errors import ConfigError
from rtfeedback.models.patch_transformer import PatchTransformer
from rtfeedback.signals import Bool


class MaskConfig(Config):
    """Which patches are hidden, and from where they are told."""

    ratio: Annotated[float, Field(gt=0, lt=1)] = 0.5
    """Share of the patches that is hidden."""
    block: Annotated[int, Field(gt=0)] = 4
    """Patches in a row that are hidden together: one alone is told by its neighbours'
    waves, with nothing learnt."""
    ahead: Annotated[int, Field(ge=0)] = 4
    """Patches after a hidden one that are seen before it is told; the transformer is causal,
    so with 0 it would forecast."""


class MaskedPatches(nn.Module):
    """A transformer and a linear map from its vectors back to patches.

    A hidden patch is what one masked as an artefact is: 0, the mean. So what is learnt is
    also what to make of artefacts. All of the map is thrown away afterwards.

    Parameters
    ----------
    model : PatchTransformer
        Its head takes no part.
    config : MaskConfig

    References
    ----------
    He et al. 2021, arXiv:2111.06377 (masked patches). Jiang, Zhao & Lu 2024,
    arXiv:2405.18765 (of EEG).
    """

    def __init__(self, model: PatchTransformer, config: MaskConfig) -> None:
        super().__init__()
        if config.ahead >= model.config.reach:
            raise ConfigError(
                f"A patch is to be told {config.ahead} patches later, when it is seen no more",
                found=f"The transformer sees {model.config.reach} patches",
                do="Make mask.ahead smaller, or lengthen model.span",
            )
        self.model, self.config = model, config
        n_features = model.embed.in_channels
        self.decoder = nn.Linear(model.config.width, n_features * model.stride)

    def draw(self, rng: np.random.Generator, n: int, n_patches: int) -> Bool:
        """Return which patches of n windows to hide, bool of shape (n, n_patches)."""
        block = self.config.block
        hidden = rng.random((n, n_patches // block + 2)) < self.config.ratio
        first = int(rng.integers(block))
        return np.repeat(hidden, block, axis=1)[:, first : first + n_patches]

    def forward(self, x: Tensor, hidden: Tensor) -> Tensor:
        """Return the mean squared error over what is hidden, in sds of the features.

        Telling the mean each time makes 1, so this is the share of the variance that
        remains untold.

        Parameters
        ----------
        x : Tensor, shape (n, n_features, n_patches * stride)
        hidden : Tensor, bool of shape (n, n_patches)
            A patch is told where its reach lies in the window: those of the first
            `reach - 1 - ahead` are not.
        """
        model, stride = self.model, self.model.stride
        scaled = model.scaler(x)
        shown = scaled.masked_fill(hidden.repeat_interleave(stride, dim=1)[:, None], 0.0)
        told = self.decoder(model.encode(model.feature_dropout(shown)))
        first = model.config.reach - 1 - self.config.ahead
        told_of = slice(first, first + told.shape[1])
        true = _patches(scaled, stride)[:, told_of]
        counts = ~_patches(model.scaler.left_out(x), stride)[:, told_of]
        counts = counts & hidden[:, told_of, None]
        error: Tensor = (told - true).square().mul(counts).sum() / counts.sum().clamp(min=1)
        return error


def _patches(x: Tensor, stride: int) -> Tensor:
    """Return windows as vectors, shape (n, n_patches, n_features * stride)."""
    n, n_features, n_times = x.shape
    return x.reshape(n, n_features, n_times // stride, stride).transpose(1, 2).flatten(2)
