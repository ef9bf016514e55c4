from __future__ import annotations

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
    r = [
        torch.corrcoef(torch.stack([p, m]))[0, 1]
        for p, m in zip(predicted.T, measured.T, strict=True)
    ]
    assert correlation(predicted, measured).item() == pytest.approx(
        1 - float(torch.stack(r).mean()), abs=1e-5
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
    assert correlation(torch.ones_like(measured), measured).item() == pytest.approx(1.0)


def test_a_surer_prediction_costs_more_where_it_is_wrong_and_less_where_it_is_right() -> None:
    measured = torch.tensor([[1.0]])
    costs = {
        (mean, log_variance): nll(torch.tensor([[mean, log_variance]]), measured).item()
        for mean in (1.0, 4.0)
        for log_variance in (-2.0, 0.0)
    }
    assert costs[1.0, -2.0] < costs[1.0, 0.0]
    assert costs[4.0, -2.0] > costs[4.0, 0.0]
