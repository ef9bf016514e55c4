"""Why two windows are told apart: integrated gradients from the one to the other."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from offline.explanation.views import View
from rtfeedback.errors import RtfeedbackError
from rtfeedback.models.layers.scaler import FeatureScaler

N_STEPS = 24  # nodes of Gauss and Legendre's on the way from one window to the other


class Contributions:
    """What each part of the EEG contributes to the difference of two predictions.

    The gradient is integrated on the straight line from one window to the other. Another
    window of the subject stands where a silent one often does: no head is silent, and a
    model that scales what it sees, by its spectrum, say, answers silence by anything.

    Parameters
    ----------
    model : nn.Module
        In its evaluation mode.
    view : View
        By which windows are taken apart.
    target : int
        Which of the model's targets.

    Raises
    ------
    RtfeedbackError
        If the extra `explain` is not installed.

    References
    ----------
    Sundararajan, Taly & Yan 2017, arXiv:1703.01365: integrated gradients.
    Erion et al. 2021, Nat. Mach. Intell. 3:620, doi:10.1038/s42256-021-00343-w: from what was
    observed in place of one baseline.
    """

    def __init__(self, model: nn.Module, view: View, target: int) -> None:
        self.model, self.view, self.target = model.requires_grad_(False), view, target
        self._integrated = _captum()(self._of_parts)

    def __call__(self, more: Tensor, less: Tensor) -> Tensor:
        """Return (n_channels, n_bands, n_lags) of a pair of windows (n_features, n_times).

        They add up to `predict` of the one less that of the other, as far as the steps
        resolve the way. Windows hold no NaN (`unmasked`).
        """
        both = self.view.analyse(torch.stack([more, less]))
        found: Tensor = self._integrated.attribute(
            both[:1], baselines=both[1:], n_steps=N_STEPS, method="gausslegendre"
        )
        return found[0].flatten(3).sum(-1) if found.dim() > 4 else found[0]

    def predict(self, x: Tensor) -> Tensor:
        """Return the target's z, shape (n,), for windows."""
        z: Tensor = self.model(x)[:, self.target]
        return z

    def _of_parts(self, parts: Tensor) -> Tensor:
        return self.predict(self.view.synthesise(parts))


def unmasked(model: nn.Module, x: Tensor) -> Tensor:
    """Return windows with the training's mean where the model leaves something out.

    It predicts the same of them: that is what its scaler makes of NaN and the samples
    before.
    """
    # An ensemble's members have the same.
    scaler = next(each for each in model.modules() if isinstance(each, FeatureScaler))
    return torch.where(scaler.left_out(x), scaler.mean, x)


def _captum() -> Callable[..., Any]:
    try:
        from captum.attr import IntegratedGradients
    except ImportError as error:
        raise RtfeedbackError(
            "Explaining a model needs captum, which is not installed",
            found=str(error),
            do="pip install 'rtfeedback[explain]'",
        ) from error
    return IntegratedGradients  # type: ignore[no-any-return]
