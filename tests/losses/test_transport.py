"""Labels by optimal transport against a plain Sinkhorn loop, and on classes that were planted."""

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from vreid_fast.losses import transport_plan


def plain(scores, power, iterations=20_000):
    """Rows and columns scaled in turn, in float64."""
    likelihood = np.exp(power * torch.as_tensor(scores).double().log_softmax(1).numpy())
    rows, columns = np.ones(likelihood.shape[0]), np.ones(likelihood.shape[1])
    for _ in range(iterations):
        rows = 1 / len(rows) / (likelihood @ columns)
        columns = 1 / len(columns) / (rows @ likelihood)
    return rows[:, None] * likelihood * columns


@pytest.mark.parametrize(("samples", "classes", "power"), [(40, 5, 1.0), (50, 7, 5.0), (12, 12, 2.0), (3, 6, 4.0)])
def test_the_plan_is_that_of_a_plain_loop(samples, classes, power):
    scores = torch.randn(samples, classes, generator=torch.Generator().manual_seed(samples))
    plan = transport_plan(scores, power, tolerance=1e-6, most=20_000)
    np.testing.assert_allclose(plan.numpy(), plain(scores, power), atol=1e-5 / samples)


@pytest.mark.parametrize("power", [1.0, 25.0])
def test_marginals_are_uniform(power):
    generator = torch.Generator().manual_seed(1)
    features, heads = (F.normalize(torch.randn(n, 16, generator=generator), dim=1) for n in (300, 20))
    plan = transport_plan(features @ heads.T, power)
    torch.testing.assert_close(plan.sum(1), torch.full((300,), 1 / 300), rtol=1e-4, atol=0)
    torch.testing.assert_close(plan.sum(0), torch.full((20,), 1 / 20), rtol=1e-3, atol=0)
    assert plan.min() >= 0


def test_planted_classes_are_found_where_the_likeliest_class_is_wrong():
    """Every score leans to class 0; as many must go to each, so that those who lean least to it are the others'."""
    labels = torch.arange(4).repeat_interleave(25)
    scores = 2.0 * F.one_hot(labels, 4) + torch.tensor([3.0, 0.0, 0.0, 0.0])
    scores += 0.1 * torch.randn(100, 4, generator=torch.Generator().manual_seed(0))
    assert (scores.argmax(1) == labels).float().mean() == 0.25
    assert torch.equal(transport_plan(scores, 5.0).argmax(1), labels)


def test_scores_far_apart_do_not_overflow():
    scores = torch.tensor([[1e4, 0.0, -1e4], [0.0, 1e4, 0.0], [-1e4, 0.0, 1e4]])
    plan = transport_plan(scores, 25.0)
    torch.testing.assert_close(plan, torch.eye(3) / 3)


def test_one_class_takes_all():
    torch.testing.assert_close(transport_plan(torch.randn(5, 1)), torch.full((5, 1), 0.2))


@pytest.mark.parametrize(
    "scores, message",
    [(torch.zeros(3), "must be .N, K., got .3,."), (torch.full((2, 2), torch.nan), "must be finite")],
)
def test_bad_scores(scores, message):
    with pytest.raises(ValueError, match=message):
        transport_plan(scores)
