"""Norms of the terms' own gradients at the backbone."""

import pytest
import torch
from torch import nn

from vreid_fast.losses import clip_domain_loss, gradient_norms
from vreid_fast.models import DomainHeads


def terms(backbone):
    x = torch.randn(8, 5, generator=torch.Generator().manual_seed(0))
    features = backbone(x)
    heads = DomainHeads(4, hidden=3, dropout=0.0)
    domains = torch.arange(8).ge(4).long()
    groups = torch.tensor([[0, 5, -1], [1, 2, 6]])
    return {
        "square": features.square().mean(),
        "twice": 2 * features.square().mean(),
        "l2s": clip_domain_loss(heads.classify_clips(features, 0.5), domains),
        "l3s": heads.regress_combined(features, domains, groups, 0.5, seed=0),
        "off": clip_domain_loss(heads.classify_clips(features, 0.0), domains),
        "apart": nn.Parameter(torch.tensor(3.0)).square(),
        "constant": torch.tensor(1.0),
    }


def test_norms_are_those_of_a_backward_pass_of_each_term():
    torch.manual_seed(0)
    backbone = nn.Sequential(nn.Linear(5, 6), nn.BatchNorm1d(6), nn.Linear(6, 4))
    losses = terms(backbone)
    norms = gradient_norms(losses, backbone.parameters())
    assert all(parameter.grad is None for parameter in backbone.parameters())
    assert set(norms) == set(losses) and all(norm.dim() == 0 and not norm.requires_grad for norm in norms.values())
    for name, loss in losses.items():
        backbone.zero_grad()
        if loss.requires_grad:
            loss.backward(retain_graph=True)
        found = [parameter.grad.flatten() for parameter in backbone.parameters() if parameter.grad is not None]
        expected = torch.cat(found).norm() if found else torch.tensor(0.0)
        torch.testing.assert_close(norms[name], expected)
    assert norms["twice"] == pytest.approx(2 * norms["square"].item(), rel=1e-5)
    assert norms["l2s"] > 0 and norms["l3s"] > 0
    assert norms["off"] == norms["apart"] == norms["constant"] == 0


def test_the_step_goes_on_as_if_nobody_had_looked():
    gradients = []
    for look in (False, True):
        torch.manual_seed(0)
        backbone = nn.Linear(5, 4)
        losses = terms(backbone)
        backbone.weight.grad = torch.ones_like(backbone.weight)
        if look:
            gradient_norms(losses, [backbone.weight, backbone.bias.requires_grad_(False)])
            backbone.bias.requires_grad_()
            assert torch.equal(backbone.weight.grad, torch.ones_like(backbone.weight))
        sum(losses.values()).backward()
        gradients.append(backbone.weight.grad)
    assert torch.equal(*gradients)


@pytest.mark.gpu
def test_norms_stay_on_the_device():
    backbone = nn.Linear(5, 4).cuda()
    losses = {
        "square": backbone(torch.randn(8, 5, device="cuda")).square().mean(),
        "none": torch.zeros((), device="cuda"),
    }
    torch.cuda.set_sync_debug_mode("error")
    try:
        norms = gradient_norms(losses, backbone.parameters())
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert all(norm.is_cuda for norm in norms.values())
