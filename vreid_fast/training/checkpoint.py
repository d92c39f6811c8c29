"""Checkpoints: the whole state of a run in one file, written atomically."""

from __future__ import annotations

from pathlib import Path

import torch

from vreid_fast.errors import InputError
from vreid_fast.files import replacing, why_no_file
from vreid_fast.models.state import shown
from vreid_fast.models.torch_files import read_torch

from .checkpoint_checks import check_entries

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
        InputError: no such file, a damaged one, one of another program, or one with entries of another kind.
    """
    if why := why_no_file(path):
        raise InputError(f"checkpoint {path}: {why}; name the last.pt of a run")
    state = read_torch(path, "checkpoint")
    if not isinstance(state, dict) or "format" not in state:
        raise InputError(f"checkpoint {path}: not written by vreid_fast.train; a file of weights goes to --weights")
    if type(state["format"]) is not int or state["format"] != FORMAT:
        raise InputError(f"checkpoint {path}: format {shown(state['format'])}, this version reads {FORMAT}")
    check_entries(path, state)
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
