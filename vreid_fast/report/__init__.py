"""What a run shows: the closing table in the terminal and report.html."""

from .html import write_report
from .ranked import RankedItem, RankedQuery, pick_ranked
from .terminal import bad_frames_list, score_table
from .unlabelled import ClusterSheet, pick_clusters, pick_nearest

__all__ = [
    "ClusterSheet",
    "RankedItem",
    "RankedQuery",
    "bad_frames_list",
    "pick_clusters",
    "pick_nearest",
    "pick_ranked",
    "score_table",
    "write_report",
]
