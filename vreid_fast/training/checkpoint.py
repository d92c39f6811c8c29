"""Checkpoints: the whole state of a run in one file, written atomically."""

from __future__ import annotations

import pickle
from pathlib import Path

import torch

from vreid_fast.errors import InputError
from vreid_fast.files import replacing

FORMAT = 2


def save(path: str | Path, state: dict) -> None:
    """Write `state` to `path` so that a crash leaves the old file or the new one, never a part.

    Raises:
        OSError: the disk is full or the folder cannot be written; the old file stays.
    """
    with replacing(path) as file:
        torch.save({"format": FORMAT, **state}, file)


def load(path: str | Path) -> dict:
    """The state that `save` wrote, on the CPU.

    Raises:
        InputError: no such file, a damaged one, or one of another program.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"checkpoint {path}: no such file; name the last.pt of a run")
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError, KeyError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InputError(f"checkpoint {path}: cannot be read, it is damaged or no checkpoint ({reason})") from error
    if not isinstance(state, dict) or "format" not in state:
        raise InputError(f"checkpoint {path}: not written by vreid_fast.train; a file of weights goes to --weights")
    if state["format"] != FORMAT:
        raise InputError(f"checkpoint {path}: format {state['format']}, this version reads {FORMAT}")
    return state


def check_same(path: str | Path, state: dict, **wanted: object) -> None:
    """Refuse a checkpoint whose network, identities or frames are not those `wanted`.

    Raises:
        InputError: naming each that differs.
    """
    different = [
        f"{name} {state.get(name)!r} where this run has {value!r}"
        for name, value in wanted.items()
        if state.get(name) != value
    ]
    if different:
        raise InputError(f"checkpoint {path} belongs to another run: it has {', '.join(different)}")
