"""`--method plus` on a small tree: proxies, statistics of each camera, resume, and what it does without cameras."""

import csv
import json
import os
import signal

import pytest
import torch
from small_runs import flags, knobs, logged, states_equal, write_people
from torch.nn import functional as F

from vreid_fast.errors import InputError, Stopped
from vreid_fast.evaluate import main as evaluate
from vreid_fast.train import main, train
from vreid_fast.training.build import load_network
from vreid_fast.training.session import Session

PLUS = {"method": "plus", "adapt_steps": 5, "cluster_every": 2, "gradients_every": 2}


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    root = tmp_path_factory.mktemp("data")
    target = write_people(root / "target", 1)
    blind = write_people(root / "blind", 1)
    with open(target / "tracklets.csv") as file:
        rows = list(csv.reader(file))
    with open(blind / "tracklets.csv", "w", newline="") as file:
        csv.writer(file).writerows([rows[0], *([path, identity, ""] for path, identity, _ in rows[1:])])
    return {
        "source": f"folder:{write_people(root / 'source', 0)}",
        "target": f"folder:{target}",
        "blind": f"folder:{blind}",
        "one": f"folder:{write_people(root / 'one', 2, cameras=1)}",
    }


@pytest.fixture(scope="module")
def pair(data):
    return {name: data[name] for name in ("source", "target")}


