"""What a run on a GPU would mix of host and device: shown on the CPU by where each tensor was made."""

import pytest
import torch
from sides import DEVICE, Sides
from small_runs import real_steps


@pytest.mark.parametrize(
    ("method", "knobs"),
    [
        ("source", {"clothes": 1.0, "clothes_by": "memory"}), ("plus", {}), ("glt", {"transport_over": "all"}),
        ("paper", {"clothes": 1.0, "loss_weights": "uncertainty", "combined_sizes": [2, 4]}),
    ],
)  # fmt: skip
def test_steps_and_clusters_mix_nothing(tmp_path, method, knobs):
    with Sides() as sides:
        own = {"gradients_every": 2, "log_every": 1, "cluster_every": 2, **knobs}
        session, steps, batches = real_steps(tmp_path, method, DEVICE, **own)
        with session, batches(3) as loader:
            for both in loader:
                (steps.source if session.learner.adaptation is None else steps.adapt)(*both)
        assert all(sides.side(tensor) == "device" for _, tensor in session.learner.tensors())


def test_what_is_mixed_is_seen():
    with Sides():
        here, there = torch.randn(3), torch.randn(3, device=DEVICE)
        assert there.device == (2 * there).device == torch.zeros(1, device=there.device).device == DEVICE
        assert here.device == there.cpu().device == torch.device("cpu") and here.to(DEVICE).device == DEVICE
        assert torch.equal(there.cpu() + here, here + there.cpu()) and there[here.argsort()].device == DEVICE
        for mixes in (
            lambda: here + there, lambda: torch.stack([there, here]), lambda: there.mul_(here),
            lambda: here[there.argsort()], lambda: torch.nn.Linear(3, 3)(there),
        ):  # fmt: skip
            with pytest.raises(AssertionError, match="between host and device"):
                mixes()
        with pytest.raises(AssertionError, match="numpy"):
            there.numpy()
