"""Checkpoints of a run, changed at random in one or a few places: what somebody may edit, or another program write."""

from __future__ import annotations

import copy
import random
from typing import Any

import torch

VALUES: list[Any] = [
    None, True, -1, 0, 3, 2**40, 10**30, 0.5, float("nan"), float("inf"), "", "small", "x" * 300, b"bytes", [], {},
    [1, 2], (1, 2), {"a": 1}, {1: 2}, {"a": {"b": None}}, 1j,
]  # fmt: skip


def places_in(state: dict, path: tuple = ()) -> list[tuple]:
    """The path of keys to everything in nested dicts and lists."""
    found = []
    for key, value in state.items() if isinstance(state, dict) else enumerate(state):
        found.append((*path, key))
        if isinstance(value, dict | list):
            found += places_in(value, (*path, key))
    return found


def changed_tensor(tensor: torch.Tensor, draw: random.Random) -> Any:
    """Another tensor in its stead: other numbers, shape, kind or layout."""
    flat = tensor.reshape(-1)
    return draw.choice(
        [
            lambda: tensor.double(), lambda: tensor.half(), lambda: tensor.to(torch.int64), lambda: tensor.bool(),
            lambda: tensor.to(torch.complex64), lambda: tensor[..., None], lambda: flat[:0], lambda: flat,
            lambda: torch.cat([flat, flat]), lambda: torch.full_like(tensor, -1), lambda: -tensor.float(),
            lambda: torch.full(tensor.shape, torch.nan), lambda: torch.full(tensor.shape, torch.inf),
            lambda: tensor.double() * 1e300, lambda: torch.empty(tensor.shape, device="meta"),
            lambda: torch.full_like(tensor, 100), lambda: tensor.numpy(), lambda: tensor.tolist(),
            lambda: tensor.movedim(0, -1) if tensor.dim() else tensor, lambda: tensor.float().to_sparse(),
            lambda: torch.zeros(()).expand(tensor.shape),
        ]
    )()  # fmt: skip


def mutated(state: dict, seed: int) -> tuple[dict, list[str]]:
    """A changed copy of a checkpoint, and what was changed."""
    draw, state, said = random.Random(seed), copy.deepcopy(state), []
    for _ in range(draw.choice([1, 1, 1, 2, 5])):
        # First how deep, so that the few entries at the top are met as often as the many tensors.
        found = places_in(state)
        if not found:
            break
        depth = draw.randint(1, max(map(len, found)))
        path = draw.choice([path for path in found if len(path) == depth])
        holder: Any = state
        for key in path[:-1]:
            holder = holder[key]
        key, value = path[-1], holder[path[-1]]
        kind = draw.choice(["value", "value", "remove", "rename", "add", "swap", "like"])
        if kind == "remove":
            del holder[key]
        elif kind == "rename" and isinstance(holder, dict):
            holder[draw.choice([f"module.{key}", 7, "", None])] = holder.pop(key)
        elif kind == "add" and isinstance(holder, dict):
            holder[draw.choice(["extra", "extra.weight", 99])] = copy.deepcopy(draw.choice([*VALUES, torch.ones(2)]))
        elif kind == "swap":
            source: Any = state
            for step in draw.choice(found):
                try:
                    source = source[step]
                except (KeyError, IndexError, TypeError):
                    break
            holder[key] = copy.deepcopy(source)
        elif isinstance(value, torch.Tensor):
            holder[key] = changed_tensor(value, draw)
        elif kind == "like" and isinstance(value, int | float):
            holder[key] = draw.choice([value + 1, -value, float(value), str(value), value * 1000])
        else:
            holder[key] = copy.deepcopy(draw.choice(VALUES))
        said.append(f"{kind} {'/'.join(map(str, path))}")
    return state, said
