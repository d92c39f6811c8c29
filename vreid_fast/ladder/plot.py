"""The plot of a ladder: each row's mean, with its seeds as points."""

from __future__ import annotations

from pathlib import Path

from vreid_fast.files import replacing
from vreid_fast.report.drawing import COLOURS, INK, STYLE

from .differences import Spread
from .rows import SCORED, Table
from .tables import SHOWN, Results, scores


def plot_ladder(path: Path, table: Table, results: Results) -> None:
    """Write PATH.png and PATH.svg: mAP of the rows that have a finished cell, from top to bottom as in the table."""
    import matplotlib
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    rows = [name for name in table.rows if results.get(name)]
    style = {**STYLE, "axes.grid.axis": "x", "figure.facecolor": "white"}
    with matplotlib.rc_context(style):
        figure = Figure(figsize=(7.2, 1.2 + 0.42 * len(rows)), layout="constrained")
        FigureCanvasAgg(figure)
        axes = figure.subplots()
        for network, offset in zip(SCORED, (-0.14, 0.14), strict=True):
            colour = COLOURS[network]
            for place, row in enumerate(rows):
                found = scores(results, row, network)
                if not found:  # nothing to standardise per camera
                    continue
                mean = Spread.of(found).mean
                seeds = list(found.values())
                axes.plot(seeds, [place + offset] * len(seeds), "o", color=colour, alpha=0.35, ms=4, mew=0)
                axes.plot([mean], [place + offset], "|", color=colour, ms=11, mew=2.5, label=SHOWN[network])
                axes.annotate(
                    f"{mean:.1f}", (max(seeds), place + offset), (6, 0), textcoords="offset points",
                    va="center", color=colour, fontsize=8,
                )  # fmt: skip
        for place, row in enumerate(rows):
            if table.rows[row].after is None:
                untrained = Spread.of(scores(results, row, "untrained")).mean
                axes.plot([untrained], [place], "D", color=COLOURS["untrained"], ms=5, label="untrained")
        axes.set_yticks(range(len(rows)), [name if table.rows[name].after else f"first stage: {name}" for name in rows])
        axes.tick_params(axis="y", labelcolor=INK)
        axes.invert_yaxis()
        axes.margins(x=0.08)
        axes.set_title("mAP on the target, %: mean (bar) and seeds (points)", loc="left", fontsize=10)
        named = dict(zip(*axes.get_legend_handles_labels()[::-1], strict=True))
        figure.legend(named.values(), named.keys(), loc="outside lower left", ncols=3, frameon=False)
        for kind, facts in (("png", {}), ("svg", {"Date": None})):
            with replacing(path.with_suffix(f".{kind}")) as file:
                figure.savefig(file, format=kind, dpi=150, metadata=facts)
