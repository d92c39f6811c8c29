"""Scores of a ranking: CMC and mAP, general and with clothes, and the per-camera baseline."""

from .camera import camera_standardise
from .distance import pairwise_distances
from .rank import Labels, rank_distances, rank_metrics, rank_queries, relevance
from .rerank import rerank

__all__ = [
    "Labels",
    "camera_standardise",
    "pairwise_distances",
    "rank_distances",
    "rank_metrics",
    "rank_queries",
    "relevance",
    "rerank",
]
