from __future__ import annotations

import numpy as np
import pytest
import torch

from offline.training.losses import LOSSES, LossName, correlation, mae, mse, nll

NAN = float("nan")


def pair(n: int = 40, n_outputs: int = 3) -> tuple[torch.Tensor, torch.Tensor]:
    random = torch.Generator().manual_seed(0)
    return torch.randn(n, n_outputs, generator=random), torch.randn(
        n, n_outputs, generator=random
    )


def test_without_gaps_they_are_the_textbooks() -> None:
    predicted, measured = pair()
    assert mse(predicted, measured) == pytest.approx(
        torch.nn.functional.mse_loss(predicted, measured).item()
    )
    assert mae(predicted, measured) == pytest.approx(
        torch.nn.functional.l1_loss(predicted, measured).item()
    )
    told = predicted + measured
    r = torch.stack(
        [
            torch.corrcoef(torch.stack([p, m]))[0, 1]
            for p, m in zip(told.T, measured.T, strict=True)
        ]
    )
    centred = (told - told.mean(dim=0)) / told.std(dim=0)
    regressed = centred * r * measured.std(dim=0) + measured.mean(dim=0)
    assert correlation(regressed, measured).item() == pytest.approx(
        1 - r.mean().item(), abs=1e-4
    )
    log_variance = 0.3 * torch.ones_like(measured)
    expected = torch.nn.functional.gaussian_nll_loss(predicted, measured, log_variance.exp())
    both = torch.cat([predicted, log_variance], dim=1)
    assert nll(both, measured).item() == pytest.approx(expected.item(), rel=1e-5)


@pytest.mark.parametrize("name", LOSSES)
def test_what_is_not_known_counts_in_nothing(name: LossName) -> None:
    predicted, measured = pair()
    if name == "nll":
        predicted = torch.cat([predicted, 0.1 * predicted], dim=1)
    gaps = measured.clone()
    gaps[5, 1] = gaps[17, :] = NAN
    predicted.requires_grad_()
    loss = LOSSES[name](predicted, gaps)
    loss.backward()  # type: ignore[no-untyped-call]
    assert predicted.grad is not None
    assert predicted.grad.isfinite().all()
    assert (predicted.grad[5, 1::3] == 0).all()
    assert (predicted.grad[17] == 0).all()
    moved = predicted.detach().clone()
    moved[5, 1::3] += 100.0
    moved[17] += 100.0
    assert LOSSES[name](moved, gaps).item() == pytest.approx(loss.item())
    whole = [row for row in range(40) if row not in (5, 17)]
    if name != "correlation":  # which has a mean of each output
        only = LOSSES[name](predicted[whole], measured[whole])
        known = len(whole) * 3 / (len(whole) * 3 + 2)
        kept = torch.stack([predicted[5, ::2], measured[5, ::2]]) if name != "nll" else None
        if kept is not None:
            extra = LOSSES[name](kept[:1], kept[1:]).item()
            assert loss.item() == pytest.approx(
                known * only.item() + (1 - known) * extra, rel=1e-4
            )


@pytest.mark.parametrize("name", LOSSES)
def test_a_batch_of_which_nothing_is_known_has_no_gradient(name: LossName) -> None:
    predicted = torch.zeros(4, 2 * (1 + (name == "nll")), requires_grad=True)
    LOSSES[name](predicted, torch.full((4, 2), NAN)).backward()  # type: ignore[no-untyped-call]
    assert predicted.grad is not None
    assert (predicted.grad == 0).all()


def test_a_constant_prediction_has_a_correlation_of_nothing() -> None:
    _, measured = pair()
    constant = measured.mean(dim=0).expand_as(measured)
    assert correlation(constant, measured).item() == pytest.approx(1.0, abs=1e-4)


def test_by_correlation_a_prediction_gets_the_unit_of_what_was_measured() -> None:
    """Of one that is right but for noise: a regression's slope and offset."""
    noise, measured = pair(n=400)
    measured = 3.0 + 2.0 * measured
    told = measured + 2.0 * noise  # r = 0.7
    gain = torch.full((3,), 0.01, requires_grad=True)
    offset = torch.zeros(3, requires_grad=True)
    optimiser = torch.optim.Adam([gain, offset], 0.05)
    for _ in range(400):
        optimiser.zero_grad()
        correlation(gain * told + offset, measured).backward()  # type: ignore[no-untyped-call]
        optimiser.step()
    for i in range(3):
        slope, level = np.polyfit(told[:, i], measured[:, i], 1)
        assert gain[i].item() == pytest.approx(slope, rel=0.02)
        assert offset[i].item() == pytest.approx(level, abs=0.1)


def test_a_surer_prediction_costs_more_where_it_is_wrong_and_less_where_it_is_right() -> None:
    measured = torch.tensor([[1.0]])
    costs = {
        (mean, log_variance): nll(torch.tensor([[mean, log_variance]]), measured).item()
        for mean in (1.0, 4.0)
        for log_variance in (-2.0, 0.0)
    }
    assert costs[1.0, -2.0] < costs[1.0, 0.0]
    assert costs[4.0, -2.0] > costs[4.0, 0.0]
