"""Scores of a ranking: CMC and mAP, general and with clothes, and the per-camera baseline; how clusters agree."""

from .camera import camera_standardise
from .distance import pairwise_distances
from .pairs import PairAgreement, adjusted_rand, pair_agreement
from .rank import Labels, rank_distances, rank_metrics, rank_queries, relevance
from .rerank import rerank, rerank_distances
from .temporal import temporal_lift

__all__ = [
    "Labels",
    "PairAgreement",
    "adjusted_rand",
    "camera_standardise",
    "pair_agreement",
    "pairwise_distances",
    "rank_distances",
    "rank_metrics",
    "rank_queries",
    "relevance",
    "rerank",
    "rerank_distances",
    "temporal_lift",
]
