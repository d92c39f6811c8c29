"""Losses of clothes against the authors' numbers, and against their definition written out."""

import math

import numpy as np
import pytest
import torch
from parity import error
from torch.nn import functional as F

from vreid_fast.losses import (
    ClothesClassifier,
    ClothesMemory,
    clothes_adversarial_loss,
    clothes_cosines,
    clothes_cross_entropy,
)


def by_definition(cosines, clothes, owners, scale, epsilon):
    """Clip by clip, class by class."""
    total = 0.0
    for row, worn in zip((scale * cosines.double()).tolist(), clothes.tolist(), strict=True):
        own = [c for c in range(len(row)) if owners[c] == owners[worn]]
        others = sum(math.exp(row[c]) for c in range(len(row)) if c not in own)
        for c in own:
            weight = epsilon / len(own) + (1 - epsilon) * (c == worn)
            total -= weight * math.log(math.exp(row[c]) / (others + math.exp(row[c])))
    return total / len(clothes)


@pytest.mark.parametrize("epsilon", [0.0, 0.1, 0.3, 1.0])
def test_adversarial_loss_is_its_definition(epsilon):
    generator = torch.Generator().manual_seed(0)
    cosines = 2 * torch.rand(7, 6, generator=generator, dtype=torch.float64) - 1
    owners, clothes = torch.tensor([0, 0, 0, 1, 2, 2]), torch.tensor([0, 2, 3, 3, 5, 4, 0])
    ours = clothes_adversarial_loss(cosines, clothes, owners, epsilon=epsilon)
    assert float(ours) == pytest.approx(by_definition(cosines, clothes, owners, 16.0, epsilon), rel=1e-12)


def test_one_outfit_each_is_a_softmax_over_scaled_cosines():
    cosines, clothes = torch.rand(5, 4), torch.tensor([0, 3, 1, 1, 2])
    for epsilon in (0.0, 0.1):
        ours = clothes_adversarial_loss(cosines, clothes, torch.arange(4), epsilon=epsilon)
        torch.testing.assert_close(ours, F.cross_entropy(16 * cosines, clothes))


def test_one_person_alone_has_nothing_to_tell_apart():
    cosines = torch.rand(3, 2, requires_grad=True)
    loss = clothes_adversarial_loss(cosines, torch.tensor([0, 1, 1]), torch.zeros(2, dtype=torch.int64))
    loss.backward()
    assert float(loss.detach()) == pytest.approx(0.0, abs=1e-6)
    assert torch.isfinite(cosines.grad).all()


def test_gradient_of_the_adversarial_loss():
    cosines = torch.rand(4, 5, dtype=torch.float64, requires_grad=True)
    owners, clothes = torch.tensor([0, 0, 1, 1, 2]), torch.tensor([0, 3, 4, 1])
    assert torch.autograd.gradcheck(lambda x: clothes_adversarial_loss(x, clothes, owners), (cosines,))


@pytest.mark.parametrize("case", ["a", "b"])
def test_losses_match_the_authors_numbers(shared, case):
    data = np.load(shared("parity/losses/losses.npz"))
    labels = torch.from_numpy(data[f"cal_label.{case}"])
    masks = torch.from_numpy(data[f"cal_positive_mask.{case}"])
    owners = owners_from(masks, labels)
    for name, loss in {
        "cal_0.1": lambda x: clothes_adversarial_loss(x, labels, owners, epsilon=0.1),
        "cal_0.3": lambda x: clothes_adversarial_loss(x, labels, owners, epsilon=0.3),
        "clothes_ce": lambda x: clothes_cross_entropy(x, labels),
    }.items():
        cosines = torch.from_numpy(data[f"cal_cos.{case}"]).requires_grad_()
        ours = loss(cosines)
        ours.backward()
        assert error(ours, data[f"{name}.{case}"]) < 1e-5
        assert error(cosines.grad, data[f"grad_{name}.{case}"]) < 5e-5


def owners_from(masks, labels):
    """A person for each class of clothes: those of one row's mask are one's. Classes of nobody are their own."""
    owners = torch.arange(masks.shape[1])
    for mask in masks.bool():
        owners[mask] = owners[mask].min()
    assert all((owners[label] == owners).equal(mask.bool()) for mask, label in zip(masks, labels, strict=True))
    return owners


def test_memory_matches_the_authors_numbers(shared):
    data = np.load(shared("parity/losses/losses.npz"))
    memory, owners = ClothesMemory(6, 8, momentum=0.2), torch.from_numpy(data["calmem_owner"])
    for features, clothes, loss, after in zip(
        *(torch.from_numpy(data[f"calmem_{name}"]) for name in ("feat", "label", "loss", "memory_after")), strict=True
    ):
        memory.follow(features, clothes)
        cosines = clothes_cosines(features, memory.directions)
        ours = clothes_adversarial_loss(cosines, clothes, owners, known=memory.known)
        assert error(memory.directions, after) < 1e-6
        assert error(ours, loss) < 1e-5


def test_a_classifier_begins_with_directions_of_length_one():
    directions = ClothesClassifier(3, 5).directions.detach()
    torch.testing.assert_close(directions.norm(dim=1), torch.ones(3))
    expected = F.cosine_similarity((features := torch.randn(4, 5)).unsqueeze(1), directions.unsqueeze(0), dim=2)
    torch.testing.assert_close(clothes_cosines(features, directions), expected)
