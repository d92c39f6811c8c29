"""Where in a file the weights of a network stand: in which container, behind which prefix of their names."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from .convolution_biases import fold_biases
from .state import few

# Words of containers and prefixes of moving averages: of two places that fit alike, the trained network's comes first.
AVERAGES = ("teacher", "ema", "momentum", "averaged", "swa", "encoder_k", "shadow")


class Place(NamedTuple):
    """A part of a file whose names, without a prefix, are names of a network."""

    container: str
    """Keys on the way to it, with dots; "" = the file itself."""
    prefix: str
    """That its names begin with; "" = none."""
    tensors: dict[str, Tensor]
    """By name without the prefix."""
    beside: tuple[str, ...]
    """Names in the container that do not begin with the prefix."""
    fits: int
    """Tensors that the network has by this name and in this shape."""

    def __str__(self) -> str:
        where = f'"{self.container}"' if self.container else "the file itself"
        return where + (f", names behind {self.prefix}" if self.prefix else "")


def places(file: object, wanted: Collection[str], fits: Callable[[str, Tensor], bool]) -> list[Place]:
    """All places with a tensor of a wanted name, the best first.

    A place is a container and a prefix, both as they are in the file. The one comes first under which most
    wanted tensors fit by name and shape, then most by name. Of equal ones a moving average (`AVERAGES`) comes last,
    then the place with the shorter name first, then the one that is earlier in the file.

    Args:
        file: what torch.load gave.
        wanted: names of the network.
        fits: whether a tensor has the shape that is wanted under a name.
    """
    found = [
        _place(container, prefix, state, fits, set(wanted))
        for container, state in _containers(file)
        for prefix in _prefixes(state, wanted)
    ]
    return sorted(found, key=lambda place: _rank(place, wanted))


def joined(file: object, containers: Collection[str]) -> object:
    """A file with `containers`, which hold the parts of one network, as one; as it is where one of them is missing."""
    if not containers or not isinstance(file, Mapping):
        return file
    parts = [file.get(name) for name in containers]
    if not all(isinstance(part, Mapping) for part in parts):
        return file
    beside = {name: value for name, value in file.items() if name not in containers}
    return {" and ".join(containers): {name: part[name] for part in parts for name in part}, **beside}


def equals(found: list[Place], wanted: Collection[str]) -> list[Place]:
    """Those that fit as well as the first does."""
    return [place for place in found[1:] if _rank(place, wanted)[:2] == _rank(found[0], wanted)[:2]]


def keys_of(file: object, most: int = 10) -> str:
    """Some names of a file's tensors, or of what else it holds, for an error."""
    names = [f"{container}.{name}" if container else name for container, state in _containers(file) for name in state]
    if not names and isinstance(file, Mapping):
        names = [str(name) for name in file]
    return few(names, most) or "nothing"


def _rank(place: Place, wanted: Collection[str]) -> tuple:
    words = f"{place.container}.{place.prefix}".lower()
    averaged = any(word in words for word in AVERAGES)
    return -place.fits, -sum(name in wanted for name in place.tensors), averaged, len(words)


def _place(
    container: str, prefix: str, state: dict[str, Tensor], fits: Callable[[str, Tensor], bool], wanted: set[str]
) -> Place:
    tensors = {name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)}
    tensors = fold_biases(tensors, wanted)
    beside = tuple(name for name in state if not name.startswith(prefix))
    return Place(
        container, prefix, tensors, beside, sum(name in wanted and fits(name, tensors[name]) for name in tensors)
    )


def _containers(file: object) -> Iterator[tuple[str, dict[str, Tensor]]]:
    """Every mapping in a file that holds tensors under names, by its keys on the way, outermost first."""
    waiting, seen = [("", file)], set()
    while waiting:
        path, mapping = waiting.pop(0)
        if not isinstance(mapping, Mapping) or id(mapping) in seen:  # a pickle can hold itself
            continue
        seen.add(id(mapping))
        named = {name: _as_tensor(value) for name, value in mapping.items() if isinstance(name, str)}
        tensors = {name: value for name, value in named.items() if isinstance(value, Tensor)}
        if tensors:
            yield path, tensors
        waiting += [(f"{path}.{name}" if path else name, mapping[name]) for name in named if name not in tensors]


def _prefixes(state: Mapping[str, Tensor], wanted: Collection[str]) -> list[str]:
    """What stands before a wanted name in the names of a container, in the file's order."""
    found: dict[str, None] = {}
    for name in state:
        start = 0
        while True:
            if name[start:] in wanted:
                found[name[:start]] = None
            start = name.find(".", start) + 1
            if not start:
                break
    return list(found)


def _as_tensor(value: object) -> object:
    """NumPy's arrays of numbers as tensors; anything else as it is."""
    if isinstance(value, np.ndarray) and value.dtype.kind in "fiub" and value.dtype.itemsize <= 8:
        return torch.from_numpy(np.require(value, value.dtype.newbyteorder("="), "W"))
    return value