@pytest.fixture(scope="module")
def run(pair, tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "plus"
    assert main(flags(pair, folder, **PLUS)) == 0
    return folder


def test_steps_log_the_proxies_their_clusters_weights_and_gradients(run):
    rows = [row for row in logged(run) if row["stage"] == "adapt" and "losses" in row]
    assert set(rows[0]["losses"]) == {"cross_entropy", "triplet", "l1s", "l2s", "l3s", "proxy"}
    assert set(rows[0]["weights"]) == set(rows[0]["losses"]) and rows[-1]["weights"]["proxy"] == 1.0
    assert rows[0]["clusters"] == 4 and 1 <= rows[0]["cameras_per_cluster"] <= 2
    with_norms = [row for row in rows if "gradient_norms" in row]
    assert [row["step"] for row in with_norms] == [6, 8]
    assert all(with_norms[-1]["gradient_norms"][name] > 0 for name in ("cross_entropy", "l1s", "l2s", "l3s", "proxy"))


def test_the_proxies_of_a_batch_follow_the_teacher(run):
    memory = torch.load(run / "last.pt", weights_only=True)["memory"]
    rows = memory["labels"] * 2 + torch.tensor([0, 0, 1, 1] * 6)  # cameras, as `write_people` orders them
    clustered = F.normalize(torch.zeros_like(memory["proxies"]).index_add_(0, rows, memory["features"]), dim=1)
    torch.testing.assert_close(clustered.norm(dim=1) > 0, memory["present"])
    # The last step clustered anew, then its 6 clips moved their proxies.
    assert 1 <= ((clustered - memory["proxies"]).norm(dim=1) > 1e-3).sum() <= 6


def test_the_student_is_scored_with_the_statistics_of_each_camera(run, pair, capsys, tmp_path):
    network, _, statistics = load_network(run / "last.pt")
    assert set(statistics) == {0, 1}
    assert not torch.equal(statistics[0]["neck.running_mean"], statistics[1]["neck.running_mean"])
    assert not torch.equal(statistics[0]["neck.running_mean"], network.neck.running_mean)
    result = json.loads((run / "result.json").read_text())
    for which in ("student", "teacher"):
        out = tmp_path / f"{which}.json"
        words = ["--checkpoint", run / "last.pt", "--data", pair["target"], "--network", which, "--json", out]
        assert evaluate([*map(str, words), "--device", "cpu"]) == 0
        scores = json.loads(out.read_text())
        assert scores[which] == result[which] and scores["untrained"] == result["untrained"]
    # Another data set has other cameras.
    assert evaluate(["--checkpoint", str(run / "last.pt"), "--data", pair["source"], "--device", "cpu"]) == 0
    assert "of no use here" in capsys.readouterr().out


@pytest.mark.parametrize("stop_after", [5, 7])
def test_resume_is_bit_for_bit(run, pair, tmp_path, stop_after, monkeypatch):
    folder, steps, plain = tmp_path / "run", 0, Session.advance

    def advance(self, *arguments, **keywords):
        nonlocal steps
        steps += 1
        if steps == stop_after:
            os.kill(os.getpid(), signal.SIGINT)
        plain(self, *arguments, **keywords)

    monkeypatch.setattr(Session, "advance", advance)
    with pytest.raises(Stopped):
        train(knobs(pair, folder, **PLUS))
    monkeypatch.undo()
    assert main(["--resume", str(folder)]) == 0
    assert logged(folder) == logged(run)
    one, other = (torch.load(path / "last.pt", weights_only=True) for path in (folder, run))
    assert states_equal(one["student"], other["student"]) and states_equal(one["memory"], other["memory"])


@pytest.mark.parametrize("target, word", [("blind", "not known"), ("one", "one only")])
def test_a_target_without_cameras_falls_back_and_says_so(data, tmp_path, capsys, target, word):
    pair = {"source": data["source"], "target": data[target]}
    result = train(knobs(pair, tmp_path / "run", **PLUS))
    assert f"the target's cameras are {word}: batch-norm statistics are those of the whole" in capsys.readouterr().out
    assert load_network(tmp_path / "run" / "last.pt")[2] is None
    assert result["seconds"] > 0


def test_statistics_decide_what_is_tested_and_change_no_training(pair, tmp_path):
    train(knobs(pair, tmp_path / "first", method="source", adapt_steps=0))
    start = {"start": str(tmp_path / "first" / "last.pt"), "adapt_steps": 3}
    found = {}
    for method, statistics in (
        ("source", "auto"), ("bn_adapt", "auto"), ("bn_adapt", "camera"), ("bn_adapt", "running"), ("source", "target")
    ):  # fmt: skip
        folder = tmp_path / f"{method}-{statistics}"
        train(knobs(pair, folder, method=method, statistics=statistics, **start))
        state = torch.load(folder / "last.pt", weights_only=True)
        found[method, statistics] = state["student"], state["statistics"].get("student")
    means = {key: student["neck.running_mean"] for key, (student, _) in found.items()}
    weights = [student["trunk.conv1.weight"] for student, _ in found.values()]
    assert all(torch.equal(weight, weights[0]) for weight in weights)
    assert torch.equal(means["source", "auto"], means["bn_adapt", "running"])
    assert torch.equal(means["source", "target"], means["bn_adapt", "auto"])
    assert not torch.equal(means["source", "auto"], means["bn_adapt", "auto"])
    assert [statistics is not None for _, statistics in found.values()] == [False, False, True, False, False]


def test_the_authors_selection_is_a_row_of_its_own(pair, tmp_path):
    result = train(knobs(pair, tmp_path / "run", select="authors", select_every=1))
    chosen = result["student_selected"]
    assert 5 <= chosen["step"] <= 8 and "student" in result
    rows = [
        row["scores"]["student_selected"]
        for row in logged(tmp_path / "run")
        if "student_selected" in row.get("scores", {})
    ]
    assert rows[-1]["step"] == chosen["step"] and [r["rank1"] for r in rows] == sorted({r["rank1"] for r in rows})
    assert "student_selected" not in train(knobs(pair, tmp_path / "last"))


def test_more_clusters_than_tracklets_are_cut_down_or_refused(pair, tmp_path, capsys):
    train(knobs(pair, tmp_path / "run", **{**PLUS, "clusters": 99}))
    assert "the target has 24 tracklets, so there are 24 clusters" in capsys.readouterr().out
    with pytest.raises(InputError, match="--clusters 13: a batch has 12 features"):
        train(knobs(pair, tmp_path / "batch", cluster_over="batch", clusters=13))
