"""What the launchers of kernels ask of a GPU."""

from functools import cache

import torch


@cache
def multiprocessors(device: torch.device) -> int:
    # Elsewhere (interpreted, or compiled for a card that is not here) as many as make several parts.
    return torch.cuda.get_device_properties(device).multi_processor_count if device.type == "cuda" else 4
