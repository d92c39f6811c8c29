"""The losses of arXiv 2402.02108, each a function with its equation number, and others with their source."""

from .clothes import ClothesClassifier, ClothesMemory, clothes_adversarial_loss, clothes_cosines, clothes_cross_entropy
from .cluster_facts import cluster_facts, overlaps_met
from .clustering import cluster
from .consistency import FeatureMemory, assignment_loss, cluster_batch, compactness_loss, disagreement
from .domain import clip_domain_loss, draw_groups, frame_domain_loss
from .gradient_norms import gradient_norms
from .identity import batch_hard_triplet, cross_entropy, soft_triplet
from .info_nce import info_nce
from .list_size import ListSize, choose_list_size
from .proxies import CameraProxies
from .scores import score_triplet
from .transport import transport_plan
from .weighting import LossWeights

__all__ = [
    "CameraProxies",
    "ClothesClassifier",
    "ClothesMemory",
    "FeatureMemory",
    "ListSize",
    "LossWeights",
    "assignment_loss",
    "batch_hard_triplet",
    "choose_list_size",
    "clip_domain_loss",
    "clothes_adversarial_loss",
    "clothes_cosines",
    "clothes_cross_entropy",
    "cluster",
    "cluster_batch",
    "cluster_facts",
    "compactness_loss",
    "cross_entropy",
    "disagreement",
    "draw_groups",
    "frame_domain_loss",
    "gradient_norms",
    "info_nce",
    "overlaps_met",
    "score_triplet",
    "soft_triplet",
    "transport_plan",
]
