"""Domain heads (models/domain.py) and domain losses (losses/domain.py): eq. 7-9."""

import json

import numpy as np
import pytest
import torch

from vreid_fast.losses import clip_domain_loss, draw_groups, frame_domain_loss
from vreid_fast.models import DomainHeads, reversal_strength


def test_reversal_strength_follows_the_authors_schedule(shared):
    schedules = json.loads(shared("parity/algorithms/schedules.json").read_text())
    for step, beta in zip(schedules["iterations"], schedules["beta_horizon20000"]):
        assert reversal_strength(step / 20000) == pytest.approx(beta, abs=1e-9)
    assert reversal_strength(0.0) == 0.0


def test_frame_loss_labels_each_frame_with_its_clip_s_domain():
    logits, domains = torch.randn(3, 4, 2), torch.tensor([0, 1, 1])
    expected = torch.nn.functional.cross_entropy(logits.reshape(12, 2), domains[:, None].expand(3, 4).reshape(12))
    torch.testing.assert_close(frame_domain_loss(logits, domains), expected)


def test_clip_loss_is_cross_entropy():
    assert clip_domain_loss(torch.zeros(4, 2), torch.tensor([0, 0, 1, 1])).item() == pytest.approx(np.log(2), rel=1e-6)


def test_groups_hold_different_clips_and_pad_with_minus_one():
    groups = draw_groups(10, 200, (2, 4, 8), np.random.default_rng(0))
    assert groups.shape == (200, 8)
    sizes = (groups >= 0).sum(1)
    assert set(sizes.tolist()) == {2, 4, 8}
    for group, size in zip(groups, sizes):
        assert len(group[:size].unique()) == size and (group[size:] == -1).all()
    assert groups[groups >= 0].unique().tolist() == list(range(10))


def test_groups_are_cut_to_the_clips_there_are():
    assert draw_groups(3, 5, (8,), np.random.default_rng(0)).shape == (5, 3)


@pytest.mark.parametrize("head", ["frames", "clips", "combined"])
def test_each_head_reverses_what_reaches_the_features(head):
    torch.manual_seed(0)
    heads = DomainHeads(6, hidden=8, dropout=0.0)
    domains = torch.tensor([0, 0, 1, 1])
    clips, frames = torch.randn(4, 6), torch.randn(4, 3, 6)
    groups = torch.tensor([[0, 1], [2, 3], [0, 2], [3, -1]])

    def gradients(strength):
        heads.zero_grad()
        x = (frames if head == "frames" else clips).clone().requires_grad_()
        if head == "frames":
            loss = frame_domain_loss(heads.classify_frames(x, strength), domains)
        elif head == "clips":
            loss = clip_domain_loss(heads.classify_clips(x, strength), domains)
        else:
            loss = heads.regress_combined(x, domains, groups, strength, seed=0)
        loss.backward()
        own = [parameter.grad.clone() for parameter in heads.parameters() if parameter.grad is not None]
        return x.grad, own

    plain, own_plain = gradients(-1.0)  # strength -1 undoes the reversal
    reversed_, own = gradients(torch.tensor(0.7))
    assert plain.abs().max() > 0
    torch.testing.assert_close(reversed_, -0.7 * plain)
    for one, other in zip(own, own_plain):
        torch.testing.assert_close(one, other)


@pytest.mark.parametrize("head", ["frame", "clip"])
def test_a_positive_strength_is_against_the_head_s_own_gradient(head):
    torch.manual_seed(0)
    heads = DomainHeads(6, hidden=8, dropout=0.0)
    features = torch.randn(4, 3, 6) if head == "frame" else torch.randn(4, 6)
    classify = heads.classify_frames if head == "frame" else heads.classify_clips
    gradients = []
    for logits_of in (getattr(heads, head), lambda x: classify(x, 0.5)):
        x = features.clone().requires_grad_()
        logits_of(x)[..., 1].sum().backward()
        gradients.append(x.grad)
    torch.testing.assert_close(gradients[1], -0.5 * gradients[0])
