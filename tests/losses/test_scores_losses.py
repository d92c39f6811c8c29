"""The loss on scores of pairs: its authors' numbers, a loop, and clips without a partner."""

import numpy as np
import pytest
import torch

from vreid_fast.losses import score_triplet


def test_it_equals_the_authors(shared):
    given = np.load(shared("parity/losses") / "losses.npz")
    scores, labels = torch.from_numpy(given["qaconv_score"]), torch.from_numpy(given["qaconv_label"])
    of_each = given["qaconv_triplet_m16"]
    finite = of_each[np.isfinite(of_each)]
    assert float(score_triplet(scores, labels)) == pytest.approx(float(finite.mean()), rel=1e-6)


def test_clips_without_a_positive_or_a_negative_do_not_count():
    scores = torch.tensor([[9.0, 2, 5], [2, 9, 1], [5, 1, 9]], requires_grad=True)
    loss = score_triplet(scores, torch.tensor([0, 0, 1]), margin=3.0)
    # The first: 5 - 2 + 3; the second: 1 - 2 + 3; the third is alone.
    assert float(loss) == pytest.approx((6 + 2) / 2)
    loss.backward()
    assert scores.grad.isfinite().all() and scores.grad[0].tolist() == [0, -0.5, 0.5]
    for labels in ([0, 1, 2], [0, 0, 0]):
        scores.grad = None
        loss = score_triplet(scores, torch.tensor(labels), margin=3.0)
        loss.backward()
        assert float(loss) == 0 and scores.grad.isfinite().all() and not scores.grad.any()
