"""The authors' checkpoints of a network, key by key, as state dicts of the networks here."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from vreid_fast.errors import InputError

from .network import VideoNetwork
from .registry import HOUSE, NETWORKS, find
from .state import few, is_counter, spoiled
from .weight_search import Place, joined, keys_of, places

TAPS = {"before": 0, "weight": 1, "now": 1, "after": 2}
"""Where in a kernel of theirs over three frames a parameter of ours of that name is."""


def convert(name: str, state_dict: Mapping) -> dict[str, Tensor]:
    """A state dict for the network `name`, from one of its authors (of SINet also from its fork in UDA_Video_ReID).

    Theirs are 3-D convolutions, ours 2-D ones or linear layers: reshapes, and kernels over three frames cut in three.

    Args:
        name: of `NETWORKS`, one that others have published.
        state_dict: the authors', or a file that holds it, in a container and behind a prefix of its names as in
            `places` (what else is in there, as the fork's "attn_state_dict", is no part of the network).
            Batch-norm counters may be missing.

    Raises:
        InputError: a network without such checkpoints; missing or unexpected keys, each named; NaN or
            infinity.
    """
    check_convertible(name)
    with torch.device("meta"):
        network = find(name)(identities=2)
    state_dict = joined(state_dict, network.containers)
    found = author_places(network, state_dict)
    if not found:
        wanted = list(dict.fromkeys(author_names(network).values()))
        raise InputError(f"not a checkpoint of {name}: it holds {keys_of(state_dict)}; wanted are {few(wanted, 10)}")
    converted = rename(name, network, found[0].tensors)
    bad = [reason for key, value in converted.items() if (reason := spoiled(key, value, value))]
    if bad:
        raise InputError(f"not a usable checkpoint of {name}: {few(bad)}; give one of a training that went well")
    return converted


def check_convertible(name: str) -> None:
    """Raises InputError for a network of which no authors' checkpoints are known."""
    if name not in _published():
        raise InputError(
            f"network {name}: no checkpoints of its authors are known; those of {', '.join(_published())} can be read"
        )


def author_places(network: VideoNetwork, file: object) -> list[Place]:
    """Where in a file the authors' names of a network stand, the best place first: see `places`."""
    own, sizes = network.state_dict(), Counter()
    for ours, theirs in author_names(network).items():
        sizes[theirs] += own[ours].numel()
    return places(file, sizes, lambda name, value: value.numel() == sizes[name])


def rename(name: str, network: VideoNetwork, given: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """`given`, under the authors' names, as a state dict of our network `name`; raises as `convert`."""
    own, names = network.state_dict(), author_names(network)
    shared = Counter(names.values())
    missing = [theirs for theirs in shared if theirs not in given and not is_counter(theirs)]
    unexpected = sorted(key for key in given.keys() - shared.keys() if not key.startswith(network.unused))
    if missing or unexpected:
        kinds = {"missing": missing, "unexpected": unexpected}
        parts = [f"{kind} {', '.join(keys)}" for kind, keys in kinds.items() if keys]
        raise InputError(
            f"not a checkpoint of {name}: {'; '.join(parts)}; give one of {name}, or another --network of "
            f"{', '.join(_published())}"
        )
    converted = {}
    for ours, theirs in names.items():
        value = given.get(theirs, torch.tensor(0))
        if shared[theirs] > 1:
            value = _tap(value, TAPS[ours.rsplit(".", 1)[1]], theirs)
        converted[ours] = _flatten(value, own[ours].dim(), theirs)
    return converted


def author_names(network: VideoNetwork) -> dict[str, str]:
    """Names of the authors by ours: their plug-ins are counted among the blocks of a stage, and one kernel of theirs
    over three frames has three parameters of ours, see `TAPS`."""
    plugins = [tuple(map(int, re.findall(r"\d", place))) for place in getattr(network.trunk, "plugins", ())]

    def place(found: re.Match) -> str:
        stage, block = int(found[2]), int(found[3])
        before = sum(s == stage and b < block for s, b in plugins)
        return f"layer{stage}.{block + before + bool(found[1])}"

    names = part_names(network)
    return {ours: re.sub(r"(plugins\.)?\blayer(\d)[._](\d)\b", place, key, count=1) for ours, key in names.items()}


def part_names(module: nn.Module) -> dict[str, str]:
    """Names of the authors by ours as far as `authors` of a module and of its parts say, the inner ones first."""
    parts = {path: part.authors for path, part in module.named_modules() if getattr(part, "authors", None)}
    names = {}
    for ours in module.state_dict():
        key = ours
        for path in reversed(parts):
            start = f"{path}." if path else ""
            if key.startswith(start):
                key = start + _replace_start(key.removeprefix(start), parts[path])
        names[ours] = key
    return names


def _replace_start(name: str, starts: Mapping[str, str]) -> str:
    """`name` with the longest of `starts` that it begins with replaced."""
    start = max((start for start in starts if name.startswith(start)), key=len, default=None)
    return name if start is None else starts[start] + name.removeprefix(start)


def _published() -> list[str]:
    return [name for name in NETWORKS if name not in HOUSE]


def is_whole(state: Mapping[str, Tensor]) -> bool:
    """Whether a state dict under the authors' names is a whole Re-ID network, with a neck, not a trunk alone."""
    return any(name.split(".")[0] in ("bn", "bottleneck", "projection", "heads", "matcher") for name in state)


def _flatten(value: Tensor, axes: int, name: str) -> Tensor:
    """`value` with the axes of length 1 behind the first two left out, until there are `axes`."""
    extra = value.dim() - axes
    if extra < 0 or any(length != 1 for length in value.shape[2 : 2 + extra]):
        raise InputError(f"{name} has shape {tuple(value.shape)}, wanted {axes} axes, and others only of length 1")
    return value.reshape(value.shape[:2] + value.shape[2 + extra :]) if extra else value


def _tap(kernel: Tensor, frame: int, name: str) -> Tensor:
    """The part of a kernel over three frames that sees one of them."""
    if kernel.dim() != 5 or kernel.shape[2] != 3:
        raise InputError(f"{name} has shape {tuple(kernel.shape)}, wanted a kernel over 3 frames in 5 axes")
    return kernel[:, :, frame]
