"""The first and the last words of a run: what it uses, what it reached."""

from __future__ import annotations

import json
import textwrap
from pathlib import Path
from typing import Any

import numpy as np
import torch

from vreid_fast.config.groups import DataKnobs
from vreid_fast.data.domains import Domains
from vreid_fast.data.reading.loader import Loader
from vreid_fast.device import describe
from vreid_fast.errors import InputError
from vreid_fast.evaluation.scores import Evaluation
from vreid_fast.files import write_text
from vreid_fast.kernels.backends import OPS, choose, slower_here
from vreid_fast.report import bad_frames_list, pick_clusters, pick_nearest, pick_ranked, score_table, write_report
from vreid_fast.terminal import say

from .logbook import read_history
from .session import Session


def environment(session: Session, loader: Loader) -> dict[str, str]:
    """Device, versions, precision, loader and the backend of each op, in words."""
    device = session.learner.device
    backends = {op: choose(op, None, device) for op in OPS}
    return {
        "device": describe(device),
        "torch": f"{torch.__version__}, {torch.get_num_threads()} threads",
        "precision": f"{session.precision.name} ({session.precision.reason})",
        "loader": loader.name,
        "kernels": ", ".join(f"{op}: {backend}" for op, backend in backends.items()),
    }


def greet(session: Session, domains: Domains, loader: Loader, more: dict[str, str]) -> dict[str, str]:
    """Print what the run uses, and `more` of it; returns it for the report."""
    used = environment(session, loader) | more
    for name, value in used.items():
        say(f"{name:>10}  {value}")
    for name, data in (("source", domains.source_data), ("target", domains.target_data)):
        cameras = {tracklet.camera for tracklet in data.train} - {None}
        use = "labelled" if name == "source" else "to adapt to, unlabelled"
        say(f"{name:>10}  {data.name}: {use}{f', {len(cameras)} cameras' if cameras else ''}")
        print(textwrap.indent(data.table(), " " * 12))
    for note in (*slower_here(session.learner.device), *domains.notes, *loader.notes):
        say(f"{'note':>10}  {note}")
    return used


def write_results(
    session: Session, data: DataKnobs, test: Evaluation, used: dict[str, str], feature_map: dict[str, np.ndarray]
) -> dict:
    """result.json, report.html and the closing table of a finished run.

    Args:
        test: the adapted student on the target, with its training tracklets, for the ranked lists.
        used: what `greet` returned.
        feature_map: what `embed_domains` returned, but with features `before` and `after` adaptation.
    """
    log, folder = session.log, session.folder
    result: dict[str, Any] = {
        **session.scores,
        "method": session.stages.method,
        "seed": session.run.seed,
        "synthetic_seed": data.synthetic_seed,
        "seconds": round(log.seconds(), 1),
        "clips_per_second": round(log.clips_per_second(), 1),
    }
    bad_frames = test.protocol.reading.bad_frames
    adaptation, tracklets, read = session.learner.adaptation, test.data.train, bad_frames.read
    labels = None if adaptation is None else adaptation.consistency.labels
    if test.scored:
        ranked = pick_ranked(test.distances(), test.data.query, test.data.gallery, read_frames=read)
    else:
        assert test.train is not None, "the caller embeds the training tracklets"
        ranked = pick_nearest(test.train, tracklets, labels, distance=test.protocol.distance, read_frames=read)
    sheets = pick_clusters(labels, tracklets, most=3 if test.scored else 8, read_frames=read)
    write_report(
        folder / "report.html", title=f"{data.source} → {data.target}", config=session.config, environment=used,
        history=read_history(folder / "metrics.jsonl"), result=result, ranked=ranked,
        clusters=sheets, feature_map=feature_map,
    )  # fmt: skip
    if bad_frames.found:
        result["bad_frames"] = bad_frames.report()
    write_json(folder / "result.json", result)
    return result


def read_result(folder: Path) -> dict:
    """The result.json of a finished run.

    Raises:
        InputError: a damaged one.
    """
    path = folder / "result.json"
    try:
        result = json.loads(path.read_text(encoding="utf-8"))
        score_table({name: scores for name, scores in result.items() if isinstance(scores, dict)})
    except Exception as error:  # it may hold anything
        reason = next(iter(str(error).splitlines()), "") or type(error).__name__
        raise InputError(
            f"{path}: not what a run wrote ({reason}); take it away: --resume {folder} makes it anew"
        ) from error
    return result


def print_results(folder: str, result: dict) -> None:
    """The closing words of a run, or of a run of all splits."""
    if "mean" in result:
        print(f"{len(result['splits'])} splits")
        print(score_table(result["mean"], result["std"]))
        print(f"{Path(folder) / 'result.json'} holds them all; each split's folder has its report.html")
        return
    rows = {name: scores for name, scores in result.items() if isinstance(scores, dict)}
    print(score_table(rows) if rows else "no scores: the target has no identities to judge by; look at the pictures")
    print(bad_frames_list(result.get("bad_frames", [])), end="")
    print(f"{Path(folder) / 'report.html'} shows curves and ranked lists")
    print(f"{Path(folder) / 'last.pt'} holds the networks, for extract, evaluate and export; they take the student")


def write_json(path: Path, content: dict) -> None:
    write_text(path, json.dumps(content, indent=1) + "\n")
