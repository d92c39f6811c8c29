"""The plots of a report, each a self-contained SVG: CMC curves, and one quantity against steps."""

import base64
import io
import math
from collections.abc import Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np

# Okabe and Ito's colours, told apart by colour-blind readers; every curve is also labelled directly.
INK, FAINT, GRID = "#1f2933", "#6b7683", "#e3e7eb"
COLOURS = {
    "untrained": "#a5adb5",
    "source": "#6b7683",
    "student": "#0072b2",
    "teacher": "#00805c",
    "student_camera": "#c04f00",
}
OTHER_COLOURS = ("#a3478f", "#8a6d00", "#2f7f9e")
CMC_RANKS = 20

_STYLE = {
    "svg.fonttype": "none",  # text stays text: small files, and letters as sharp as the page's
    "svg.hashsalt": "vreid_fast",
    "font.family": "sans-serif",
    "font.sans-serif": ["Segoe UI", "Helvetica Neue", "Helvetica", "Arial", "Liberation Sans", "DejaVu Sans"],
    "font.size": 10,
    "text.color": INK,
    "axes.edgecolor": FAINT,
    "axes.labelcolor": FAINT,
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.grid.axis": "y",
    "axes.axisbelow": True,
    "grid.color": GRID,
    "grid.linewidth": 0.8,
    "xtick.color": FAINT,
    "ytick.color": FAINT,
    "xtick.major.size": 3,
    "ytick.major.size": 0,
    "figure.facecolor": "none",
    "axes.facecolor": "none",
}


@dataclass(frozen=True)
class Series:
    """One quantity of a run against its steps, one part a stage."""

    stages: tuple[str, ...]
    steps: tuple[np.ndarray, ...]
    values: tuple[np.ndarray, ...]

    @property
    def last(self) -> float:
        return float(self.values[-1][-1])


def series_of(history: Sequence[dict], *path: str) -> Series | None:
    """The numbers at a path of keys in the rows of metrics.jsonl, such as ("losses", "triplet").

    Rows without a finite number there are skipped; None when no row is left. Where the steps of the
    second stage start anew, they are counted on from the first.
    """
    parts: dict[str, list[tuple[float, float]]] = {}
    offset = last = 0
    stage = None
    for row in history:
        if stage is not None and row.get("stage") != stage and row["step"] + offset < last:
            offset = last
        stage, last = row.get("stage"), row["step"] + offset
        value = row
        for key in path:
            value = value.get(key) if isinstance(value, dict) else None
        if isinstance(value, int | float) and math.isfinite(value):
            parts.setdefault(stage or "", []).append((last, value))
    if not parts:
        return None
    columns = [np.array(part, dtype=float).T for part in parts.values()]
    return Series(tuple(parts), tuple(c[0] for c in columns), tuple(c[1] for c in columns))


def step_plot(
    series: Series,
    colour: str,
    stage_names: dict[str, str],
    *,
    smooth: bool = True,
    level: float | None = None,
) -> str:
    """A small plot of one series against the steps, with a division where a stage begins.

    `smooth` draws the values faint below their moving average; `level` draws a height to compare with.
    """
    with _axes(3.5, 1.95) as (axes, finish):
        for steps, values in zip(series.steps, series.values, strict=True):
            if smooth:
                axes.plot(steps, values, color=colour, alpha=0.3, linewidth=1)
                values = _moving_average(values)
            dot = "o" if len(values) == 1 else None
            axes.plot(steps, values, color=colour, linewidth=1.8, marker=dot, markersize=4)
        if level is not None:
            axes.axhline(level, color=FAINT, linewidth=0.8)
        axes.margins(x=0.02, y=0.12)
        axes.yaxis.set_major_locator(_nice_ticks(4))
        axes.xaxis.set_major_locator(_nice_ticks(5, integer=True))
        for before, after, stage in zip(series.steps, series.steps[1:], series.stages[1:]):
            middle = (before[-1] + after[0]) / 2
            axes.axvline(middle, color=FAINT, linewidth=0.8, linestyle=(0, (3, 3)))
            name = stage_names.get(stage, stage)
            axes.text(middle, 1.01, name, transform=axes.get_xaxis_transform(), color=FAINT, fontsize=9)
        return finish()


