"""A batch in slices, one of each process."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, TypeVar

import torch
from torch import Tensor

from . import group
from .collectives import of_each
from .group import several

T = TypeVar("T")


def whole(count: int) -> int:
    """What a count of this rank's slice is in the whole batch."""
    return count * group.size


def part(batch: Sequence[T], micro: int = 1) -> list[T]:
    """This rank's slice of a batch, which divides by the ranks; in the order of ranks they are the batch.

    Args:
        micro: micro-batches, each a stretch of the batch; the slice is then made of a slice of each.
    """
    own = len(batch) // (group.size * micro)
    return [
        one for start in range(group.rank * own, len(batch), group.size * own) for one in batch[start : start + own]
    ]


def share(items: Sequence[T]) -> list[T]:
    """This rank's share of any number of items."""
    return list(items[group.rank :: group.size])


def gather(tree: T, micro: int = 1) -> T:
    """A tensor, or a tuple of such, of all slices (B / ranks, ...) -> of the whole batch (B, ...), with gradient.

    All ranks compute the same of it. So each knows the gradient of all of it, and nothing is sent back; see
    `average` for its factor.

    Args:
        micro: as of `part`.
    """
    if not several():
        return tree
    return _with(tree, iter(_Gather.apply(micro, *_tensors(tree))))


class _Gather(torch.autograd.Function):
    """Slices of tensors -> the tensors; all are sent at once, as most of the time goes into waiting."""

    @staticmethod
    def forward(ctx: Any, micro: int, *own: Tensor) -> tuple[Tensor, ...]:
        ctx.micro = micro
        ctx.set_materialize_grads(False)  # what no loss takes has no gradient, with one process as with several
        sent = [tensor.contiguous().flatten().view(torch.uint8) for tensor in own]
        parts = of_each(torch.cat(sent)).split([len(one) for one in sent], dim=1)
        whole = []
        for tensor, part in zip(own, parts, strict=True):
            slices = (
                part.contiguous().view(tensor.dtype).view(group.size, micro, len(tensor) // micro, *tensor.shape[1:])
            )
            whole.append(slices.transpose(0, 1).flatten(0, 2))
        ctx.mark_non_differentiable(*(tensor for tensor in whole if not tensor.is_floating_point()))
        return tuple(whole)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor | None) -> tuple[Tensor | None, ...]:
        def own(gradient: Tensor) -> Tensor:
            return gradient.unflatten(0, (ctx.micro, group.size, -1))[:, group.rank].flatten(0, 1) * group.size

        return None, *(None if gradient is None else own(gradient) for gradient in gradients)


def _tensors(tree: Any) -> list[Tensor]:
    """A tensor, or those in a tuple and in what it holds."""
    if tree is None or isinstance(tree, Tensor):
        return [] if tree is None else [tree]
    return [tensor for one in tree for tensor in _tensors(one)]


def _with(tree: Any, tensors: Iterator[Tensor]) -> Any:
    """The tree with other tensors in their places."""
    if tree is None or isinstance(tree, Tensor):
        return None if tree is None else next(tensors)
    parts = [_with(one, tensors) for one in tree]
    return type(tree)(*parts) if hasattr(tree, "_fields") else tuple(parts)
