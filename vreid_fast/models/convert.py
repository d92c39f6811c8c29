"""The authors' checkpoints of the SINet family, key by key, as state dicts of the networks here."""

from __future__ import annotations

import re
from collections.abc import Mapping

import torch
from torch import Tensor

from vreid_fast.errors import InputError

from .sinet import c2d, idnet, sbnet, sinet
from .state import few, is_counter, spoiled
from .weight_search import Place, keys_of, places

CONVERTIBLE = {"sinet": sinet, "sbnet": sbnet, "idnet": idnet, "c2d": c2d}
"""Networks that others have trained, by name."""

# Ours -> theirs, inside a plug-in.
LAYERS = {
    "squeeze": "chl_reduction.0",
    "squeeze_norm": "chl_reduction.1",
    "integrate": "thw_reduction.0",
    "integrate_norm": "thw_reduction.1",
    "distribute": "thw_expansion.0",
    "expand": "chl_expansion.0",
}
BROADENING_LAYERS = {"kernel": "kernel.0", "kernel_norm": "kernel.1", "squeeze": "se.1", "excite": "se.3"}


def convert(name: str, state_dict: Mapping) -> dict[str, Tensor]:
    """A state dict for the network `name`, from one of SINet or of its fork in UDA_Video_ReID.

    Theirs are 3-D convolutions of temporal kernel 1, ours 2-D ones or linear layers: reshapes only.

    Args:
        name: sinet, sbnet, idnet or c2d.
        state_dict: the authors', or a file that holds it, in a container and behind a prefix of its names as in
            `places` (what else is in there, as the fork's "attn_state_dict", is no part of the network).
            Batch-norm counters may be missing.

    Raises:
        InputError: a network without such checkpoints; missing or unexpected keys, each named; NaN or
            infinity.
    """
    check_convertible(name)
    with torch.device("meta"):
        own = CONVERTIBLE[name](identities=2, frames=4, size=(256, 128)).state_dict()
    names = author_names(own)
    found = author_places(own, state_dict)
    if not found:
        raise InputError(
            f"not a checkpoint of {name}: it holds {keys_of(state_dict)}; wanted are {few([*names.values()], 10)}"
        )
    converted = rename(name, own, found[0].tensors)
    bad = [reason for key, value in converted.items() if (reason := spoiled(key, value, value))]
    if bad:
        raise InputError(f"not a usable checkpoint of {name}: {few(bad)}; give one of a training that went well")
    return converted


def check_convertible(name: str) -> None:
    """Raises InputError for a network of which no authors' checkpoints are known."""
    if name not in CONVERTIBLE:
        raise InputError(
            f"network {name}: no checkpoints of its authors are known; those of {', '.join(CONVERTIBLE)} can be read"
        )


def author_places(own: Mapping[str, Tensor], file: object) -> list[Place]:
    """Where in a file the authors' names of a network stand, the best place first: see `places`.

    Args:
        own: the state dict of our network.
    """
    sizes = {theirs: own[ours].numel() for ours, theirs in author_names(own).items()}
    return places(file, sizes, lambda name, value: value.numel() == sizes[name])


def rename(name: str, own: Mapping[str, Tensor], given: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """`given`, under the authors' names, as a state dict of our network `name`, whose own is `own`; raises as
    `convert`."""
    names = author_names(own)
    missing = [theirs for theirs in names.values() if theirs not in given and not is_counter(theirs)]
    unexpected = sorted(given.keys() - set(names.values()))
    if missing or unexpected:
        kinds = {"missing": missing, "unexpected": unexpected}
        parts = [f"{kind} {', '.join(keys)}" for kind, keys in kinds.items() if keys]
        raise InputError(
            f"not a checkpoint of {name}: {'; '.join(parts)}; give one of {name}, or another --network of "
            f"{', '.join(CONVERTIBLE)}"
        )
    return {
        ours: _flatten(given[theirs], own[ours].dim(), theirs) if theirs in given else torch.tensor(0)
        for ours, theirs in names.items()
    }


def author_names(own: Mapping[str, Tensor]) -> dict[str, str]:
    """Names of the authors by ours: their plug-ins are counted among the blocks of a stage."""
    plugins = {tuple(map(int, found.groups())) for key in own if (found := re.search(r"plugins\.layer(\d)_(\d)", key))}
    broadening = {key.rsplit(".", 2)[0] for key in own if key.endswith("excite.weight")}

    def place(stage: int, block: int, behind: int) -> str:
        return f"layer{stage}.{block + behind + sum(s == stage and b < block for s, b in plugins)}"

    names = {}
    for ours in own:
        key = ours.removeprefix("trunk.")
        if found := re.fullmatch(r"layer(\d)\.(\d)\.(.+)", key):
            theirs = f"{place(int(found[1]), int(found[2]), 0)}.{found[3]}"
        elif found := re.fullmatch(r"plugins\.layer(\d)_(\d)\.(\w+)\.(\w+)", key):
            layers = BROADENING_LAYERS if ours.rsplit(".", 2)[0] in broadening else LAYERS
            theirs = f"{place(int(found[1]), int(found[2]), 1)}.{layers[found[3]]}.{found[4]}"
        else:
            theirs = re.sub(r"^neck\.", "bn.", key)
        names[ours] = theirs
    return names


def is_whole(state: Mapping[str, Tensor]) -> bool:
    """Whether a state dict under the authors' names is a whole Re-ID network, with a neck, not a trunk alone."""
    return any(name.split(".")[0] in ("bn", "projection") for name in state)


def _flatten(value: Tensor, axes: int, name: str) -> Tensor:
    """`value` with the axes of length 1 behind the first two left out, until there are `axes`."""
    extra = value.dim() - axes
    if extra < 0 or any(length != 1 for length in value.shape[2 : 2 + extra]):
        raise InputError(f"{name} has shape {tuple(value.shape)}, wanted {axes} axes, and others only of length 1")
    return value.reshape(value.shape[:2] + value.shape[2 + extra :]) if extra else value
