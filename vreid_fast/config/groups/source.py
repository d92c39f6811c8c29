"""The network, and what it learns from the labelled source."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from ..bounds import KnobGroup, above, at_least, between, fixed, free


@dataclass(frozen=True)
class NetworkKnobs(KnobGroup):
    """Network."""

    network: str = fixed("small")
    """Network: small, resnet18, resnet50, or as published sinet, sbnet, idnet, sanet, c2d, ap3d, ap3dnl, ap3d_c2d,
    ap3d_i3d, ap3d_nl, tclnet, psta, cal, cavit, qaconv, qaconv_ibnb. sinet, sbnet take --frames 4 or 8, tclnet 4,
    psta a multiple of 8; sinet and idnet have weights for one T, height and width, psta, cavit and qaconv for one
    height and width."""
    trunk: Literal["full", "narrow"] = fixed("full")
    """Channels of a ResNet-50 in the network: all, or a quarter, which two CPU cores train from scratch (cavit: a
    transformer of width 96 with two blocks)."""
    weights: str | None = fixed(None)
    """File of ImageNet weights for the trunk, keys named as torchvision (cavit: timm) names them; or a whole network in
    its authors' container."""
    drop_classifier: bool = fixed(False)
    """Leave out the classifier of a whole network in --weights or --start, as for another number of identities."""
    recompute: bool = free(False)
    """In training forget what is inside the blocks of cavit, and compute it again when it is needed: less memory, but a
    third more time."""


@dataclass(frozen=True)
class IdentityKnobs(KnobGroup):
    """Losses of identity, on the source."""

    cross_entropy: float = fixed(1.0, at_least(0))
    """Factor of the identity cross-entropy (eq. 5); 0 switches a term off, here and below."""
    smoothing: float = fixed(0.0, between(0, 1))
    """Label smoothing of the cross-entropy: part of the right answer that is spread over all identities (PSTA: 0.1)."""
    triplet: float = fixed(1.0, at_least(0))
    """Factor of the batch-hard triplet loss (eq. 6), of qaconv on its scores of pairs."""
    triplet_distance: Literal["euclidean", "cosine"] = fixed("cosine")
    """Distance in the triplet loss: Euclidean as in the paper, cosine as in the authors' code."""
    margin: float = fixed(0.3, at_least(0))
    """Margin of the triplet loss (QAConv: 16)."""
    info_nce: float = fixed(0.0, at_least(0))
    """Factor of the InfoNCE term between frames of one person, of networks with a projection (authors: 0.001)."""
    info_nce_temperature: float = fixed(0.07, above(0))
    """Temperature of the InfoNCE term (authors: 0.07)."""

    def factors(self) -> dict[str, float]:
        """Factor of each loss, by its name in metrics.jsonl."""
        return {"cross_entropy": self.cross_entropy, "triplet": self.triplet, "info_nce": self.info_nce}


@dataclass(frozen=True)
class ClothesKnobs(KnobGroup):
    """Loss of clothes, on a source that knows them (CAL)."""

    clothes: float = fixed(0.0, at_least(0))
    """Factor of the clothes-based adversarial loss (CAL: 1); 0 = off."""
    clothes_by: Literal["classifier", "memory"] = fixed("classifier")
    """What tells clothes apart: a classifier that learns beside the network, or features of each that were seen."""
    clothes_start: float = fixed(0.3333, between(0, 1))
    """Part of the run's steps after which the loss and its classifier begin (CAL: epoch 50 of 150)."""
    clothes_scale: float = fixed(16.0, above(0))
    """Scale of the cosines of features and clothes."""
    clothes_epsilon: float = fixed(0.1, between(0, 1))
    """Part of the loss that is spread evenly over all clothes of a person; the rest is on those worn."""
    clothes_lr: float = fixed(1e-3, above(0))
    """Learning rate of the classifier of clothes, which does not fall (CAL: 0.00035)."""
    clothes_momentum: float = fixed(0.0, between(0, 1))
    """What is left of a feature in the memory when a newer one comes."""

    def factors(self) -> dict[str, float]:
        """Factor of each loss, by its name in metrics.jsonl."""
        return {"clothes": self.clothes}
