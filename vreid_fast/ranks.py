"""The processes of a run, as torchrun starts them: each has a rank and computes a part of every batch.

A plan, a loss or a memory never learns how many there are: `part` takes a rank's slice of a batch before it is read,
`gather` makes outputs of all slices those of the whole batch again, and from there on every rank computes the same.
`average` makes one of what each found of the parts that were computed in slices. With one process each function
does nothing, and nothing is imported.
"""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from datetime import timedelta
from typing import Any, TypeVar

import torch
from torch import Tensor

from .errors import Failed, InputError
from .rank_store import RankStore

T = TypeVar("T")
LATEST = 600
"""Seconds that a rank waits for the others, unless `wait_at_most` says more or less."""
FEW = 4096
"""Numbers that gloo sends to all sooner than it adds them up: 0.5 ms for 1.4 ms, two processes of an AMD EPYC."""
LINE = "torchrun --nproc-per-node N -m vreid_fast.train -- --run DIR"

_rank, _size = 0, 1
_patience = f"{LATEST} s"
_store: RankStore | None = None


class Lost(Failed):
    """Another process of the run ended, or did not come."""


def first() -> bool:
    """Whether this is the rank that writes and speaks."""
    return _rank == 0


def several() -> bool:
    """Whether there are others."""
    return _size > 1


def local() -> tuple[int, int]:
    """Number of this rank among those of this machine, and how many these are."""
    return (_number("LOCAL_RANK", 0), _number("LOCAL_WORLD_SIZE", _size)) if several() else (0, 1)


def restarted() -> bool:
    """Whether torchrun started the ranks anew, after one of them had failed, and these had `begun`."""
    return _store is not None and _starts() > 0 and _store.begun()


def begun() -> None:
    """From now on there is something that ranks which are started anew can go on with."""
    if _store is not None:
        _store.begin()


@contextmanager
def joined() -> Iterator[None]:
    """Within, this process is one of those that WORLD_SIZE counts; the first alone prints to standard output.

    Raises:
        InputError: they are not told enough to find each other.
    """
    global _rank, _size
    if _number("WORLD_SIZE", 1) <= 1:
        yield
        return
    _join()
    try:
        if first():
            yield
        else:
            with open(os.devnull, "w") as nowhere, redirect_stdout(nowhere):
                yield
        # A rank that leaves while another still works may take that one with it.
        _call(torch.distributed.barrier)
    finally:
        _rank, _size = 0, 1
        torch.distributed.destroy_process_group()


def _join() -> None:
    global _rank, _size, _store
    names = "RANK", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"
    missing = [name for name in names if name not in os.environ]
    if missing:
        size = os.environ["WORLD_SIZE"]
        raise InputError(
            f"started as {size} processes (WORLD_SIZE={size}) without {', '.join(missing)}, by which they find each "
            f"other; start them by torchrun: {LINE}"
        )
    import torch.distributed

    found, rank, size = next(torch.distributed.rendezvous("env://"))
    store = RankStore(found, rank, size, _starts())
    if late := store.meet(LATEST):
        raise Lost(_absent(late, size, f"{LATEST} s"))
    # Tensors of either kind of device have a library of their own; words and flags are on the CPU.
    backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
    torch.distributed.init_process_group(
        backend, store=store.of_start, rank=rank, world_size=size, timeout=timedelta(seconds=LATEST)
    )
    _store, _rank, _size = store, rank, size


def wait_at_most(seconds: int) -> None:
    """From now on a rank that waits so long for another takes it for lost."""
    global _patience
    _patience = f"{seconds} s (--rank_timeout)"
    if several():
        # The knobs are read after the ranks have joined, and torch has no public way to change it then.
        torch.distributed.distributed_c10d._set_pg_timeout(timedelta(seconds=seconds))


