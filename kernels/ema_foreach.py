"""The update of ema.py in a few launches of torch's own: for a GPU whose C++ extension was built without CUDA."""

from __future__ import annotations

import torch
from torch import Tensor

from .ema_reference import average_, count_update, decay_now


def ema_update_foreach(
    teacher: list[Tensor],
    student: list[Tensor],
    copies: list[Tensor],
    counters: Tensor,
    rates: Tensor,
    averaged: int,
    warmup: bool,
) -> None:
    """`ema_update_reference`, computed in the tensors' own dtype where that is float32 or float64.

    A teacher's NaN or infinity stays where the decay is 0, which elsewhere makes it the student.
    """
    decay = decay_now(counters, rates, warmup)
    pairs = list(zip(teacher, student, strict=True))
    if any(own.shape != other.shape for own, other in pairs):
        raise ValueError("ema: teacher and student must have the same shapes")  # before anything is written
    for dtype in (torch.float32, torch.float64):
        alike = [pair for pair in pairs[:averaged] if pair[0].dtype == pair[1].dtype == dtype]
        if alike:
            mine, others = ([pair[side] for pair in alike] for side in (0, 1))
            torch._foreach_mul_(mine, (decay != 0).to(dtype))  # so that a decay of 0 gives the student, exactly
            steps = torch._foreach_sub(others, mine)
            torch._foreach_mul_(steps, (1 - decay).to(dtype))
            torch._foreach_add_(mine, steps)
    for own, other in pairs[:averaged]:
        if own.dtype != other.dtype or own.dtype not in (torch.float32, torch.float64):
            average_(own, other, decay)
    if pairs[averaged:]:
        torch._foreach_copy_(teacher[averaged:], student[averaged:])
    if copies:
        torch._foreach_copy_(copies, teacher)
    count_update(counters, rates, decay)
