"""report.html of a run: one file, nothing fetched from anywhere."""

import base64
import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from vreid_fast.files import write_text

from . import curves, panels, words
from .drawing import COLOURS, INK
from .feature_map import domain_accuracy, embed_2d, legend, map_plot
from .ranked import RankedQuery
from .unlabelled import ClusterSheet

_RANKS = ("rank1", "rank5", "rank10", "rank20")
_IMAGE_HEIGHT = 192  # pixels; shown at half of that or less, so sharp on dense screens too


def write_report(
    path,
    *,
    title: str,
    config: dict,
    environment: dict[str, str],
    history: Sequence[dict],
    result: dict,
    ranked: Sequence[RankedQuery],
    clusters: Sequence[ClusterSheet] = (),
    feature_map: dict[str, np.ndarray] | None = None,
) -> Path:
    """Write the report of a run; what is missing is named on the page instead of failing.

    Args:
        path: the HTML file; replaced in one step, so that a reader never sees half of it.
        title: heading of the page.
        config: knob -> value.
        environment: device, versions, backends, loader: name -> words.
        history: the rows of metrics.jsonl.
        result: result.json; ``cmc`` in its scores, where there, gives the CMC curves.
        ranked: the lists of `pick_ranked`; of data without labels those of `pick_nearest`.
        clusters: what `pick_clusters` shows of such data.
        feature_map: features of some source and target clips; 400 to 600 make a map that is legible and quick.
            ``before`` and ``after`` (N, D) adaptation, ``domains`` (N,) 0 = source, 1 = target, ``cameras`` (N,), -1
            where not known.

    Returns:
        The path written.
    """
    page = render(
        Path(__file__).with_name("page.html"),
        title=title,
        facts=_facts(result, environment),
        finding=_finding(result),
        rows=_rows(result),
        unmatched=max(
            (scores.get("unmatched", 0) for name, scores in _scores(result).items() if not words.protocol_of(name)),
            default=0,
        ),
        cmc=_cmc(result),
        losses=panels.losses(history),
        weights=panels.weights(history),
        gradients=panels.gradient_norms(history),
        clusters=panels.clusters(history),
        schedules=panels.schedules(history),
        map=_map(feature_map),
        ranked=ranked,
        sheets=clusters,
        config=config,
        environment=environment,
    )
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path, page)
    return path


def render(template: Path, **values: object) -> str:
    """A page from a template beside the code that fills it; what is put in is escaped, images become `image_uri`."""
    import jinja2

    templates = jinja2.Environment(
        loader=jinja2.FileSystemLoader(template.parent),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    templates.filters["image"] = image_uri
    return templates.get_template(template.name).render(**values)


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
        if score.get("step") is not None:
            explanation += f"; here step {score['step']:,}"
        rows.append(
            {
                "name": name,
                "explanation": explanation,
                "colour": COLOURS.get(key, INK),
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


def _map(given: dict[str, np.ndarray] | None) -> dict | str:
    """The two maps and how to read them, or why there is none."""
    if given is None:
        return "none was asked for, or there was no adaptation"
    domains, cameras = np.asarray(given["domains"]), np.asarray(given["cameras"])
    maps = []
    try:
        for name, features in (("Before adaptation", given["before"]), ("After adaptation", given["after"])):
            told = domain_accuracy(features, domains)
            last = "" if told is None else f"domains told apart: {100 * told:.0f} %"
            image = map_plot(embed_2d(features), domains, cameras)
            maps.append({"name": name, "last": last, "image": image, "alt": f"{name}: map of clips. {last}"})
    except ValueError as error:
        return str(error)
    return {"panels": maps, "legend": legend(domains, cameras), "clips": len(domains)}