@contextmanager
def one_voice() -> Iterator[bool]:
    """Around what a command says as it ends: whether it is this rank that says it, as the first that has something.

    The others wait until it is said: torchrun ends the rest once one has gone.
    """
    if _store is None:
        yield _number("RANK", 0) == 0 or _number("WORLD_SIZE", 1) <= 1
        return
    with _store.one_voice() as mine:
        yield mine


def whole(count: int) -> int:
    """What a count of this rank's slice is in the whole batch."""
    return count * _size


def part(batch: Sequence[T], micro: int = 1) -> list[T]:
    """This rank's slice of a batch, which divides by the ranks; in the order of ranks they are the batch.

    Args:
        micro: micro-batches, each a stretch of the batch; the slice is then made of a slice of each.
    """
    own = len(batch) // (_size * micro)
    return [one for start in range(_rank * own, len(batch), _size * own) for one in batch[start : start + own]]


def share(items: Sequence[T]) -> list[T]:
    """This rank's share of any number of items."""
    return list(items[_rank::_size])


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


def of_each(own: Tensor) -> Tensor:
    """A tensor of the same shape on each rank -> (ranks, ...), equal on all; without gradient."""
    if not several():
        return own.unsqueeze(0)
    parts = own.new_empty((_size, *own.shape))
    _call(torch.distributed.all_gather, list(parts.unbind()), own.contiguous())
    return parts


def add_up(values: Tensor) -> Tensor:
    """The sum over ranks, in place; without gradient."""
    if several() and values.device.type == "cpu" and values.numel() <= FEW:
        values.copy_(of_each(values).sum(0))
    elif several():
        _call(torch.distributed.all_reduce, values)
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
        flat = add_up(torch.cat([tensor.flatten() for tensor in alike])).div_(_size)
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
    _call(torch.distributed.broadcast_object_list, sent, src=0)
    assert sent[0] is not None
    # Of a process of this run, which may send what it likes.
    result, error = torch.load(io.BytesIO(sent[0]), map_location=device, weights_only=False)
    if error is not None:
        raise error
    return result


def of_first_here(value: T) -> T:
    """The value of the first rank of this machine."""
    return of_all(value)[_rank - local()[0]]


def of_all(value: T) -> list[T]:
    """The value of each rank."""
    if not several():
        return [value]
    values: list[Any] = [None] * _size
    _call(torch.distributed.all_gather_object, values, value)
    return values


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
            slices = part.contiguous().view(tensor.dtype).view(_size, micro, len(tensor) // micro, *tensor.shape[1:])
            whole.append(slices.transpose(0, 1).flatten(0, 2))
        ctx.mark_non_differentiable(*(tensor for tensor in whole if not tensor.is_floating_point()))
        return tuple(whole)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor | None) -> tuple[Tensor | None, ...]:
        def own(gradient: Tensor) -> Tensor:
            return gradient.unflatten(0, (ctx.micro, _size, -1))[:, _rank].flatten(0, 1) * _size

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


def _call(collective: Callable, *arguments: Any, **options: Any) -> Any:
    """A collective; Lost where another rank is no more there."""
    try:
        return collective(*arguments, **options)
    except RuntimeError as error:
        assert _store is not None
        if late := _store.missed("timed out" in str(error).lower()):
            raise Lost(_absent(late, _size, _patience)) from error
        # Of gloo, which begins with a file of its own and ends with good wishes.
        reason = next(iter(str(error).splitlines()), "").split("] ", 1)[-1].split(". ")[0]
        raise Lost(f"another of the {_size} processes of this run ended ({reason})") from error


def _absent(late: list[int], size: int, patience: str) -> str:
    return f"process {' and '.join(map(str, late))} of 0 to {size - 1} did not come within {patience}"


def _starts() -> int:
    """How often torchrun started the ranks anew."""
    return _number("TORCHELASTIC_RESTART_COUNT", 0)


def _number(name: str, otherwise: int) -> int:
    word = os.environ.get(name, "")
    return int(word) if word.isdecimal() else otherwise
