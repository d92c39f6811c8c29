"""L1S, L2S and L3S reach the backbone, each alone, with the sign reversed."""

import numpy as np
import pytest
import torch

from vreid_fast.models import DomainHeads, build
from vreid_fast.training.adversarial import domain_losses, draw


@pytest.fixture
def scene():
    torch.manual_seed(0)
    network = build("small", identities=4, frames=2).train()
    heads = DomainHeads(network.width, hidden=16, dropout=0.0)
    source, target = torch.randn(6, 2, 3, 32, 16), torch.randn(6, 2, 3, 32, 16) + 0.5
    return network, heads, source, target


def drawn(groups=16, sizes=(2, 4, 8)):
    return draw(12, groups, sizes, np.random.default_rng(0), torch.device("cpu"))


def backbone_gradient(network):
    return torch.cat([parameter.grad.flatten() for parameter in network.trunk.parameters()])


def domain_gradient(scene, term, strength):
    network, heads, source, target = scene
    network.zero_grad()
    losses, _ = domain_losses(
        heads, network(source), network(target), torch.tensor(strength), drawn(8, (2, 4)), terms=[term]
    )
    assert list(losses) == [term]
    losses[term].backward()
    return backbone_gradient(network)


@pytest.mark.parametrize("term", ["l1s", "l2s", "l3s"])
def test_domain_losses_reach_the_backbone_with_the_sign_reversed(scene, term):
    minimising = domain_gradient(scene, term, -1.0)  # strength -1 undoes the reversal
    adversarial = domain_gradient(scene, term, 0.5)
    assert minimising.abs().max() > 1e-6
    torch.testing.assert_close(adversarial, -0.5 * minimising, rtol=1e-3, atol=1e-7)
    assert domain_gradient(scene, term, 0.0).abs().max() == 0


def test_a_step_against_the_domain_losses_confuses_the_classifier(scene):
    """With the heads held, a step down the reversed gradient makes the domains harder to tell apart."""
    network, heads, source, target = scene
    optimiser = torch.optim.SGD(heads.parameters(), lr=0.5)
    terms = {"terms": ["l2s"]}
    for _ in range(20):
        optimiser.zero_grad()
        losses, _ = domain_losses(heads, network(source), network(target), 0.0, drawn(), **terms)
        losses["l2s"].backward()
        optimiser.step()
    before = losses["l2s"].item()
    network.zero_grad()
    losses, _ = domain_losses(heads, network(source), network(target), 1.0, drawn(), **terms)
    losses["l2s"].backward()
    with torch.no_grad():
        for parameter in network.trunk.parameters():
            parameter -= 0.02 * parameter.grad / backbone_gradient(network).norm()
    losses, _ = domain_losses(heads, network(source), network(target), 1.0, drawn(), **terms)
    assert losses["l2s"].item() > before


def test_terms_that_are_off_cost_nothing(scene):
    network, heads, source, target = scene
    losses, accuracy = domain_losses(heads, network(source), network(target), 1.0, drawn(), terms=[])
    assert losses == {} and accuracy == {}
