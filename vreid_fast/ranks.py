"""The processes of a run, as torchrun starts them: each has a rank and computes a part of every batch.

A plan, a loss or a memory never learns how many there are: `part` takes a rank's slice of a batch before it is read,
`gather` makes outputs of all slices those of the whole batch again, and from there on every rank computes the same.
`reduce_gradients` adds up what each found of the parts that were computed in slices. With one process each function
does nothing, and nothing is imported.
"""

from __future__ import annotations

import hashlib
import io
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout, suppress
from datetime import timedelta
from typing import Any, TypeVar

import torch
from torch import Tensor

from .errors import Failed, InputError

T = TypeVar("T")
PATIENCE = timedelta(seconds=10)
"""How long a rank waits for another's last words."""
LINE = "torchrun --nproc-per-node N -m vreid_fast.train -- --run DIR"

_rank, _size = 0, 1
_store: Any = None
"""Where ranks leave words for each other, beside the collectives."""


class Lost(Failed):
    """Another process of the run ended."""


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
    """Whether torchrun started the ranks anew, after one of them had failed."""
    return several() and _number("TORCHELASTIC_RESTART_COUNT", 0) > 0


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
    missing = [name for name in ("RANK", "MASTER_ADDR", "MASTER_PORT") if name not in os.environ]
    if missing:
        size = os.environ["WORLD_SIZE"]
        raise InputError(
            f"started as {size} processes (WORLD_SIZE={size}) without {', '.join(missing)}, by which they find each "
            f"other; start them by torchrun: {LINE}"
        )
    import torch.distributed

    found, rank, size = next(torch.distributed.rendezvous("env://"))
    # After a restart torchrun's store may still have the addresses of those who are gone.
    store = torch.distributed.PrefixStore(f"start_{_number('TORCHELASTIC_RESTART_COUNT', 0)}", found)
    # Tensors of either kind of device have a library of their own; words and flags are on the CPU.
    backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
    torch.distributed.init_process_group(backend, store=store, rank=rank, world_size=size)
    _store, _rank, _size = torch.distributed.PrefixStore("last_words", store), rank, size


@contextmanager
def one_voice() -> Iterator[bool]:
    """Around what a command says as it ends: whether it is this rank that says it, as the first that has something.

    The others wait until it is said: torchrun ends the rest once one has gone.
    """
    if _store is None:
        yield _number("RANK", 0) == 0 or _number("WORLD_SIZE", 1) <= 1
        return
    mine = True
    with suppress(RuntimeError):  # of a store that has ended with its rank
        mine = _store.add("speaker", 1) == 1
        if not mine:
            _store.wait(["said"], PATIENCE)
    yield mine
    if mine:
        with suppress(RuntimeError):
            _store.set("said", "")


def check_divides(knob: str, value: int) -> None:
    """InputError for a batch that is not the same for all ranks."""
    if value % _size:
        near = sorted({max(1, value // _size) * _size, -(-value // _size) * _size})
        raise InputError(
            f"{knob} {value}: does not divide by the {_size} processes of this run; set {knob} to "
            f"{' or '.join(map(str, near))}, or start another number of them"
        )


def whole(count: int) -> int:
    """What a count of this rank's slice is in the whole batch."""
    return count * _size


def part(batch: Sequence[T]) -> list[T]:
    """This rank's slice of a batch, which divides by the ranks; in the order of ranks they are the batch."""
    own = len(batch) // _size
    return list(batch[_rank * own : (_rank + 1) * own])


def share(items: Sequence[T]) -> list[T]:
    """This rank's share of any number of items."""
    return list(items[_rank::_size])


def gather(tree: T) -> T:
    """A tensor, or a tuple of such, of all slices (B / ranks, ...) -> of the whole batch (B, ...), with gradient.

    All ranks compute the same of it. So each knows the gradient of all of it, and nothing is sent back; see
    `reduce_gradients` for its factor.
    """
    if not several() or tree is None:
        return tree
    if isinstance(tree, Tensor):
        return _Gather.apply(tree)
    parts = [gather(one) for one in tree]  # type: ignore[attr-defined]
    return type(tree)(*parts) if hasattr(tree, "_fields") else tuple(parts)  # type: ignore[return-value]


def add_up(values: Tensor) -> Tensor:
    """The sum over ranks, in place; without gradient."""
    if several():
        _call(torch.distributed.all_reduce, values)
    return values


@torch.no_grad()
def reduce_gradients(gradients: Iterable[Tensor | None]) -> None:
    """Make the gradients of the ranks that of the whole batch, in place.

    They are added and divided by the ranks. What was computed after `gather`, on every rank alike, is then as it was;
    and what was before it is the sum over slices, as the gradient that `gather` hands back is times the ranks.
    """
    if not several():
        return
    found = [gradient for gradient in gradients if gradient is not None]
    for kind in dict.fromkeys(gradient.dtype for gradient in found):
        alike = [gradient for gradient in found if gradient.dtype == kind]
        flat = add_up(torch.cat([gradient.flatten() for gradient in alike])).div_(_size)
        for gradient, values in zip(alike, flat.split([gradient.numel() for gradient in alike]), strict=True):
            gradient.copy_(values.view(gradient.shape))


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


def of_all(value: T) -> list[T]:
    """The value of each rank."""
    if not several():
        return [value]
    values: list[Any] = [None] * _size
    _call(torch.distributed.all_gather_object, values, value)
    return values


def check_same(facts: Mapping[str, object]) -> None:
    """InputError where ranks differ in what they are to work with, naming what."""
    digests = of_all({name: hashlib.sha256(repr(fact).encode()).hexdigest() for name, fact in facts.items()})
    different = [name for name in facts if len({one[name] for one in digests}) > 1]
    if different:
        raise InputError(
            f"the {_size} processes of this run differ in their {' and '.join(different)}; start all with the same "
            "command, data and versions"
        )


def different(state: Mapping) -> str | None:
    """Name of the first tensor of a nested state that is not the same on all ranks, bit for bit."""
    if not several():
        return None
    digests = of_all(dict(_digests(state)))
    return next((name for name in digests[0] if any(one.get(name) != digests[0][name] for one in digests)), None)


def _digests(tree: Any, name: str = "") -> Iterator[tuple[str, bytes]]:
    if isinstance(tree, Tensor):
        values = tree.detach().cpu().contiguous().flatten().view(torch.uint8)
        yield name, hashlib.sha256(memoryview(values.numpy())).digest()
    elif isinstance(tree, Mapping | list | tuple):
        for key, one in tree.items() if isinstance(tree, Mapping) else enumerate(tree):
            yield from _digests(one, f"{name}.{key}" if name else str(key))


class _Gather(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, own: Tensor) -> Tensor:
        parts = [torch.empty_like(own, memory_format=torch.contiguous_format) for _ in range(_size)]
        _call(torch.distributed.all_gather, parts, own.contiguous())
        return torch.cat(parts)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return gradient.chunk(_size)[_rank] * _size


def _call(collective: Callable, *arguments: Any, **options: Any) -> Any:
    """A collective; Lost where another rank is no more there."""
    try:
        return collective(*arguments, **options)
    except RuntimeError as error:
        # Of gloo, which begins with a file of its own and ends with good wishes.
        reason = next(iter(str(error).splitlines()), "").split("] ", 1)[-1].split(". ")[0]
        raise Lost(f"another of the {_size} processes of this run ended ({reason})") from error


def _number(name: str, otherwise: int) -> int:
    word = os.environ.get(name, "")
    return int(word) if word.isdecimal() else otherwise
