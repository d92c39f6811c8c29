"""`--method plus` on a small tree: proxies, statistics of each camera, resume, and what it does without cameras."""

import csv
import json
import shutil
from unittest.mock import ANY

import pytest
import torch
from small_runs import flags, knobs, logged, states_equal, write_people
from torch.nn import functional as F

from vreid_fast.errors import InputError, Stopped
from vreid_fast.evaluate import main as evaluate
from vreid_fast.train import main, train
from vreid_fast.training.build import load_network

PLUS = {"method": "plus", "adapt_steps": 5, "cluster_every": 2, "gradients_every": 2, "clusters": 0}
ADVERSARIAL = {"l1s": 1.0, "l2s": 1.0, "l3s": 1.0}
KMEANS = {**PLUS, **ADVERSARIAL, "cluster_by": "kmeans", "clusters": 4}


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    root = tmp_path_factory.mktemp("data")
    target = write_people(root / "target", 1)
    with open(target / "tracklets.csv") as file:
        head, *rows = csv.reader(file)
    # Of unknown cameras, and with two visits of a person as a camera each.
    others = {"blind": [""] * len(rows), "visits": [number // 2 for number in range(len(rows))]}
    for name, cameras in others.items():
        with open(write_people(root / name, 1) / "tracklets.csv", "w", newline="") as file:
            csv.writer(file).writerows([head, *([*row[:2], camera] for row, camera in zip(rows, cameras))])
    return {
        "source": f"folder:{write_people(root / 'source', 0)}",
        "target": f"folder:{target}",
        **{name: f"folder:{root / name}" for name in others},
        "one": f"folder:{write_people(root / 'one', 2, cameras=1)}",
    }


@pytest.fixture(scope="module")
def pair(data):
    return {name: data[name] for name in ("source", "target")}


@pytest.fixture(scope="module", params=[PLUS, KMEANS], ids=["neighbours", "kmeans"])
def plus(request):
    return request.param


@pytest.fixture(scope="module")
def run(pair, plus, tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "plus"
    assert main(flags(pair, folder, **plus)) == 0
    return folder


def test_steps_log_the_proxies_their_clusters_weights_and_gradients(run, plus):
    rows = [row for row in logged(run) if row["stage"] == "adapt" and "losses" in row]
    names = {"cross_entropy", "triplet", "proxy"} | (ADVERSARIAL.keys() if plus is KMEANS else set())
    assert set(rows[0]["losses"]) == names
    assert set(rows[0]["weights"]) == set(rows[0]["losses"]) and rows[-1]["weights"]["proxy"] == 1.0
    assert 1 <= rows[0]["cameras_per_cluster"] <= 2 and rows[0]["pairs_kept"] == 0 < rows[-1]["pairs_kept"] <= 1
    assert all(row["clusters"] == 4 and row["outliers"] == 0 for row in rows) or plus is PLUS
    for row in rows:
        assert 0 < row["unseen_pair_precision"] <= 1 and 0 < row["unseen_pair_recall"] <= 1
        assert row["clusters"] >= 2 and row["clusters"] * row["cluster_size_smallest"] + row["outliers"] <= 24
    page = (run / "report.html").read_text()
    assert "Clusters of the target" in page and ("In no cluster: " in page) == (rows[-1]["outliers"] > 0)
    with_norms = [row for row in rows if "gradient_norms" in row]
    assert [row["step"] for row in with_norms] == [6, 8]
    assert all(with_norms[-1]["gradient_norms"][name] > 0 for name in names - {"triplet"})


def test_the_proxies_of_a_batch_follow_the_teacher(run):
    memory = torch.load(run / "last.pt", weights_only=True)["memory"]
    rows = memory["labels"] * 2 + torch.tensor([0, 0, 1, 1] * 6)  # cameras, as `write_people` orders them
    sums = torch.zeros_like(memory["proxies"]).index_add_(0, rows[rows >= 0], memory["features"][rows >= 0])
    clustered = F.normalize(sums, dim=1)
    torch.testing.assert_close(clustered.norm(dim=1) > 0, memory["present"])
    # The last step clustered anew, then its 6 clips moved their proxies.
    assert 1 <= ((clustered - memory["proxies"]).norm(dim=1) > 1e-3).sum() <= 6


def test_the_teacher_follows_faster_than_that_of_the_paper(run):
    state = torch.load(run / "last.pt", weights_only=True)
    assert state["config"]["ema_decay"] is None and state["teacher"]["updater"]["decay"] == 0.95


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
    assert "of no use before others" in capsys.readouterr().out


@pytest.mark.parametrize("stop_after", [5, 7])
def test_resume_is_bit_for_bit(run, plus, pair, tmp_path, stop_after, interrupt_step):
    folder = tmp_path / "run"
    interrupt_step(stop_after)
    with pytest.raises(Stopped):
        train(knobs(pair, folder, **plus))
    assert main(["--resume", str(folder)]) == 0
    assert logged(folder) == logged(run)
    one, other = (torch.load(path / "last.pt", weights_only=True) for path in (folder, run))
    assert states_equal(one["student"], other["student"]) and states_equal(one["memory"], other["memory"])


def test_choosing_the_length_of_lists_changes_nothing_but_the_length(run, plus, pair, tmp_path):
    if plus is not PLUS:
        pytest.skip("k-means has no lists")
    listed = int(torch.load(run / "last.pt", weights_only=True)["memory"]["listed"])
    train(knobs(pair, tmp_path / "run", **plus, cluster_neighbours=listed))
    one, other = (torch.load(path / "last.pt", weights_only=True) for path in (run, tmp_path / "run"))
    assert listed >= 1 and states_equal(one["student"], other["student"])
    assert states_equal(one["memory"], other["memory"])


@pytest.mark.parametrize("target, word", [("blind", "not known"), ("one", "one only"), ("visits", "one only")])
def test_a_target_without_cameras_falls_back_and_says_so(data, tmp_path, capsys, target, word):
    pair = {"source": data["source"], "target": data[target]}
    result = train(knobs(pair, tmp_path / "run", **PLUS))
    printed = capsys.readouterr().out
    assert f"the target's cameras are {word}: batch-norm statistics are those of the whole" in printed
    assert ("cameras with fewer than 12 tracklets count as one" in printed) == (target == "visits")
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


def test_the_authors_selection_is_a_row_of_its_own(pair, tmp_path, interrupt_step):
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
    interrupt_step(chosen["step"])
    with pytest.raises(Stopped):
        train(knobs(pair, tmp_path / "stopped", select="authors", select_every=1))
    assert train(knobs(pair, tmp_path / "stopped", select="authors", select_every=1), resume=True) == {
        **result, "seconds": ANY, "clips_per_second": ANY
    }  # fmt: skip


def test_more_clusters_than_tracklets_are_cut_down_or_refused(pair, tmp_path, capsys):
    train(knobs(pair, tmp_path / "run", **{**KMEANS, "clusters": 99}))
    assert "the target has 24 tracklets, so there are 24 clusters" in capsys.readouterr().out
    with pytest.raises(InputError, match="--clusters 13: a batch has 12 features"):
        train(knobs(pair, tmp_path / "batch", cluster_over="batch", clusters=13))


def test_labels_change_what_is_told_of_clusters_and_nothing_that_is_learned(pair, tmp_path):
    """The target with its identities shuffled, and without any."""
    runs = {}
    for name in ("own", "shuffled", "none"):
        target = tmp_path / name
        shutil.copytree(pair["target"].removeprefix("folder:"), target)
        with open(target / "tracklets.csv") as file:
            head, *rows = csv.reader(file)
        identities = {
            "own": [row[1] for row in rows], "shuffled": [row[1] for row in rows[::-1]], "none": [""] * len(rows)
        }[name]  # fmt: skip
        if name == "shuffled":
            identities = identities[1:] + identities[:1]
        with open(target / "tracklets.csv", "w", newline="") as file:
            csv.writer(file).writerows([head, *([row[0], who, row[2]] for row, who in zip(rows, identities))])
        train(knobs({**pair, "target": f"folder:{target}"}, tmp_path / f"run-{name}", **PLUS))
        runs[name] = [row for row in logged(tmp_path / f"run-{name}") if "losses" in row]
    unseen = ("unseen_pair_precision", "unseen_pair_recall")
    assert [[row[name] for name in unseen] for row in runs["own"] if unseen[0] in row] != [
        [row[name] for name in unseen] for row in runs["shuffled"] if unseen[0] in row
    ]
    assert not any(name in row for row in runs["none"] for name in unseen)
    without = {
        name: [{key: value for key, value in row.items() if key not in unseen} for row in rows]
        for name, rows in runs.items()
    }
    assert without["own"] == without["shuffled"] == without["none"]


def test_a_checkpoint_that_is_older_than_cluster_by_was_made_with_kmeans(pair, tmp_path, capsys):
    folder = tmp_path / "run"
    train(knobs(pair, folder, **KMEANS))
    state = torch.load(folder / "last.pt", weights_only=True)
    del state["config"]["cluster_by"], state["memory"]["facts"]
    torch.save({**state, "finished": False}, folder / "last.pt")
    text = (folder / "config.yaml").read_text()
    (folder / "config.yaml").write_text(text.replace("cluster_by: kmeans\n", ""))
    assert main(["--resume", str(folder)]) == 2
    assert "--cluster_by auto (it has kmeans)" in capsys.readouterr().err
    assert main(["--resume", str(folder), "--cluster_by", "kmeans"]) == 0


def test_the_paper_has_kmeans_alone(pair, tmp_path):
    with pytest.raises(InputError, match="--cluster_by neighbours is for --method plus"):
        train(knobs(pair, tmp_path / "run", method="paper", cluster_by="neighbours"))
