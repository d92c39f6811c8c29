"""What a run shows: the closing table in the terminal and report.html."""

from .html import write_report
from .ranked import RankedItem, RankedQuery, pick_ranked
from .terminal import score_table

__all__ = ["RankedItem", "RankedQuery", "pick_ranked", "score_table", "write_report"]
