"""Monte-Carlo dropout: one trained network, thinned by its own dropout in several ways."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from itertools import chain
from math import prod

import torch
from torch import Tensor, nn
from torch.func import functional_call

from rtfeedback.errors import ConfigError
from rtfeedback.models.layers.fixed_dropout import DROPOUTS, FixedDropout
from rtfeedback.models.layers.mixture import mixture
from rtfeedback.models.volume import VolumeNetwork

FEWEST, MOST = 2, 256  # passes
LARGEST = 2**30  # bytes of masks


class MonteCarlo(nn.Module):
    """A mixture, as one Gaussian, of what a network says with parts of it left out.

    Every dropout that it was trained with takes part, of features, activations and
    attention alike, and nothing else is as in training. The method draws masks for each
    prediction anew; here they are drawn once, by a seed, the layer's name and how often it
    was called before. So each window meets the same thinned networks, and the same window
    gets the same bits, whatever came before it. Masks are made anew when a checkpoint is
    loaded, and are no part of its weights.

    The mean over passes is what is told, and not what the whole network would say: the two
    differ, as the network is not linear. The variance is that of the passes, and what each
    states itself where the network predicts one. How far BOLD strays from the prediction is
    in it only as far as that: the method's constant term, which stands for it, is not added.

    All passes of a window go through the network at once, from the first dropout on.

    Parameters
    ----------
    network : nn.Module
        Whose layers of dropout are replaced; by itself it answers as before.
    shape : tuple of int
        Of a window, (n_features, n_times).
    passes : int
        Two at least.
    seed : int
        Of the masks. Those of few passes are the first of those of more.

    Attributes
    ----------
    network : nn.Module
        Weights and buffers are all its own.

    Raises
    ------
    ConfigError
        If the network has no dropout that a prediction goes through, or so many places of
        it that the masks take more than 1 GiB.

    References
    ----------
    Gal & Ghahramani 2016, arXiv:1506.02142.
    """

    gaussian = True

    def __init__(
        self, network: nn.Module, shape: tuple[int, int], passes: int, seed: int
    ) -> None:
        super().__init__()
        self.network = network
        self._stated = bool(getattr(network, "gaussian", False))
        self._layers = _replaced(network)
        _trace(network, shape, self._thinned)
        _check(network, self._layers, passes)
        device = next(network.parameters()).device
        for name, layer in self._layers.items():
            layer.draw(passes, seed, name, device)

    def forward(self, x: Tensor) -> Tensor:
        """Return means and then log-variances, (n, 2 * n_targets), of windows' z."""
        return self.whole(x)[0]

    def whole(self, x: Tensor) -> tuple[Tensor, Tensor | None]:
        """Return what `forward` does, and the passes' mean of voxels' z where there are any.

        Each pass's regions are read off its own volume.
        """
        told = [self._window(window) for window in torch.split(x, 1)]
        voxels = [each for _, each in told if each is not None]
        return torch.stack([z for z, _ in told]), torch.stack(voxels) if voxels else None

    def mean_of(self, tell: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
        """Return the passes' mean of something else that the network tells of windows.

        Parameters
        ----------
        tell : callable
            A method of the network, of one window (1, n_features, n_times).
        x : Tensor, shape (n, n_features, n_times)

        Returns
        -------
        Tensor, shape (n, ...)
        """
        with_each = []
        for window in torch.split(x, 1):
            with self._thinned():
                with_each.append(tell(window).mean(dim=0))
        return torch.stack(with_each)

    def _window(self, x: Tensor) -> tuple[Tensor, Tensor | None]:
        with self._thinned():
            if isinstance(self.network, VolumeNetwork):
                z, voxels = self.network.whole(x)
                return mixture(z, gaussian=self._stated), voxels.mean(dim=0)
            return mixture(self.network(x), gaussian=self._stated), None

    @contextmanager
    def _thinned(self) -> Iterator[None]:
        with ExitStack() as stack:
            for layer in self._layers.values():
                stack.enter_context(layer.on())
            yield


def network_of(model: nn.Module) -> nn.Module:
    """Return the network whose passes a model is made of, or the model itself."""
    return model.network if isinstance(model, MonteCarlo) else model


def _replaced(network: nn.Module) -> dict[str, FixedDropout]:
    """Put fixed dropout in the place of every other that drops anything; return it by name."""
    found = {
        name: FixedDropout(layer)
        for name, layer in network.named_modules(remove_duplicate=False)
        if isinstance(layer, DROPOUTS) and layer.p > 0
    }
    for name, layer in found.items():
        network.set_submodule(name, layer)
    return found


def _trace(
    network: nn.Module,
    shape: tuple[int, int],
    thinned: Callable[[], AbstractContextManager[None]],
) -> None:
    """Have each layer see the shapes of a prediction, of which nothing is computed."""
    named = chain(network.named_parameters(), network.named_buffers())
    tensors = {name: torch.empty_like(each, device="meta") for name, each in named}
    training = network.training
    network.eval()
    with torch.no_grad(), thinned():
        functional_call(network, tensors, torch.empty(1, *shape, device="meta"))
    network.train(training)


def _check(network: nn.Module, layers: dict[str, FixedDropout], passes: int) -> None:
    sizes = [size for layer in layers.values() for size in layer.sizes(passes)]
    if not sizes:
        raise ConfigError(
            "Monte-Carlo passes of this model would all be the same",
            found=f"{type(network).__name__} has no dropout above 0 that a prediction meets",
            do="Train it with some dropout, or take an ensemble",
        )
    n_bytes = 4 * sum(map(prod, sizes))
    if n_bytes > LARGEST:
        raise ConfigError(
            f"The masks of {passes} Monte-Carlo passes are too large",
            found=f"{n_bytes / 2**30:.1f} GiB, where {LARGEST / 2**30:g} is the most",
            do="Take fewer passes, or a shorter window",
        )