def cmc_plot(curves: dict[str, Sequence[float]], names: dict[str, str]) -> str:
    """CMC curves (fractions from rank 1 on), labelled at their ends; keys pick the colours."""
    with _axes(5.0, 3.3) as (axes, finish):
        depth = min(CMC_RANKS, max(len(curve) for curve in curves.values()))
        ends = []
        spare = iter(OTHER_COLOURS)
        for key, curve in curves.items():
            percent = 100 * np.asarray(curve[:depth], dtype=float)
            colour = COLOURS.get(key) or next(spare, INK)
            dashed = (0, (4, 2)) if key == "source" else "-"
            ranks = np.arange(1, len(percent) + 1)
            axes.plot(ranks, percent, color=colour, linewidth=2, linestyle=dashed, clip_on=False)
            marked = [k - 1 for k in (1, 5, 10, 20) if k <= len(percent)]
            axes.plot(ranks[marked], percent[marked], "o", color=colour, markersize=4, clip_on=False)
            ends.append((percent[-1], names[key], colour))
        low = min(100 * float(curve[0]) for curve in curves.values())
        bottom = 10 * math.floor(min(low, 90) / 10)
        axes.set_ylim(bottom, 100)
        axes.yaxis.set_major_locator(_nice_ticks(5, integer=True))
        axes.set_xlim(0.5, depth + 0.3)
        axes.set_xticks([k for k in (1, 5, 10, 15, 20) if k <= depth])
        axes.set_xlabel("rank k")
        axes.set_title("queries with a match among the first k, %", loc="left", fontsize=10, color=FAINT)
        gap = 0.065 * (100 - bottom)
        for height, (end, name, colour) in zip(_spread([end for end, *_ in ends], gap, 100), ends):
            axes.annotate(
                name,
                xy=(depth, end),
                xytext=(depth * 1.05 + 0.4, height),
                color=colour,
                va="center",
                annotation_clip=False,
                fontweight="bold" if name == names.get("student") else "normal",
                arrowprops={
                    "arrowstyle": "-",
                    "color": colour,
                    "linewidth": 0.6,
                    "shrinkA": 2,
                    "shrinkB": 4,
                    "relpos": (0, 0.5),
                },
            )
        return finish()


@contextmanager
def _axes(width: float, height: float):
    """Axes of that size in inches, and a function that turns them into a data: URI of an SVG."""
    import matplotlib
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    with matplotlib.rc_context(_STYLE):
        figure = Figure(figsize=(width, height), layout="constrained")
        FigureCanvasSVG(figure)

        def finish() -> str:
            buffer = io.BytesIO()
            figure.savefig(buffer, format="svg", metadata={"Date": None})
            return "data:image/svg+xml;base64," + base64.b64encode(buffer.getvalue()).decode()

        yield figure.subplots(), finish


def _nice_ticks(count: int, integer: bool = False):
    from matplotlib.ticker import MaxNLocator

    return MaxNLocator(count, integer=integer, steps=[1, 2, 2.5, 5, 10])


def _moving_average(values: np.ndarray) -> np.ndarray:
    """Centred moving average over about a tenth of the values; the window shrinks at both ends."""
    reach = len(values) // 20
    total = np.concatenate([[0.0], np.cumsum(values)])
    places = np.arange(len(values))
    half = np.minimum(reach, np.minimum(places, places[::-1]))
    return (total[places + half + 1] - total[places - half]) / (2 * half + 1)


def _spread(heights: list[float], gap: float, top: float) -> list[float]:
    """The heights moved apart, so that neighbours differ by `gap` and none lies above `top`."""
    order = np.argsort(-np.asarray(heights), kind="stable")
    placed = list(heights)
    ceiling = top
    for index in order:
        placed[index] = min(placed[index], ceiling)
        ceiling = placed[index] - gap
    return placed
