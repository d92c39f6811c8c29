"""Cross-entropy (eq. 5) and the batch-hard triplet loss (eq. 6)."""

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from vreid_fast.losses import batch_hard_triplet, cross_entropy, soft_triplet


def test_cross_entropy_is_the_mean_log_loss():
    logits, labels = torch.tensor([[2.0, 0.0], [0.0, 0.0]]), torch.tensor([0, 1])
    expected = (torch.log1p(torch.tensor(-2.0).exp()) + torch.log(torch.tensor(2.0))) / 2
    torch.testing.assert_close(cross_entropy(logits, labels), expected)


@pytest.mark.parametrize("case", ["a", "b"])
def test_label_smoothing_equals_the_field_s_numbers(shared, case):
    data = np.load(shared("parity/losses/losses.npz"))
    logits, labels = 4 * torch.tensor(data[f"cal_cos.{case}"]), torch.tensor(data[f"cal_label.{case}"])
    np.testing.assert_allclose(cross_entropy(logits, labels, 0.1).item(), data[f"ls_ce_4x.{case}"], rtol=1e-5)


def test_half_precision_is_widened_and_float64_is_kept():
    logits, labels = torch.randn(4, 3, dtype=torch.float64), torch.tensor([0, 1, 1, 0])
    assert cross_entropy(logits, labels).dtype == batch_hard_triplet(logits, labels).dtype == torch.float64
    assert cross_entropy(logits.bfloat16(), labels).dtype == torch.float32
    assert batch_hard_triplet(logits.bfloat16(), labels).dtype == torch.float32


@pytest.mark.parametrize("case", ["a", "b", "c"])
@pytest.mark.parametrize(
    ("distance", "variant"),
    [("cosine", "sinet_cosine_m0.3"), ("cosine", "psta_cosine_m0.3"), ("euclidean", "torchreid_euclidean_m0.3")],
)
def test_triplet_equals_the_field_s_numbers(shared, case, distance, variant):
    data = np.load(shared("parity/losses/losses.npz"))
    features = torch.tensor(data[f"feat_{case}"], requires_grad=True)
    labels = torch.tensor(data[f"label_{case}"])
    loss = batch_hard_triplet(features, labels, 0.3, distance)
    np.testing.assert_allclose(loss.item(), data[f"triplet_{variant}.{case}"], rtol=1e-5, atol=1e-6)
    loss.backward()
    expected = data[f"grad_triplet_{variant}.{case}"]
    np.testing.assert_allclose(features.grad.numpy(), expected, rtol=1e-4, atol=1e-6)


def test_triplet_of_orthogonal_features_is_the_margin():
    loss = batch_hard_triplet(torch.eye(4), torch.tensor([0, 0, 1, 1]), 0.3, "cosine")
    assert loss.item() == pytest.approx(0.3)


def test_triplet_without_a_negative_is_zero_with_zero_gradient():
    features = torch.randn(3, 5, requires_grad=True)
    loss = batch_hard_triplet(features, torch.zeros(3, dtype=torch.long))
    loss.backward()
    assert loss.item() == 0 and features.grad.abs().max() == 0


def test_triplet_gradient_is_finite_for_equal_features():
    features = torch.ones(4, 5, requires_grad=True)
    batch_hard_triplet(features, torch.tensor([0, 0, 1, 1]), distance="euclidean").backward()
    assert features.grad.isfinite().all()


def test_unknown_distance_is_named():
    with pytest.raises(ValueError, match="euclidean or cosine, got 'manhattan'"):
        batch_hard_triplet(torch.eye(2), torch.arange(2), distance="manhattan")


@pytest.mark.parametrize("distance", ["euclidean", "cosine"])
def test_a_soft_margin_is_a_softplus_of_the_same_hardest(distance):
    generator = torch.Generator().manual_seed(3)
    features, labels = (
        torch.randn(9, 4, generator=generator, requires_grad=True),
        torch.tensor([0, 0, 0, 1, 1, 2, 2, 2, 3]),
    )
    unit = F.normalize(features, dim=1)
    distances = torch.cdist(features, features) if distance == "euclidean" else -unit @ unit.T
    expected = []
    for row, label in zip(distances, labels, strict=True):
        own = row[labels == label].max()
        expected.append(torch.log1p(torch.exp(own - row[labels != label].min())))
    loss = soft_triplet(features, labels, distance)
    torch.testing.assert_close(loss, torch.stack(expected).mean(), rtol=1e-5, atol=1e-5)
    loss.backward()
    assert torch.isfinite(features.grad).all()


def test_a_soft_margin_without_a_negative_is_no_loss():
    features = torch.randn(4, 3, requires_grad=True)
    loss = soft_triplet(features, torch.zeros(4, dtype=torch.int64))
    loss.backward()
    assert float(loss.detach()) == 0 and float(features.grad.abs().max()) == 0
