"""The curves of a report, each plot a self-contained SVG: CMC, and quantities against steps."""

import math
from collections.abc import Sequence

import numpy as np

from .drawing import COLOURS, FAINT, INK, OTHER_COLOURS, drawn_axes
from .series import Series, moving_average

CMC_RANKS = 20
_SMALL, _LARGE = (3.5, 1.95), (5.0, 3.3)  # inches
_LINE_HEIGHT = 0.065  # of a label at the end of a curve, as a part of the axes


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
    with drawn_axes(*_SMALL) as (axes, finish):
        for steps, values in zip(series.steps, series.values, strict=True):
            if smooth:
                axes.plot(steps, values, color=colour, alpha=0.3, linewidth=1)
                values = moving_average(values)
            dot = "o" if len(values) == 1 else None
            axes.plot(steps, values, color=colour, linewidth=1.8, marker=dot, markersize=4)
        if level is not None:
            axes.axhline(level, color=FAINT, linewidth=0.8)
        axes.margins(x=0.02, y=0.12)
        axes.yaxis.set_major_locator(_nice_ticks(4))
        axes.xaxis.set_major_locator(_nice_ticks(5, integer=True))
        _divide(axes, series, stage_names)
        return finish()


def band_plot(low: Series, middle: Series, high: Series, colour: str) -> str:
    """A small plot of counts between their bounds (shaded), on a logarithmic scale; the three of one history."""
    with drawn_axes(*_SMALL) as (axes, finish):
        for place, steps in enumerate(middle.steps):
            axes.fill_between(steps, low.values[place], high.values[place], color=colour, alpha=0.18, linewidth=0)
            axes.plot(steps, middle.values[place], color=colour, linewidth=1.8)
        _logarithmic(axes)
        axes.margins(x=0.02, y=0.12)
        axes.xaxis.set_major_locator(_nice_ticks(5, integer=True))
        return finish()


def compared_plot(
    curves: dict[str, Series],
    looks: dict[str, tuple[str, str, object]],
    stage_names: dict[str, str],
    *,
    logarithmic: bool = False,
) -> str:
    """Several quantities against the steps on one scale, each labelled at its end.

    Args:
        looks: label, colour and line style of each curve.
        logarithmic: a logarithmic scale, with the noise of each curve smoothed away; zeros are left out.
    """
    with drawn_axes(*_LARGE) as (axes, finish):
        ends = []
        for key, series in curves.items():
            label, colour, style = looks[key]
            for steps, values in zip(series.steps, series.values, strict=True):
                if logarithmic:
                    steps, values = steps[values > 0], values[values > 0]
                    values = np.exp(moving_average(np.log(values)))
                dot = "o" if len(values) == 1 else None
                axes.plot(steps, values, color=colour, linewidth=1.7, linestyle=style, marker=dot, markersize=4)
                if len(values):
                    end = (float(steps[-1]), float(values[-1]), label, colour)
            ends.append(end)
        axes.margins(x=0.02, y=0.05)
        if logarithmic:
            _logarithmic(axes)
        else:
            axes.set_ylim(0, None)
            axes.yaxis.set_major_locator(_nice_ticks(5))
        axes.xaxis.set_major_locator(_nice_ticks(5, integer=True))
        axes.set_xlabel("step")
        _divide(axes, max(curves.values(), key=lambda series: len(series.stages)), stage_names)
        _label_ends(axes, ends)
        return finish()


def cmc_plot(curves: dict[str, Sequence[float]], names: dict[str, str]) -> str:
    """CMC curves (fractions from rank 1 on), labelled at their ends; keys pick the colours."""
    with drawn_axes(*_LARGE) as (axes, finish):
        depth = min(CMC_RANKS, max(len(curve) for curve in curves.values()))
        ends = []
        spare = iter(OTHER_COLOURS)
        for key, curve in curves.items():
            percent = 100 * np.asarray(curve[:depth], dtype=float)
            colour = COLOURS.get(key) or next(spare, INK)
            dashed = (0, (4, 2)) if key in ("source", "student_selected") else "-"
            ranks = np.arange(1, len(percent) + 1)
            axes.plot(ranks, percent, color=colour, linewidth=2, linestyle=dashed, clip_on=False)
            marked = [k - 1 for k in (1, 5, 10, 20) if k <= len(percent)]
            axes.plot(ranks[marked], percent[marked], "o", color=colour, markersize=4, clip_on=False)
            ends.append((depth, percent[-1], names[key], colour))
        low = min(100 * float(curve[0]) for curve in curves.values())
        axes.set_ylim(10 * math.floor(min(low, 90) / 10), 100)
        axes.yaxis.set_major_locator(_nice_ticks(5, integer=True))
        axes.set_xlim(0.5, depth + 0.3)
        axes.set_xticks([k for k in (1, 5, 10, 15, 20) if k <= depth])
        axes.set_xlabel("rank k")
        axes.set_title("queries with a match among the first k, %", loc="left", fontsize=10, color=FAINT)
        _label_ends(axes, ends, bold=names.get("student"))
        return finish()


def _label_ends(axes, ends: list[tuple[float, float, str, str]], bold: str | None = None) -> None:
    """The name of each curve, right of the axes, tied to its end: (x, y, name, colour)."""
    to_axes = axes.transScale + axes.transLimits
    heights = [float(to_axes.transform((x, y))[1]) for x, y, *_ in ends]
    for height, (x, y, name, colour) in zip(_spread(heights, _LINE_HEIGHT, 1.0, 0.0), ends, strict=True):
        axes.annotate(
            name,
            xy=(x, y),
            xytext=(1.055, height),
            textcoords="axes fraction",
            color=colour,
            va="center",
            annotation_clip=False,
            fontweight="bold" if name == bold else "normal",
            arrowprops={
                "arrowstyle": "-",
                "color": colour,
                "linewidth": 0.6,
                "shrinkA": 2,
                "shrinkB": 4,
                "relpos": (0, 0.5),
            },
        )


def _divide(axes, series: Series, stage_names: dict[str, str]) -> None:
    """A dashed line, with its name, where a stage begins."""
    for before, after, stage in zip(series.steps, series.steps[1:], series.stages[1:]):
        middle = (before[-1] + after[0]) / 2
        axes.axvline(middle, color=FAINT, linewidth=0.8, linestyle=(0, (3, 3)))
        name = stage_names.get(stage, stage)
        axes.text(middle, 1.01, name, transform=axes.get_xaxis_transform(), color=FAINT, fontsize=9)


def _logarithmic(axes) -> None:
    from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

    axes.set_yscale("log")
    low, high = axes.get_ylim()
    near = high / low < 50
    axes.yaxis.set_major_locator(LogLocator(10, subs=(1, 2, 5) if near else (1,), numticks=7))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))


def _nice_ticks(count: int, integer: bool = False):
    from matplotlib.ticker import MaxNLocator

    return MaxNLocator(count, integer=integer, steps=[1, 2, 2.5, 5, 10])


def _spread(heights: list[float], gap: float, top: float, bottom: float = -math.inf) -> list[float]:
    """The heights moved apart, so that neighbours differ by `gap` and, where they fit, lie between the bounds."""
    order = np.argsort(-np.asarray(heights), kind="stable")
    placed = list(heights)
    ceiling, floor = top, bottom
    for index in order:
        placed[index] = min(placed[index], ceiling)
        ceiling = placed[index] - gap
    for index in order[::-1]:
        placed[index] = max(placed[index], floor)
        floor = placed[index] + gap
    return placed
