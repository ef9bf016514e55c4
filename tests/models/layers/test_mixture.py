"""Several answers told as one Gaussian."""

from __future__ import annotations

import torch

from rtfeedback.models.layers.mixture import mixture


def test_where_all_agree_on_one_target_the_others_have_a_gradient() -> None:
    """So that what a model goes by can be asked of one target, whatever another does."""
    told = torch.tensor([[[0.5, 2.0]], [[1.0, 2.0]], [[0.1, 2.0]]], requires_grad=True)
    found = mixture(told, gaussian=False)
    assert found[0, 3] == -torch.inf
    assert found[0, 2].isfinite()
    (gradient,) = torch.autograd.grad(found[:, 0].sum(), told)
    torch.testing.assert_close(gradient[..., 0], torch.full((3, 1), 1 / 3))
    torch.testing.assert_close(gradient[..., 1], torch.zeros(3, 1))


def test_what_is_no_number_is_not_told_as_sure() -> None:
    told = torch.tensor([[[0.5]], [[torch.nan]]])
    assert mixture(told, gaussian=False).isnan().all()
