"""The update of ema.py in plain torch, and its parts."""

from __future__ import annotations

import torch
from torch import Tensor


def ema_update_reference(
    teacher: list[Tensor],
    student: list[Tensor],
    copies: list[Tensor],
    counters: Tensor,
    rates: Tensor,
    averaged: int,
    warmup: bool,
) -> None:
    """``torch.ops.vreid_fast.ema_update_`` in plain torch.

    With a = min(1 - 1 / (counters[0] + 1), rates[0]), or rates[0] without warm-up: teacher[i] = a *
    teacher[i] + (1 - a) * student[i] for i < averaged, computed in float64, teacher[i] = student[i] for the
    others; copies[i] = teacher[i], unless `copies` is empty; rates[1] = a; counters[0] grows by 1.
    """
    decay = decay_now(counters, rates, warmup)
    for index, (mine, other) in enumerate(zip(teacher, student, strict=True)):
        if index < averaged:
            average_(mine, other, decay)
        else:
            mine.copy_(other)
    for copied, mine in zip(copies, teacher, strict=False):
        copied.copy_(mine)
    count_update(counters, rates, decay)


def decay_now(counters: Tensor, rates: Tensor, warmup: bool) -> Tensor:
    """The `a` of this update: float64, 0-d, on the schedule's device."""
    return torch.minimum(1 - 1 / (counters[0] + 1).double(), rates[0]) if warmup else rates[0]


def average_(mine: Tensor, other: Tensor, decay: Tensor) -> None:
    """mine = decay * mine + (1 - decay) * other in float64; at a decay of 0 `other`, whatever `mine` held."""
    mean = decay * mine.double() + (1 - decay) * other.double()
    mine.copy_(torch.where(decay == 0, other.double(), mean))


def count_update(counters: Tensor, rates: Tensor, decay: Tensor) -> None:
    rates[1] = decay
    counters[0] += 1
