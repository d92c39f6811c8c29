"""report.html of a run: one file, nothing fetched from anywhere."""

import base64
import io
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from . import curves, words
from .ranked import RankedQuery

_RANKS = ("rank1", "rank5", "rank10", "rank20")
_IMAGE_HEIGHT = 192  # pixels; shown at half of that or less, so sharp on dense screens too
_LOSS_COLOURS = {"l1s": "#a3478f", "l2s": "#a3478f", "l3s": "#a3478f", "l1c": "#00805c", "l2c": "#00805c"}
_NOT_PLOTTED = {"stage", "step", "seconds", "loss", "losses", "weights", "scores"}


def write_report(
    path,
    *,
    title: str,
    config: dict,
    environment: dict[str, str],
    history: Sequence[dict],
    result: dict,
    ranked: Sequence[RankedQuery],
) -> Path:
    """Write the report of a run; what is missing is named on the page instead of failing.

    Args:
        path: the HTML file; replaced in one step, so that a reader never sees half of it.
        title: heading of the page.
        config: knob -> value.
        environment: device, versions, backends, loader: name -> words.
        history: the rows of metrics.jsonl.
        result: result.json; ``cmc`` in its scores, where there, gives the CMC curves.
        ranked: the lists of `pick_ranked`.

    Returns:
        The path written.
    """
    import jinja2

    templates = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    templates.filters["image"] = image_uri
    page = templates.get_template("page.html").render(
        title=title,
        facts=_facts(result, environment),
        finding=_finding(result),
        rows=_rows(result),
        unmatched=max(
            (scores.get("unmatched", 0) for name, scores in _scores(result).items() if not words.protocol_of(name)),
            default=0,
        ),
        cmc=_cmc(result),
        losses=_losses(history),
        schedules=_schedules(history),
        ranked=ranked,
        config=config,
        environment=environment,
    )
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(path.name + ".part")
    unfinished.write_text(page, encoding="utf-8")
    os.replace(unfinished, path)
    return path


