"""The learnable loss weights of eq. 17."""

import json

import pytest
import torch

from vreid_fast.losses import LossWeights


def terms(*values):
    return {name: torch.tensor(value) for name, value in zip(("identity", "domain", "consistency"), values)}


def test_fixed_weights_are_a_plain_sum_and_learn_nothing():
    weights = LossWeights("fixed")
    assert weights(terms(1.0, 2.0, 3.0)).item() == 6.0
    assert not any(parameter.requires_grad for parameter in weights.parameters())


def test_authors_weights_equal_the_released_ones(shared):
    released = json.loads(shared("parity/algorithms/schedules.json").read_text())["loss_weights"]
    weights = LossWeights("authors")
    torch.testing.assert_close(weights.log_weights.detach(), torch.tensor(released["log_weights"]))
    total = weights(terms(*released["losses"]))
    assert total.item() == pytest.approx(released["total"], rel=1e-6)
    total.backward()
    torch.testing.assert_close(weights.log_weights.grad, torch.tensor(released["grad_log_weights"]))


def test_uncertainty_weights_settle_at_one_over_the_loss():
    weights = LossWeights("uncertainty")
    optimiser = torch.optim.SGD(weights.parameters(), lr=0.1)
    for _ in range(2000):
        optimiser.zero_grad()
        weights(terms(0.5, 2.0, 4.0)).backward()
        optimiser.step()
    found = [weight.item() for weight in weights.named().values()]
    assert found == pytest.approx([2.0, 0.5, 0.25], rel=1e-3)


def test_an_absent_group_has_no_part():
    weights = LossWeights("uncertainty")
    weights({"identity": torch.tensor(3.0)}).backward()
    assert weights.log_weights.grad[1:].abs().sum() == 0


def test_unknown_rule_is_named():
    with pytest.raises(ValueError, match="fixed, authors or uncertainty, got 'learned'"):
        LossWeights("learned")
