"""The InfoNCE term between frames of one person."""

import numpy as np
import pytest
import torch

from vreid_fast.losses import info_nce


@pytest.mark.parametrize("case", ["t4", "t8", "ni2"])
def test_equals_the_authors_values_and_gradients(shared, case):
    data = np.load(shared("parity/losses/losses.npz"))
    projected = torch.tensor(data[f"infonce_in.{case}"], requires_grad=True)
    loss = info_nce(projected.transpose(1, 2), int(data[f"infonce_ni.{case}"]))
    np.testing.assert_allclose(loss.item(), data[f"infonce.{case}"], rtol=1e-5)
    loss.backward()
    np.testing.assert_allclose(projected.grad.numpy(), data[f"grad_infonce.{case}"], rtol=1e-4, atol=1e-6)


def test_pairs_and_what_repels_them_counted_by_hand():
    torch.manual_seed(0)
    projected = torch.randn(6, 3, 5)
    vectors = torch.nn.functional.normalize(projected, dim=2)
    expected = 0.0
    for group in vectors.split(2):
        for t in range(3):
            for a, b in ((0, 1), (1, 0)):
                pair = torch.exp(group[a, t] @ group[b, t] / 0.07)
                others = sum(torch.exp(group[a, t] @ group[k, u] / 0.07) for k in (0, 1) for u in range(3) if u != t)
                expected += -torch.log(pair / (pair + others)) / (3 * 2 * 1)
    torch.testing.assert_close(info_nce(projected, 2), expected)


def test_people_do_not_mix():
    projected = torch.randn(4, 3, 5, requires_grad=True)
    info_nce(projected[:2], 2).backward()
    torch.testing.assert_close(
        info_nce(projected, 2), info_nce(projected[:2], 2) + info_nce(projected[2:], 2), rtol=1e-5, atol=1e-6
    )
    assert projected.grad[:2].abs().max() > 0 and projected.grad[2:].abs().max() == 0


@pytest.mark.parametrize(("shape", "per_identity"), [((4, 1, 8), 2), ((5, 4, 8), 2), ((4, 4, 8), 1), ((4, 8), 2)])
def test_shapes_without_pairs_are_errors(shape, per_identity):
    with pytest.raises(ValueError, match="info_nce: wanted .* got "):
        info_nce(torch.zeros(shape), per_identity)
