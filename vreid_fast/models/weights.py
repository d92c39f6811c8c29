"""Trunk weights from a file, by name, with an account of every key that does not fit."""

from __future__ import annotations

import pickle
from pathlib import Path

import torch
from torch import nn

from vreid_fast.errors import InputError

# torchvision's classifier of ImageNet classes, which a Re-ID network has no use for.
IMAGENET_CLASSIFIER = ("fc.weight", "fc.bias")


def load_trunk_weights(trunk: nn.Module, path: str | Path) -> list[str]:
    """Fill `trunk` from a file of torchvision-named weights, in place.

    Returns:
        One line for each key that was left out, with the reason.

    Raises:
        InputError: no such file, not a file of weights, or a trunk parameter that the file lacks or has in
            another shape.
    """
    given = _read(path)
    own = trunk.state_dict()
    notes, bad = [], []
    for name, value in given.items():
        if name in IMAGENET_CLASSIFIER:
            notes.append(f"{name}: left out, the classifier of ImageNet")
        elif name not in own:
            notes.append(f"{name}: left out, this trunk has no such key")
        elif own[name].shape != value.shape:
            bad.append(f"{name} has shape {tuple(value.shape)}, wanted {tuple(own[name].shape)}")
    bad += [f"{name} is missing" for name in own if name not in given and not name.endswith("num_batches_tracked")]
    if bad:
        raise InputError(
            f"weights {path} do not fit this network: {_few(bad)}; "
            "give a file saved from the torchvision ResNet of the same depth, or another --network"
        )
    trunk.load_state_dict({name: given.get(name, own[name]) for name in own})
    return notes


def _read(path: str | Path) -> dict[str, torch.Tensor]:
    if not Path(path).is_file():
        raise InputError(f"weights {path}: no such file; give a file of torchvision-named ResNet weights")
    try:
        given = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError, KeyError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InputError(f"weights {path}: not a file that torch.load can read safely ({reason})") from error
    given = given.get("state_dict", given) if isinstance(given, dict) else given
    if not isinstance(given, dict) or not all(isinstance(value, torch.Tensor) for value in given.values()):
        raise InputError(f"weights {path}: wanted a state dict of tensors, got {type(given).__name__}")
    return {name.removeprefix("module."): value for name, value in given.items()}


def _few(reasons: list[str], most: int = 5) -> str:
    more = f" and {len(reasons) - most} more" if len(reasons) > most else ""
    return ", ".join(reasons[:most]) + more
