"""What a checkpoint must hold before any of it is used: files are damaged, edited, and of other versions."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from vreid_fast.errors import InputError
from vreid_fast.models.batch_norm import CameraStatistics, batch_norm_statistics
from vreid_fast.models.network import VideoNetwork
from vreid_fast.models.state import few, misfits, shown

PLAIN = (str, bool, int, float, type(None))
HOW = ("fused", "foreach", "capturable")
"""What an optimiser's groups say of how it is computed: that is the device's matter, and not the checkpoint's."""
# What each entry is; one that is missing is named where it is wanted.
ENTRIES: dict[str, tuple[type, ...]] = {
    "config": (dict,), "network": (str,), "frames": (int,), "identities": (int,), "step": (int,), "finished": (bool,),
    "student": (dict,), "optimiser": (dict,), "statistics": (dict,), "scores": (dict,), "scaler": (dict,),
    "heads": (dict, type(None)), "weights": (dict, type(None)), "teacher": (dict, type(None)),
    "memory": (dict, type(None)), "clothes": (dict, type(None)), "neighbours": (dict, type(None)),
    "source_norms": (dict, type(None)), "before": (Tensor, type(None)), "random": (Tensor,),
    "random_cuda": (list,),
}  # fmt: skip
NEWER = ("clothes", "neighbours", "source_norms")
"""Entries that older checkpoints lack: nothing is in them."""


def check_entries(path: str | Path, state: Mapping) -> None:
    """Refuse entries of a checkpoint that are not what they are called.

    Raises:
        InputError: naming the first.
    """
    for name, kinds in ENTRIES.items():
        value = state.get(name)
        if name in state and (not isinstance(value, kinds) or (kinds == (int,) and isinstance(value, bool))):
            wanted = " or ".join("nothing" if kind is type(None) else kind.__name__ for kind in kinds)
            raise InputError(f"checkpoint {path}: its {name} is {type(value).__name__}, wanted {wanted}{EDITED}")
    for name in ("step", "identities", "frames"):
        if state.get(name, 0) < 0:
            raise InputError(f"checkpoint {path}: its {name} is {state[name]}, wanted 0 or more{EDITED}")
    for name, value in state.get("config", {}).items():
        parts = value if isinstance(value, tuple | list) else (value,)
        if type(name) is not str or not all(type(part) in PLAIN for part in parts):
            raise InputError(f"checkpoint {path}: its config has {shown(name)} = {shown(value)}, wanted a knob{EDITED}")
    for name, scores in state.get("scores", {}).items():
        if type(name) is not str or not isinstance(scores, dict) or not all(type(key) is str for key in scores):
            raise InputError(f"checkpoint {path}: its scores of {shown(name)} are {shown(scores)}{EDITED}")


def check_there(path: str | Path, state: Mapping, *names: str) -> None:
    """Refuse a checkpoint without these entries; InputError naming them."""
    missing = [name for name in names if name not in state]
    if missing:
        raise InputError(f"checkpoint {path} has no {', '.join(missing)}{EDITED}")


def check_agreement(path: str | Path, state: Mapping, **knobs: object) -> None:
    """Refuse a configuration whose knobs are not the checkpoint's own entries of that name: one that it lacks has its
    default, which may not be what the network was built with. InputError with both."""
    for name, value in knobs.items():
        if state.get(name, value) != value:
            raise InputError(f"checkpoint {path}: its config has {name} {value}, its network {state[name]}{EDITED}")


def check_state(what: str, given: object, own: Mapping[str, Tensor]) -> None:
    """Refuse a state dict that is not one of the network, heads or other whose own is `own`.

    Raises:
        ValueError: naming the tensors.
    """
    if not isinstance(given, Mapping):
        raise ValueError(f"{what}: wanted a state dict, got {type(given).__name__}")
    bad = misfits(given, own)
    if bad:
        raise ValueError(f"{what}: {few(bad)}")


