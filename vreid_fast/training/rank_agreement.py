"""Whether the processes of a run agree, in what they are to work with and in what they have computed."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor

from vreid_fast import ranks
from vreid_fast.errors import InputError


def check_same(facts: Mapping[str, object]) -> None:
    """InputError where ranks differ in what they are to work with, naming what."""
    digests = ranks.of_all({name: hashlib.sha256(repr(fact).encode()).hexdigest() for name, fact in facts.items()})
    different = [name for name in facts if len({one[name] for one in digests}) > 1]
    if different:
        raise InputError(
            f"the {ranks.whole(1)} processes of this run differ in their {' and '.join(different)}; start all with the "
            "same command, data and versions"
        )


def different(state: Mapping) -> str | None:
    """Name of the first tensor of a nested state that is not the same on all ranks, bit for bit."""
    if not ranks.several():
        return None
    digests = ranks.of_all(dict(_digests(state)))
    return next((name for name in digests[0] if any(one.get(name) != digests[0][name] for one in digests)), None)


def _digests(tree: Any, name: str = "") -> Iterator[tuple[str, bytes]]:
    if isinstance(tree, Tensor):
        values = tree.detach().cpu().contiguous().flatten().view(torch.uint8)
        yield name, hashlib.sha256(values.numpy().data).digest()
    elif isinstance(tree, Mapping | list | tuple):
        for key, one in tree.items() if isinstance(tree, Mapping) else enumerate(tree):
            yield from _digests(one, f"{name}.{key}" if name else str(key))
