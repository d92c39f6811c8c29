"""What the processes tell each other: tensors, flags, values."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

import torch
from torch import Tensor

from vreid_fast.errors import Failed, InputError

from . import group
from .group import call, first, local, several

T = TypeVar("T")
FEW = 4096
"""Numbers that gloo sends to all sooner than it adds them up: 0.5 ms for 1.4 ms, two processes of an AMD EPYC."""


def of_each(own: Tensor) -> Tensor:
    """A tensor of the same shape on each rank -> (ranks, ...), equal on all; without gradient."""
    if not several():
        return own.unsqueeze(0)
    parts = own.new_empty((group.size, *own.shape))
    call(torch.distributed.all_gather, list(parts.unbind()), own.contiguous())
    return parts


def add_up(values: Tensor) -> Tensor:
    """The sum over ranks, in place; without gradient."""
    if several() and values.device.type == "cpu" and values.numel() <= FEW:
        values.copy_(of_each(values).sum(0))
    elif several():
        call(torch.distributed.all_reduce, values)
    return values


@torch.no_grad()
def average(tensors: Iterable[Tensor | None]) -> None:
    """The mean over ranks, in place.

    Of gradients it is that of the whole batch. What was computed after `gather`, on every rank alike, is as it was; and
    what was before it is the sum over slices, as the gradient that `gather` hands back is times the ranks.
    """
    if not several():
        return
    found = [tensor for tensor in tensors if tensor is not None]
    for kind in dict.fromkeys(tensor.dtype for tensor in found):
        alike = [tensor for tensor in found if tensor.dtype == kind]
        flat = add_up(torch.cat([tensor.flatten() for tensor in alike])).div_(group.size)
        for tensor, values in zip(alike, flat.split([tensor.numel() for tensor in alike]), strict=True):
            tensor.copy_(values.view(tensor.shape))


def anyone(flag: bool) -> bool:
    """Whether the flag is set on any rank."""
    return bool(flag) if not several() else bool(add_up(torch.tensor(int(flag))))


def of_first(work: Callable[[], T], device: torch.device | str = "cpu") -> T:
    """What `work` returns, or raises, on the first rank, which alone does it.

    Args:
        device: of the tensors in it.
    """
    if not several():
        return work()
    sent: list[bytes | None] = [None]
    if first():
        result, error = None, None
        try:
            result = work()
        except (InputError, Failed, OSError) as raised:
            error = raised
        content = io.BytesIO()
        torch.save((result, error), content)
        sent = [content.getvalue()]
    call(torch.distributed.broadcast_object_list, sent, src=0)
    assert sent[0] is not None
    # Of a process of this run, which may send what it likes.
    result, error = torch.load(io.BytesIO(sent[0]), map_location=device, weights_only=False)
    if error is not None:
        raise error
    return result


def of_first_here(value: T) -> T:
    """The value of the first rank of this machine."""
    return of_all(value)[group.rank - local()[0]]


def of_all(value: T) -> list[T]:
    """The value of each rank."""
    if not several():
        return [value]
    values: list[Any] = [None] * group.size
    call(torch.distributed.all_gather_object, values, value)
    return values
