"""A network that compares pairs in a run: it trains, all commands score it alike, and what it has not is one line."""

import json
import re

import pytest
import torch
from small_runs import flags, knobs

from vreid_fast.data.sampling.graph import GraphSampler
from vreid_fast.errors import InputError
from vreid_fast.evaluate import main as evaluate
from vreid_fast.export import main as export
from vreid_fast.extract import main as extract
from vreid_fast.extraction.extractor import Extractor
from vreid_fast.train import main, train
from vreid_fast.training.logbook import read_history
from vreid_fast.training.steps import Steps

SHAPE = {
    "network": "qaconv", "trunk": "narrow", "height": 32, "width": 16, "method": "source", "cross_entropy": 0.0,
    "margin": 16.0, "source_steps": 3, "adapt_steps": 2,
}  # fmt: skip


@pytest.fixture(scope="module")
def run(data, tmp_path_factory):
    folder = tmp_path_factory.mktemp("qaconv") / "run"
    train(knobs(data, folder, **SHAPE))
    return folder


def test_it_trains_on_scores_of_pairs_and_is_scored_by_them(data, run, tmp_path):
    rows = [row for row in read_history(run / "metrics.jsonl") if "losses" in row]
    assert len(rows) == 5 and all(set(row["losses"]) - {"total"} == {"triplet"} for row in rows)
    assert all(row["gradient_norm"] > 0 for row in rows)
    result = json.loads((run / "result.json").read_text())
    assert {"untrained", "source", "student"} <= set(result) and "student_camera" not in result
    file = tmp_path / "scores.json"
    assert evaluate(["--checkpoint", f"{run}/last.pt", "--data", data["target"], "--json", str(file)]) == 0
    assert json.loads(file.read_text())["student"]["map"] == pytest.approx(result["student"]["map"], abs=1e-6)


def test_all_frames_and_instance_norms_are_scored_too(data, run, tmp_path):
    file = tmp_path / "scores.json"
    words = ["--checkpoint", f"{run}/last.pt", "--data", data["target"], "--clips", "all", "--json", str(file)]
    assert evaluate(words) == 0 and 0 < json.loads(file.read_text())["student"]["map"] <= 1
    words = [*words[:4], "--compare", "frames", "--json", str(file)]
    assert evaluate(words) == 0 and 0 < json.loads(file.read_text())["student"]["map"] <= 1
    other = train(knobs(data, tmp_path / "ibnb", **{**SHAPE, "network": "qaconv_ibnb", "adapt_steps": 0}))
    assert 0 < other["student"]["map"] <= 1


def test_a_run_is_gone_on_from_and_the_second_stage_begins_with_it(data, run, tmp_path):
    started = train(knobs(data, tmp_path / "next", **SHAPE, start=str(run / "last.pt")))
    assert started["source"]["map"] == json.loads((run / "result.json").read_text())["student"]["map"]
    assert main(["--resume", str(run)]) == 0


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        *(({"method": method}, f"--method {method}: network qaconv compares pairs of tracklets and has no vectors")
          for method in ("bn_adapt", "paper", "plus", "glt")),
        ({"statistics": "target"}, "--statistics target: .* set --statistics auto"),
        ({"cross_entropy": 1.0}, "--cross_entropy 1.0: .* set --cross_entropy 0"),
        ({"info_nce": 0.1}, "--info_nce 0.1: .* set --info_nce 0"),
        ({"compare": "frames", "test_clips": "all"}, "--test_clips all: .* set --test_clips even, chunks or begin"),
        ({"compare": "frames", "network": "small", "trunk": "full"}, "--compare frames: network small"),
        ({"distance": "dot"}, "--distance dot: .* leave it out"),
    ],
)  # fmt: skip
def test_what_it_has_not_is_one_line(data, tmp_path, capsys, changes, said):
    assert main(flags(data, tmp_path / "run", **{**SHAPE, **changes})) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and re.search(said, error), error
    assert not (tmp_path / "run" / "last.pt").exists()


