"""What the launchers of kernels ask of a GPU."""

from functools import cache

import torch


@cache
def multiprocessors(device: torch.device) -> int:
    # Elsewhere (interpreted, or compiled for a card that is not here) as many as make several parts.
    return torch.cuda.get_device_properties(device).multi_processor_count if device.type == "cuda" else 4


@cache
def copies_tiles(device: torch.device) -> bool:
    """Whether it copies tiles into shared memory by descriptors, and multiplies them from there: Hopper, Blackwell.

    Not so Blackwell's smaller cards, of capability 12, whose products are those of Ampere.
    """
    return device.type != "cuda" or torch.cuda.get_device_capability(device)[0] in (9, 10)
