"""Adaptation to the unlabelled target."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from ..bounds import POSITIVE, Bound, KnobGroup, above, at_least, between, fixed

ABOVE_NOTHING = Bound(lambda parts: parts and min(parts) > 0, "numbers above 0")
SOMETHING_LEFT = Bound(lambda part: part < 1, "below 1", "nothing would be left of the domain heads")


@dataclass(frozen=True)
class AdversarialKnobs(KnobGroup):
    """Adversarial losses, on source and target."""

    l1s: float | None = fixed(None, at_least(0))
    """Factor of L1S, the domain loss on frames (eq. 7); none = 1, but 0 for plus and glt, here and below."""
    l2s: float | None = fixed(None, at_least(0))
    """Factor of L2S, the domain loss on clips (eq. 8)."""
    l3s: float | None = fixed(None, at_least(0))
    """Factor of L3S, the domain regression on combined clips (eq. 9)."""
    reversal: float = fixed(0.5, at_least(0))
    """Final strength of the gradient reversal; it rises as 2 / (1 + exp(-10 p)) - 1 over adaptation."""
    combined_groups: int = fixed(16, at_least(1))
    """J, combined clips a step in L3S."""
    combined_sizes: tuple[int, ...] = fixed((2, 4, 8), POSITIVE)
    """S, clips in a combined clip, one of these at random."""
    domain_width: int = fixed(128, at_least(1))
    """Hidden units of each domain head."""
    domain_dropout: float = fixed(0.5, between(0, 1), SOMETHING_LEFT)
    """Dropout in each domain head."""

    def __post_init__(self):
        super().__post_init__()
        object.__setattr__(self, "combined_sizes", tuple(self.combined_sizes))  # a YAML file has a list

    def factors(self, unsaid: float = 1.0) -> dict[str, float]:
        """Factor of each loss, by its name in metrics.jsonl; `unsaid` = where no knob says it."""
        said = {"l1s": self.l1s, "l2s": self.l2s, "l3s": self.l3s}
        return {name: unsaid if factor is None else factor for name, factor in said.items()}


@dataclass(frozen=True)
class ConsistencyKnobs(KnobGroup):
    """Consistency of student and teacher, on the target."""

    l1c: float = fixed(0.3, at_least(0))
    """Factor of L1C, student and teacher in the same cluster (eq. 14)."""
    l2c: float = fixed(1.0, at_least(0))
    """Factor of L2C, distance to the cluster's mean (eq. 15)."""
    cluster_temperature: float = fixed(0.1, above(0))
    """Temperature of the soft assignment in L1C, on squared distances of L2-normalised features."""
    consistency_ramp: float = fixed(0.2, between(0, 1))
    """Part of adaptation over which L1C, L2C and the proxies' loss rise to their full factor."""
    ema_decay: float | None = fixed(None, between(0, 1))
    """Highest decay of the teacher; it is min(1 - 1/(k+1), this) at step k of adaptation (eq. 11); none = 0.99, but
    0.95 for plus."""

    def factors(self) -> dict[str, float]:
        """Factor of each loss, by its name in metrics.jsonl."""
        return {"l1c": self.l1c, "l2c": self.l2c}


@dataclass(frozen=True)
class ClusterKnobs(KnobGroup):
    """Clusters of the target."""

    cluster_by: Literal["auto", "neighbours", "kmeans"] = fixed("auto")
    """neighbours: tracklets that share their nearest neighbours, for which no number is needed (plus). kmeans: into
    --clusters. auto = neighbours for plus, else kmeans."""
    clusters: int = fixed(0, at_least(0))
    """M, clusters of k-means over the target's features (paper: 16); 0 = one for every 7 target tracklets, or 16 for a
    batch."""
    cluster_over: Literal["memory", "batch"] = fixed("memory")
    """k-means over the features of the whole target set (eq. 13), or of each mini-batch (authors' code)."""
    cluster_every: int = fixed(0, at_least(0))
    """Steps between two clusterings of the memory; 0 = one pass over the target."""
    cluster_restarts: int = fixed(4, at_least(1))
    """Restarts of k-means; the one of lowest inertia is kept."""
    cluster_neighbours: int = fixed(0, at_least(0))
    """Neighbours that a tracklet lists of each camera (plus); 0 = chosen before adaptation, by how well clusters of the
    first and of the second halves of all tracklets agree."""
    camera_aware: bool = fixed(True)
    """Assign to clusters after standardising features per camera, where the target's cameras are known."""


@dataclass(frozen=True)
class ProxyKnobs(KnobGroup):
    """Camera proxies, of the method plus."""

    proxy: float = fixed(1.0, at_least(0))
    """Factor of the camera proxies' loss (plus)."""
    proxy_temperature: float = fixed(0.1, above(0))
    """Temperature of the camera proxies, on cosines."""
    proxy_negatives: int = fixed(50, at_least(1))
    """Nearest proxies of other clusters that a clip is drawn away from."""
    proxy_momentum: float = fixed(0.2, between(0, 1))
    """Part of a proxy that the teacher's features of a step replace."""

    def factors(self) -> dict[str, float]:
        """Factor of each loss, by its name in metrics.jsonl."""
        return {"proxy": self.proxy}


@dataclass(frozen=True)
class TransportKnobs(KnobGroup):
    """Labels by optimal transport, of the method glt."""

    transport: float = fixed(1.0, at_least(0))
    """Factor of the cross-entropy of the target's labels, over groups (glt)."""
    transport_triplet: float = fixed(1.0, at_least(0))
    """Factor of the triplet loss of the target's labels, with a soft margin (glt)."""
    transport_over: Literal["first", "all"] = fixed("first")
    """Groups in the cross-entropy: the first alone, as in the authors' code, or all, as in their paper."""
    transport_groups: tuple[float, ...] = fixed((0.8, 0.93, 1.07), ABOVE_NOTHING)
    """Classes of each group of labels, as parts of --clusters (authors: 600, 700, 800 for the 751 people of
    Market-1501)."""
    transport_power: float = fixed(25.0, above(0))
    """Power of the likelihoods that labels are transported by."""
    transport_rounds: int = fixed(1, at_least(1))
    """Times that k-means finds the labels anew in adaptation; after that, each pass transports them (authors: 11)."""

    def __post_init__(self):
        super().__post_init__()
        object.__setattr__(self, "transport_groups", tuple(self.transport_groups))  # a YAML file has a list

    def factors(self) -> dict[str, float]:
        """Factor of each loss, by its name in metrics.jsonl."""
        return {"transport": self.transport, "transport_triplet": self.transport_triplet}
