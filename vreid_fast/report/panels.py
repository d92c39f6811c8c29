"""The plots of a report that follow from metrics.jsonl: losses, their weights and gradients, clusters, schedules."""

from collections.abc import Sequence

import numpy as np

from . import curves, words
from .drawing import COLOURS, INK
from .series import Series, series_of

# Identity blue, domain purple, consistency green; within a group lines differ by their dashes.
_GROUPS = {
    COLOURS["student"]: ("cross_entropy", "triplet", "info_nce"),
    "#a3478f": ("l1s", "l2s", "l3s"),
    COLOURS["teacher"]: ("l1c", "l2c", "proxy"),
}
_COLOURS = {name: colour for colour, names in _GROUPS.items() for name in names}
_OTHER_COLOUR = "#8a6d00"
_DASHES = ("-", (0, (5, 2)), (0, (1.5, 1.5)), (0, (6, 2, 1.5, 2)))
_NO_DIAGNOSTIC = {"stage", "step", "seconds", "loss", "losses", "weights", "gradient_norms", "scores", *words.CLUSTERS}


def losses(history: Sequence[dict]) -> list[dict]:
    """A panel of the total and of each term."""
    panels = [_panel("Total loss", series_of(history, "loss"), INK)]
    for name in _terms(history, "losses"):
        panels.append(_panel(_title(name, words.LOSSES), series_of(history, "losses", name), _colour(name)))
    return [panel for panel in panels if panel]


def weights(history: Sequence[dict]) -> dict | None:
    """By how much each term enters the total: a plot of the weights that change, and the constant ones in words."""
    found = _found(history, "weights")
    if not found:
        return None
    constant = {name: series for name, series in found.items() if np.ptp(np.concatenate(series.values)) == 0}
    changing = {name: series for name, series in found.items() if name not in constant}
    return {
        "constant": ", ".join(f"{_title(name, words.TERMS)} {series.last:.3g}" for name, series in constant.items()),
        "plot": changing and _compared("Weights of the terms", changing),
    }


def gradient_norms(history: Sequence[dict]) -> dict | None:
    """How hard each weighted term pulls at the backbone."""
    found = _found(history, "gradient_norms")
    pulling = {name: series for name, series in found.items() if np.concatenate(series.values).max() > 0}
    if not found:
        return None
    return {
        "silent": ", ".join(_title(name, words.TERMS) for name in found if name not in pulling),
        "plot": pulling and _compared("Gradient norms of the terms at the backbone", pulling, logarithmic=True),
    }


def clusters(history: Sequence[dict]) -> list[dict]:
    """Number, sizes and cameras of the target's clusters, and how they fared from pass to pass."""
    low, middle, high = (series_of(history, f"cluster_size_{which}") for which in ("smallest", "median", "largest"))
    colour = COLOURS["teacher"]
    panels = [_panel(words.CLUSTERS["clusters"], series_of(history, "clusters"), colour, smooth=False)]
    if low and middle and high:
        last = " · ".join(f"{series.last:.3g}" for series in (low, middle, high))
        panels.append(
            {
                "name": words.CLUSTERS["cluster_size_median"],
                "last": last,
                "image": curves.band_plot(low, middle, high, colour),
                "alt": f"Smallest, median and largest cluster against training steps; at last {last}",
            }
        )
    for name in (name for name in words.CLUSTERS if name != "clusters" and not name.startswith("cluster_size")):
        panels.append(_panel(words.CLUSTERS[name], series_of(history, name), colour, smooth=False))
    return [panel for panel in panels if panel]


def schedules(history: Sequence[dict]) -> list[dict]:
    """Learning rate, strengths, accuracies and whatever else of one number a row was logged."""
    panels = []
    networks = dict.fromkeys(name for row in history for name in row.get("scores") or {})
    for name in networks:
        series = series_of(history, "scores", name, "map")
        colour = COLOURS.get(words.network_key(name), INK)
        if series and sum(map(len, series.steps)) > 1:  # one score is in the table
            panels.append(_panel(f"mAP of {words.network_words(name)[0]}", series, colour, smooth=False))
    logged = dict.fromkeys(name for row in history for name in row if name not in _NO_DIAGNOSTIC)
    order = {**words.DIAGNOSTICS, **words.SCHEDULES, **logged}
    for name in (name for name in order if name in logged):
        series, noisy = series_of(history, name), name not in words.SCHEDULES
        level = 0.5 if name.startswith("domain_accuracy") else None
        title = _title(name, {**words.SCHEDULES, **words.DIAGNOSTICS})
        panels.append(_panel(title, series, INK, smooth=noisy, level=level))
    return [panel for panel in panels if panel]


def _terms(history: Sequence[dict], group: str) -> list[str]:
    """Names in a group of the rows, known ones first."""
    logged = dict.fromkeys(name for row in history for name in row.get(group) or {})
    return [name for name in {**words.LOSSES, **logged} if name in logged]


def _found(history: Sequence[dict], group: str) -> dict[str, Series]:
    series = {name: series_of(history, group, name) for name in _terms(history, group)}
    return {name: one for name, one in series.items() if one}


def _compared(name: str, found: dict[str, Series], **look) -> dict:
    drawn: dict[str, int] = {}  # curves of a colour so far
    looks = {}
    for term in found:
        colour = _colour(term)
        place = drawn[colour] = drawn.get(colour, -1) + 1
        looks[term] = (_title(term, words.TERMS), colour, _DASHES[place % len(_DASHES)])
    last = ", ".join(f"{_title(term, words.TERMS)} {series.last:.3g}" for term, series in found.items())
    return {
        "image": curves.compared_plot(found, looks, words.STAGES, **look),
        "alt": f"{name} against training steps; at last {last}",
    }


def _panel(name: str, series: Series | None, colour: str, **look) -> dict | None:
    if series is None:
        return None
    first, last = float(series.values[0][0]), series.last
    return {
        "name": name,
        "last": f"{last:.3g}",
        "image": curves.step_plot(series, colour, words.STAGES, **look),
        "alt": f"{name} against training steps, from {first:.3g} to {last:.3g}",
    }


def _title(name: str, known: dict[str, str]) -> str:
    return known.get(name, words.plain(name))


def _colour(name: str) -> str:
    return _COLOURS.get(name, _OTHER_COLOUR)
