"""Where a run stands between two steps."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import nn


class Standing:
    """What scores and clusters may change before they are whole: batch-norm statistics and random numbers.

    Args:
        networks: their buffers are copied.
    """

    def __init__(self, networks: Iterable[nn.Module], device: torch.device):
        self._buffers = [(buffer, buffer.clone()) for network in networks for buffer in network.buffers()]
        self.chance = chance(device)

    def put_back(self) -> None:
        """Have the networks hold what they held."""
        for buffer, value in self._buffers:
            buffer.copy_(value)


def chance(device: torch.device) -> dict:
    """Where random numbers stand, as a checkpoint keeps it; of a GPU those of the process that writes it, as each draws
    the same on its own."""
    cuda = [torch.cuda.get_rng_state(device)] if device.type == "cuda" else []
    return {"random": torch.get_rng_state(), "random_cuda": cuda}


def set_chance(state: dict, device: torch.device) -> None:
    """Go on with the random numbers of a checkpoint; those of a GPU where the run is on one."""
    torch.set_rng_state(state["random"])
    if state["random_cuda"] and device.type == "cuda":
        torch.cuda.set_rng_state(state["random_cuda"][0], device)  # earlier ones have those of all GPUs
