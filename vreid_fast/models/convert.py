"""The authors' checkpoints of the SINet family, key by key, as state dicts of the networks here."""

from __future__ import annotations

import re
from collections.abc import Mapping

import torch
from torch import Tensor

from vreid_fast.errors import InputError

from .sinet import c2d, idnet, sbnet, sinet

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
        state_dict: the authors', or the container that holds it under "state_dict" (what else is in there, as
            the fork's "attn_state_dict", is no part of the network); keys may start with "module.", and
            batch-norm counters may be missing.

    Raises:
        InputError: a network without such checkpoints; missing or unexpected keys, each named.
    """
    if name not in CONVERTIBLE:
        raise InputError(
            f"network {name}: no checkpoints of its authors are known; those of {', '.join(CONVERTIBLE)} can be read"
        )
    given = unwrap(state_dict)
    with torch.device("meta"):
        own = CONVERTIBLE[name](identities=2, frames=4, size=(256, 128)).state_dict()
    names = author_names(own)
    missing = [theirs for theirs in names.values() if theirs not in given and not _is_counter(theirs)]
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


def unwrap(state_dict: Mapping) -> dict[str, Tensor]:
    """The tensors by name, out of their container and without data-parallel prefixes."""
    inner = state_dict.get("state_dict", state_dict)
    return {name.removeprefix("module."): value for name, value in inner.items()}


def is_whole(state: Mapping[str, Tensor]) -> bool:
    """Whether an unwrapped state dict is a Re-ID network of the authors', not a trunk of ImageNet weights."""
    return any(name.split(".")[0] in ("bn", "classifier", "projection") for name in state)


def _flatten(value: Tensor, axes: int, name: str) -> Tensor:
    """`value` with the axes of length 1 behind the first two left out, until there are `axes`."""
    extra = value.dim() - axes
    if extra < 0 or any(length != 1 for length in value.shape[2 : 2 + extra]):
        raise InputError(f"{name} has shape {tuple(value.shape)}, wanted {axes} axes, and others only of length 1")
    return value.reshape(value.shape[:2] + value.shape[2 + extra :]) if extra else value


def _is_counter(name: str) -> bool:
    return name.endswith("num_batches_tracked")
