"""Networks by name. A new one is a file of its own and a line here."""

from __future__ import annotations

import inspect
from collections.abc import Callable

from vreid_fast.errors import InputError

from .ap3d import ap3d, ap3d_c2d, ap3d_i3d, ap3d_nl, ap3dnl
from .cal import CAL
from .cavit import CAViT
from .network import VideoNetwork
from .psta import psta
from .qaconv import qaconv, qaconv_ibnb
from .resnet import resnet18, resnet50
from .sinet import c2d, idnet, sanet, sbnet, sinet
from .small import small
from .tclnet import tclnet

NETWORKS: dict[str, Callable[..., VideoNetwork]] = {
    "small": small, "resnet18": resnet18, "resnet50": resnet50,
    "sinet": sinet, "sbnet": sbnet, "idnet": idnet, "sanet": sanet, "c2d": c2d,
    "ap3d": ap3d, "ap3dnl": ap3dnl, "ap3d_c2d": ap3d_c2d, "ap3d_i3d": ap3d_i3d, "ap3d_nl": ap3d_nl,
    "tclnet": tclnet, "psta": psta, "cal": CAL, "cavit": CAViT,
    "qaconv": qaconv, "qaconv_ibnb": qaconv_ibnb,
}  # fmt: skip
"""Each is a factory of (identities, frames, size, trunk); the last one only where there is a narrow one too, and the
defaults are those of its authors."""
PROJECTING = ("sinet", "sbnet", "idnet", "sanet", "c2d")
"""Networks whose output has `projected` in training."""
MATCHING = ("qaconv", "qaconv_ibnb")
"""Networks that compare pairs: they have `pair_score` in place of vectors and of a classifier."""
HOUSE = ("small", "resnet18", "resnet50")
"""Networks of which no authors' checkpoints are known."""


def build(
    name: str, *, identities: int, frames: int, size: tuple[int, int] = (256, 128), trunk: str = "full"
) -> VideoNetwork:
    """The network `name` for `identities` people and clips of `frames` = T frames of `size` = (H, W) pixels.

    `network(clips)` gives frames (B, T, D), clip (B, D) and logits (B, identities);
    `network.embed(clips)` the vectors (B, D) that are compared at test.
    sinet and idnet have weights for one T and size, psta and cavit for one size, and sbnet and tclnet are built for
    one T; the others take any. tclnet and psta have several streams, see `NetworkOutput`.

    Args:
        trunk: "full", or "narrow" for a quarter of the channels.

    Raises:
        InputError: no such network, with the names there are; T, a size or a trunk that it cannot take.
    """
    factory = find(name)
    if trunk == "full":
        return factory(identities, frames, tuple(size))
    narrowing = [one for one, other in NETWORKS.items() if "trunk" in inspect.signature(other).parameters]
    if name not in narrowing:
        raise InputError(
            f"--trunk {trunk}: network {name} has one trunk; set --trunk full, or --network to one of "
            f"{', '.join(narrowing)}"
        )
    return factory(identities, frames, tuple(size), trunk)


def find(name: str) -> Callable[..., VideoNetwork]:
    """The factory of a network; raises as `build`."""
    if name not in NETWORKS:
        raise InputError(f"--network {name}: unknown; the networks are {', '.join(NETWORKS)}")
    return NETWORKS[name]
