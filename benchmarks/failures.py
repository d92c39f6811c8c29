"""What goes wrong in a benchmark: a row of the case, said to have failed, and the others go on."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

_failed: list[str] = []


@contextmanager
def attempt(op: str, case: str, provider: str = "") -> Iterator[None]:
    """An exception inside, of a wrong result or of a rival that does not run, ends the block alone."""
    try:
        yield
    except Exception as error:
        _failed.append(f"{op} {case} {provider}")
        reason = " ".join(str(error).split())[:300]
        print(f"{op:20} {case:48} {provider:32} FAILED: {type(error).__name__}: {reason}", flush=True)


def exit_status() -> int:
    """1 if anything has failed so far."""
    return int(bool(_failed))
