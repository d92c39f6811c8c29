"""Who belongs to a run: how its processes find each other, who speaks, who is lost."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout
from datetime import timedelta
from typing import Any

import torch

from vreid_fast.errors import Failed, InputError

from .store import RankStore

LATEST = 600
"""Seconds that a rank waits for the others, unless `wait_at_most` says more or less."""
LINE = "torchrun --nproc-per-node N -m vreid_fast.train -- --run DIR"

rank, size = 0, 1
"""Number of this process, and how many there are; for this package alone."""
_patience = f"{LATEST} s"
_store: RankStore | None = None


class Lost(Failed):
    """Another process of the run ended, or did not come."""


def first() -> bool:
    """Whether this is the rank that writes and speaks."""
    return rank == 0


def several() -> bool:
    """Whether there are others."""
    return size > 1


def local() -> tuple[int, int]:
    """Number of this rank among those of this machine, and how many these are."""
    return (_number("LOCAL_RANK", 0), _number("LOCAL_WORLD_SIZE", size)) if several() else (0, 1)


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
    global rank, size
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
        call(torch.distributed.barrier)
    finally:
        rank, size = 0, 1
        torch.distributed.destroy_process_group()


def _join() -> None:
    global rank, size, _store
    names = "RANK", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"
    missing = [name for name in names if name not in os.environ]
    if missing:
        wanted = os.environ["WORLD_SIZE"]
        raise InputError(
            f"started as {wanted} processes (WORLD_SIZE={wanted}) without {', '.join(missing)}, by which they find "
            f"each other; start them by torchrun: {LINE}"
        )
    import torch.distributed

    found, number, count = next(torch.distributed.rendezvous("env://"))
    store = RankStore(found, number, count, _starts())
    if late := store.meet(LATEST):
        raise Lost(_absent(late, count, f"{LATEST} s"))
    # Tensors of either kind of device have a library of their own; words and flags are on the CPU.
    backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
    torch.distributed.init_process_group(
        backend, store=store.of_start, rank=number, world_size=count, timeout=timedelta(seconds=LATEST)
    )
    _store, rank, size = store, number, count


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


def call(collective: Callable, *arguments: Any, **options: Any) -> Any:
    """A collective; Lost where another rank is no more there."""
    try:
        return collective(*arguments, **options)
    except RuntimeError as error:
        assert _store is not None
        if late := _store.missed("timed out" in str(error).lower()):
            raise Lost(_absent(late, size, _patience)) from error
        # Of gloo, which begins with a file of its own and ends with good wishes.
        reason = next(iter(str(error).splitlines()), "").split("] ", 1)[-1].split(". ")[0]
        raise Lost(f"another of the {size} processes of this run ended ({reason})") from error


def _absent(late: list[int], size: int, patience: str) -> str:
    return f"process {' and '.join(map(str, late))} of 0 to {size - 1} did not come within {patience}"


def _starts() -> int:
    """How often torchrun started the ranks anew."""
    return _number("TORCHELASTIC_RESTART_COUNT", 0)


def _number(name: str, otherwise: int) -> int:
    word = os.environ.get(name, "")
    return int(word) if word.isdecimal() else otherwise
