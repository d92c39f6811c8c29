"""What a run shows: the closing table in the terminal and report.html."""

from .html import write_report
from .ranked import RankedItem, RankedQuery, pick_ranked
from .terminal import bad_frames_list, score_table

__all__ = ["RankedItem", "RankedQuery", "bad_frames_list", "pick_ranked", "score_table", "write_report"]
