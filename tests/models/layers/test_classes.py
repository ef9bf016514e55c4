"""Classes: one number for each target goes out, and cross-entropy is what is learnt by."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from rtfeedback.models.layers.classes import Conditions, Levels


def levels() -> Levels:
    """Return three levels of two targets."""
    head = Levels(n_targets=2, n_levels=3)
    edges, values = [[-0.5, 0.5], [0.0, 1.0]], [[-1.0, 0.0, 1.0], [-0.5, 0.4, 2.0]]
    head.set(np.array(edges), np.array(values))
    return head


def conditions() -> Conditions:
    """Return two conditions, which hold in 1/4 and 1/2 of the volumes."""
    share = np.array([0.25, 0.5])
    sd = np.sqrt(share * (1 - share))
    head = Conditions(n_targets=2)
    head.set(-share / sd, (1 - share) / sd)
    return head


def logits(n_outputs: int, n: int = 5) -> Tensor:
    return torch.randn(n, n_outputs, generator=torch.Generator().manual_seed(1))


def test_probabilities_sum_to_one() -> None:
    by_level = levels().probabilities(logits(6))
    assert by_level.shape == (5, 2, 3)
    assert torch.allclose(by_level.sum(dim=-1), torch.ones(5, 2))
    of_conditions = conditions().probabilities(logits(3))
    assert of_conditions.shape == (5, 3)
    assert torch.allclose(of_conditions.sum(dim=-1), torch.ones(5))


def test_levels_come_to_the_z_that_is_expected() -> None:
    head, out = levels(), logits(6)
    p = head.probabilities(out)
    for target in range(2):
        expected = p[:, target] @ head.values[target]
        assert torch.allclose(head(out)[:, target], expected)
    sure = torch.full((1, 6), -100.0)
    sure[0, 2] = sure[0, 3] = 100.0  # the first target's third level, the second's first
    assert head(sure).tolist() == [[1.0, -0.5]]


def test_one_targets_logits_do_not_touch_another() -> None:
    head, out = levels(), logits(6)
    moved = out.clone()
    moved[:, 3:] += torch.arange(3.0)
    assert torch.equal(head(moved)[:, 0], head(out)[:, 0])
    assert not torch.allclose(head(moved)[:, 1], head(out)[:, 1])


def test_a_z_is_of_the_level_between_whose_edges_it_lies() -> None:
    z = torch.tensor([[-9.0, -0.1], [-0.5, 0.0], [-0.4, 0.1], [0.5, 1.0], [0.6, 9.0]])
    assert levels().of(z).T.tolist() == [[0, 0, 1, 1, 2], [0, 0, 1, 1, 2]]


def test_levels_are_learnt_by_cross_entropy() -> None:
    head, out = levels(), logits(6)
    y = torch.randn(5, 2, generator=torch.Generator().manual_seed(2))
    p, level = head.probabilities(out), head.of(y)
    expected = -p.gather(2, level[..., None]).log().mean()
    assert torch.allclose(head.loss(out, y), expected)


def test_raw_of_a_condition_is_its_probability() -> None:
    head, out = conditions(), logits(3)
    share = torch.tensor([0.25, 0.5])
    raw = head(out) * (share * (1 - share)).sqrt() + share  # as `Predictor` makes it
    assert torch.allclose(raw, head.probabilities(out)[:, 1:], atol=1e-6)


def test_a_condition_of_which_nothing_is_known_is_at_zero() -> None:
    out = torch.tensor([[0.25, 0.25, 0.5]]).log()  # rest, and the conditions' shares
    assert torch.allclose(conditions()(out), torch.zeros(1, 2), atol=1e-6)


def test_rest_is_the_first_class() -> None:
    head = conditions()
    z = torch.stack([head.low, head.low, head.low])
    z[1, 0], z[2, 1] = head.high
    assert head.of(z).tolist() == [0, 1, 2]
    out = logits(3, n=3)
    expected = F.cross_entropy(out, torch.tensor([0, 1, 2]))
    assert torch.allclose(head.loss(out, z), expected, atol=1e-6)


def test_between_two_volumes_a_window_is_in_part_each() -> None:
    head, out = conditions(), logits(3, n=1)
    z = torch.stack([head.low, head.low])
    z[1, 0] = head.high[0]
    mixed = (0.25 * z[0] + 0.75 * z[1])[None]
    nothing, one = (-head.probabilities(out)[0].log()[i] for i in (0, 1))
    assert torch.allclose(head.loss(out, mixed), 0.25 * nothing + 0.75 * one, atol=1e-6)


@pytest.mark.parametrize("head", [levels(), conditions()])
def test_a_head_of_classes_has_nothing_to_learn_and_all_of_it_is_saved(
    head: Levels | Conditions,
) -> None:
    assert list(head.parameters()) == []
    assert head.state_dict().keys() == dict(head.named_buffers()).keys()