def image_uri(image: np.ndarray) -> str:
    """(H, W, 3) uint8 as the data: URI of a JPEG, at most 192 pixels high."""
    from PIL import Image

    picture = Image.fromarray(np.ascontiguousarray(image))
    if picture.height > _IMAGE_HEIGHT:
        width = max(1, round(picture.width * _IMAGE_HEIGHT / picture.height))
        picture = picture.resize((width, _IMAGE_HEIGHT), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    picture.save(buffer, format="JPEG", quality=90)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode()


def _scores(result: dict) -> dict[str, dict]:
    """The score rows of a result in reading order: known networks first, then others as they come."""
    found = {
        words.network_key(name): scores
        for name, scores in result.items()
        if isinstance(scores, dict) and scores.get("map") is not None
    }
    ordered = {name: found[name] for name in [*words.NETWORKS, *found] if name in found}
    return dict(sorted(ordered.items(), key=lambda row: words.protocol_of(row[0]) is not None))


def _facts(result: dict, environment: dict[str, str]) -> list[str]:
    facts = []
    if result.get("method"):
        facts.append(f"method {result['method']}")
    if result.get("seed") is not None:
        facts.append(f"seed {result['seed']}")
    if result.get("seconds") is not None:
        facts.append(words.duration(result["seconds"]))
    if result.get("clips_per_second") is not None:
        facts.append(f"{result['clips_per_second']:,.0f} clips a second")
    if environment.get("device"):
        facts.append(environment["device"])
    return facts


def _finding(result: dict) -> dict | None:
    """The headline: the mAP of the student, before adaptation where known, and after."""
    scores = _scores(result)
    if "student" not in scores:
        return None
    student, source = scores["student"], scores.get("source")
    gain = None if source is None else student["map"] - source["map"]
    if gain is None:
        sentence = "The mAP of the student on the target."
    elif abs(gain) < 0.0005:
        sentence = "Adaptation without target labels left the mAP where it was."
    else:
        verb = "raised" if gain > 0 else "lowered"
        sentence = f"Adaptation without target labels {verb} the mAP by {100 * abs(gain):.1f} points."
    return {
        "sentence": sentence,
        "gain": None if gain is None else words.points(gain),
        "source": source,
        "student": student,
    }


def _rows(result: dict) -> list[dict]:
    """The score table: name, explanation, colour, scores and the gain over `baseline`."""
    scores = _scores(result)
    compared = words.baseline(scores)
    rows = []
    for key, score in scores.items():
        name, explanation = words.network_words(key)
        rows.append(
            {
                "name": name,
                "explanation": explanation,
                "colour": curves.COLOURS.get(key, curves.INK),
                "map": score["map"],
                "ranks": [score.get(rank) for rank in _RANKS],
                "queries": score.get("queries"),
                "gain": ""
                if key == compared or words.protocol_of(key)
                else words.points(score["map"] - scores[compared]["map"]),
            }
        )
    return rows


def _cmc(result: dict) -> dict | None:
    found = {key: scores["cmc"] for key, scores in _scores(result).items() if len(scores.get("cmc", ()))}
    if not found:
        return None
    names = {key: words.network_words(key)[0] for key in found}
    tops = ", ".join(f"{names[key]} {100 * curve[0]:.1f} %" for key, curve in found.items())
    return {"image": curves.cmc_plot(found, names), "alt": f"CMC curves; at rank 1: {tops}"}


def _losses(history: Sequence[dict]) -> list[dict]:
    names = dict.fromkeys(name for row in history for name in row.get("losses") or {})
    panels = [_panel("Total loss", curves.series_of(history, "loss"), curves.INK)]
    for name in (name for name in {**words.LOSSES, **names} if name in names):
        series = curves.series_of(history, "losses", name)
        colour = _LOSS_COLOURS.get(name, curves.COLOURS["student"])
        panels.append(_panel(words.LOSSES.get(name, words.plain(name)), series, colour))
    return [panel for panel in panels if panel]


def _schedules(history: Sequence[dict]) -> list[dict]:
    """Learning rate, strengths, accuracies and whatever else of one number a row was logged."""
    panels = []
    networks = dict.fromkeys(name for row in history for name in row.get("scores") or {})
    for name in networks:
        series = curves.series_of(history, "scores", name, "map")
        colour = curves.COLOURS.get(words.network_key(name), curves.INK)
        if series and sum(map(len, series.steps)) > 1:  # one score is in the table
            panels.append(_panel(f"mAP of {words.network_words(name)[0]}", series, colour, smooth=False))
    logged = dict.fromkeys(name for row in history for name in row if name not in _NOT_PLOTTED)
    order = {**words.DIAGNOSTICS, **words.SCHEDULES, **logged}
    for name in (name for name in order if name in logged):
        series, noisy = curves.series_of(history, name), name not in words.SCHEDULES
        level = 0.5 if name.startswith("domain_accuracy") else None
        title = words.SCHEDULES.get(name) or words.DIAGNOSTICS.get(name) or words.plain(name)
        panels.append(_panel(title, series, curves.INK, smooth=noisy, level=level))
    weights = dict.fromkeys(name for row in history for name in row.get("weights") or {})
    for name in weights:
        series = curves.series_of(history, "weights", name)
        if series and any(np.ptp(values) > 0 for values in series.values):  # fixed weights say nothing
            panels.append(_panel(f"Weight of {words.plain(name)} losses", series, curves.INK, smooth=False))
    return [panel for panel in panels if panel]


def _panel(name: str, series: curves.Series | None, colour: str, **look) -> dict | None:
    if series is None:
        return None
    first, last = float(series.values[0][0]), series.last
    return {
        "name": name,
        "last": f"{last:.3g}",
        "image": curves.step_plot(series, colour, words.STAGES, **look),
        "alt": f"{name} against training steps, from {first:.3g} to {last:.3g}",
    }