def test_pairs_are_reranked(data, run, tmp_path, capsys):
    words = ["--checkpoint", f"{run}/last.pt", "--data", data["target"], "--rerank", "--json", str(tmp_path / "s.json")]
    assert evaluate(words) == 0
    scores = json.loads((tmp_path / "s.json").read_text())
    assert 0 < scores["student_rerank"]["map"] <= 100 and scores["student_rerank"] != scores["student"]


def test_vectors_of_it_are_refused(data, run, tmp_path, capsys):
    checkpoint, target = ["--checkpoint", f"{run}/last.pt"], ["--data", data["target"]]
    for command, words in (
        (extract, [*checkpoint, *target, "--out", str(tmp_path / "features")]),
        (export, [*checkpoint, "--out", str(tmp_path / "model.onnx")]),
        (evaluate, [*checkpoint, *target, "--distance", "euclidean"]),
    ):
        capsys.readouterr()
        assert command(words) == 2
        error = capsys.readouterr().err
        assert error.count("\n") == 1 and ("compares pairs" in error or "scores pairs itself" in error), error
    assert not (tmp_path / "features").exists() and not (tmp_path / "model.onnx").exists()
    with pytest.raises(InputError, match="Extractor: the network of the checkpoint compares pairs"):
        Extractor(run / "last.pt")  # `search` asks through it


GRAPH = {**SHAPE, "per_epoch": "graph", "people": 3, "source_steps": 8, "adapt_steps": 0, "checkpoint_every": 8}


@pytest.mark.parametrize("network", ["qaconv", "small"])
def test_batches_are_of_people_that_the_network_takes_for_each_other(data, tmp_path, monkeypatch, network):
    changes = {**GRAPH, "network": network, **({"trunk": "full", "cross_entropy": 1.0} if network == "small" else {})}
    begun, drawn = [], []
    begin, draw = GraphSampler.begin, GraphSampler.__call__

    def watched(sampler, epoch, distances):
        assert distances.shape == (6, 6) and distances.std() > 0
        begun.append((epoch, distances.clone().fill_diagonal_(torch.inf).topk(2, largest=False).indices))
        begin(sampler, epoch, distances)

    def kept(sampler, step):
        drawn.append((step, draw(sampler, step)))
        return drawn[-1][1]

    monkeypatch.setattr(GraphSampler, "begin", watched)
    monkeypatch.setattr(GraphSampler, "__call__", kept)
    train(knobs(data, tmp_path / "run", **changes))
    assert [epoch for epoch, _ in begun] == [0, 1] and sorted(step for step, _ in drawn) == list(range(8))
    for step, batch in drawn:
        people = batch.reshape(3, 2)[:, 0] // 4  # each of the six has four tracklets, in order
        assert people[:2].tolist() == begun[step // 6][1][people[2]].tolist()


def test_a_run_goes_on_in_the_middle_of_an_epoch_as_if_nothing_had_been(data, tmp_path, monkeypatch):
    whole = train(knobs(data, tmp_path / "whole", **GRAPH))
    run = tmp_path / "run"
    source = Steps.source

    def stopped(self, batch):
        if self.session.learner.step == 4:
            raise KeyboardInterrupt
        source(self, batch)

    with monkeypatch.context() as patch:
        patch.setattr(Steps, "source", stopped)
        with pytest.raises(KeyboardInterrupt):
            train(knobs(data, run, **{**GRAPH, "checkpoint_every": 4}))
    again = train(knobs(data, run, **{**GRAPH, "checkpoint_every": 4}), resume=True)
    assert again["student"] == whole["student"]
    states = [torch.load(of / "last.pt", weights_only=True) for of in (tmp_path / "whole", run)]
    assert all(torch.equal(one, states[1]["student"][name]) for name, one in states[0]["student"].items())
    assert states[0]["neighbours"]["epoch"] == 1


def test_a_graph_of_people_is_for_the_source_alone(data, tmp_path, capsys):
    assert main(flags(data, tmp_path / "run", per_epoch="graph", method="paper")) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and "--per_epoch graph: it makes batches of the source alone" in error