def check_identities(given: object, identities: int) -> None:
    """Refuse a student or teacher whose classifier is of another number of people, before a network is built for it.

    Raises:
        ValueError: with both numbers.
    """
    tensors = given if isinstance(given, Mapping) else {}
    # A network of several streams has a list of them.
    of = [name for name in tensors if re.fullmatch(r"classifier(\.\d+)?\.weight", str(name))]
    for name in of or ["classifier.weight"]:
        classifier = tensors.get(name)
        if not isinstance(classifier, Tensor) or classifier.shape[:1] != (identities,):
            came = f"{tuple(classifier.shape)}" if isinstance(classifier, Tensor) else "missing"
            raise ValueError(f"{name} is {came}, wanted one for its {identities} identities")


def check_statistics(what: str, given: object, network: VideoNetwork) -> CameraStatistics | None:
    """Batch-norm statistics of cameras, of the network `what`, as a checkpoint holds them; ValueError for others."""
    if given is None:
        return None
    if not isinstance(given, Mapping) or not all(type(camera) is int for camera in given):
        raise ValueError(f"statistics of the {what}: wanted some for each number of a camera")
    for camera, statistics in given.items():
        check_state(f"statistics of the {what} in camera {camera}", statistics, batch_norm_statistics(network))
    return dict(given)


def check_optimiser(given: Mapping, own: torch.optim.Optimizer) -> None:
    """Refuse a state that an optimiser could not go on from, before it is loaded.

    Raises:
        ValueError: groups or moments of another network, or numbers that are none.
    """
    groups, moments = given.get("param_groups"), given.get("state")
    if not isinstance(groups, list) or not isinstance(moments, Mapping) or len(groups) != len(own.param_groups):
        raise ValueError(f"optimiser: wanted {len(own.param_groups)} groups of parameters and their moments")
    numbered: dict[Any, Tensor] = {}
    for group, wanted in zip(groups, own.param_groups, strict=True):
        numbers = group.get("params") if isinstance(group, Mapping) else None
        if not isinstance(numbers, list) or len(numbers) != len(wanted["params"]):
            raise ValueError(f"optimiser: wanted {len(wanted['params'])} parameters in a group")
        numbered |= dict(zip(numbers, wanted["params"], strict=True))
        for name in ("lr", "peak", "weight_decay"):
            value = group.get(name)
            if type(value) not in (int, float) or not 0 <= value < math.inf:
                raise ValueError(f"optimiser: {name} is {shown(value)}, wanted a number from 0")
        for name, value in wanted.items():
            if name not in ("params", "lr", "peak", "weight_decay", *HOW) and group.get(name, value) != value:
                raise ValueError(f"optimiser: {name} is {shown(group[name])}, wanted {value!r}")
    for number, found in moments.items():
        if number not in numbered or not isinstance(found, Mapping):
            raise ValueError(f"optimiser: moments of {shown(number)}, which is no parameter's number")
        like = numbered[number].detach()
        adam = {"step": torch.zeros(()), "exp_avg": like, "running_var": like}
        # A second moment is a variance: never below zero.
        check_state(
            f"optimiser, parameter {number}",
            {"running_var" if name == "exp_avg_sq" else name: value for name, value in found.items()},
            adam if isinstance(own, torch.optim.Adam) else {"momentum_buffer": like},
        )


@contextmanager
def reading(path: str | Path) -> Iterator[None]:
    """Within, what goes wrong with a part of a checkpoint is an InputError that names the file."""
    try:
        yield
    except Exception as error:  # of any kind: a file may hold anything
        reason = next(iter(str(error).splitlines()), "")
        if not isinstance(error, ValueError):
            reason = f"{type(error).__name__} {reason}".strip()
        raise InputError(f"checkpoint {path} cannot be used: {reason}{EDITED}") from error


EDITED = "; it was damaged, edited, or written by another version: take another checkpoint"
