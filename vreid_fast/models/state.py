"""State dicts: which of their tensors a network can take, by name, shape and numbers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor


def misfits(given: Mapping, own: Mapping[str, Tensor]) -> list[str]:
    """Why `given` is not a state dict of a network whose own is `own`, a line for each tensor; none where it is.

    Names, shapes and numbers are looked at: see `misfit` and `spoiled`.
    """
    missing = [f"{name} is missing" for name in own if name not in given]
    unknown = [f"{name} has no place in this network" for name in given if name not in own]
    pairs = [(name, given[name], value) for name, value in own.items() if name in given]
    found = [misfit(*pair) or spoiled(*pair) for pair in pairs]
    return missing + unknown + [reason for reason in found if reason]


def misfit(name: str, value: object, own: Tensor) -> str | None:
    """Why `value` is not like the tensor `own`: no tensor, another shape, another kind of number; None where it is."""
    if not isinstance(value, Tensor):
        return f"{name} is {type(value).__name__}, wanted a tensor"
    if value.shape != own.shape:
        return f"{name} has shape {tuple(value.shape)}, wanted {tuple(own.shape)}"
    if value.layout != torch.strided or value.is_quantized or value.device.type == "meta":
        return f"{name} is {value.dtype}, {value.layout}, on {value.device}, wanted plain numbers"
    is_number = value.dtype.is_floating_point and own.dtype.is_floating_point
    if not is_number and value.dtype != own.dtype:
        return f"{name} is {value.dtype}, wanted {own.dtype}"
    return None


def spoiled(name: str, value: Tensor, own: Tensor) -> str | None:
    """Why the numbers of `value`, which is like `own`, are of no use: NaN, infinity, a variance below zero; None where
    they are."""
    if not own.dtype.is_floating_point:
        return None
    # In the network's type, where a float64 may be infinite.
    value = value.detach().to(own.dtype)
    bad = value.numel() - int(value.isfinite().sum())
    if bad:
        return f"{name} holds {bad:,} NaN or infinite values of {value.numel():,}"
    if name.endswith("running_var") and bool((value < 0).any()):
        return f"{name} holds variances below zero"
    return None


def not_finite(tensors: Iterable[tuple[str, Tensor]]) -> str | None:
    """The name of the first tensor with NaN or infinity in it, or None. Waits for the device once where all are
    finite."""
    named = [(name, tensor.detach()) for name, tensor in tensors if tensor.is_floating_point() and tensor.numel()]
    # A sum reads a tensor once and writes nothing, as `isfinite` does. Of large numbers it may itself overflow.
    if not named or torch.stack([tensor.sum(dtype=torch.float32) for _, tensor in named]).isfinite().all():
        return None
    return next((name for name, tensor in named if not tensor.isfinite().all()), None)


def few(words: list[str], most: int = 5) -> str:
    """The first of some words, and how many more there are."""
    more = f" and {len(words) - most} more" if len(words) > most else ""
    return " ".join((", ".join(words[:most]) + more).split())


def shown(value: object) -> str:
    """A value of a file for an error: on one line, and cut where it is long."""
    return " ".join(repr(value).split())[:60]


def is_counter(name: str) -> bool:
    """Whether it counts the batches that a normalisation saw, which many files leave out."""
    return name.endswith("num_batches_tracked")
