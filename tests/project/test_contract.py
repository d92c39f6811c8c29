"""What other people's code and files rest on: imports, commands, and runs of an earlier commit."""

import json
import os
import shutil
import subprocess
import sys

import pytest
import torch
import yaml
from small_runs import flags, logged

from vreid_fast.config import Config
from vreid_fast.evaluate import main as evaluate
from vreid_fast.train import main as train

IMPORTS = """
from vreid_fast.train import main
from vreid_fast.evaluate import main
from vreid_fast.kernels import gradient_reversal, EmaUpdater, temporal_pool, combined_regression, gather_clips
from vreid_fast.kernels import kmeans, kmeans_assign, batch_norm, batch_statistics, FusedBatchNorm
from vreid_fast.data import read_dataset
from vreid_fast.metrics import rank_metrics
from vreid_fast.models import build, convert
from vreid_fast.config import Config, parse_command, presets, underscored
assert set(presets()) >= {"demo", "paper", "paper_cc", "authors_release", "comparison", "ap3d", "tclnet", "psta"}
"""
# Keys of a checkpoint of format 2, as the commit before the knobs had groups wrote them.
STATE = {
    "format", "config", "network", "frames", "identities", "scores", "before", "finished", "random", "random_cuda",
    "scaler", "step", "student", "optimiser", "statistics", "heads", "weights", "teacher", "memory",
}  # fmt: skip
MEMORY = {
    "paper": {"features", "written", "labels", "camera_mean", "camera_scale", "centroids", "means"},
    "plus": {"features", "labels", "proxies", "present"},  # what it has more, a checkpoint may lack
}


def test_names_that_others_import():
    subprocess.run([sys.executable, "-c", IMPORTS], check=True)


@pytest.mark.parametrize("module", ["train", "evaluate", "data", "ladder"])
@pytest.mark.parametrize("optimise", ["0", "2"])  # 2: Python has no docstrings and no assertions
def test_commands_show_their_help(module, optimise):
    command = [sys.executable, "-m", f"vreid_fast.{module}", "--help"]
    environment = {**os.environ, "PYTHONOPTIMIZE": optimise}
    ran = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert ran.returncode == 0 and "usage:" in ran.stdout and ran.stderr == ""


@pytest.fixture(scope="module", params=["paper", "plus"])
def old_run(request, data, tmp_path_factory):
    """A run stopped after its second-last step, its files written again as the earlier commit wrote them."""
    run = tmp_path_factory.mktemp("old") / "run"
    assert train(flags(data, run, method=request.param)) == 0
    state = torch.load(run / "last.pt", weights_only=True)
    assert (
        state.keys() == STATE | {"data", "clothes", "neighbours", "source_norms"}
        and state["memory"].keys() >= MEMORY[request.param]
    )
    state["memory"] = {name: state["memory"][name] for name in MEMORY[request.param]}
    assert state["format"] == 2 and type(state["config"]["combined_sizes"]) is tuple
    assert list(state["config"]) == list(Config().knobs())
    flat = yaml.safe_load((run / "config.yaml").read_text())
    assert list(flat) == list(Config().knobs()) and flat["combined_sizes"] == [2, 4, 8]
    # Plain dicts of plain values, with nothing of this package in them.
    sequences = {name: value for name, value in state["config"].items() if type(value) is tuple}
    state["config"] = {name: flat[name] for name in flat} | sequences
    for newer in ("data", "clothes", "neighbours", "source_norms"):
        del state[newer]
    torch.save(state, run / "last.pt")
    (run / "config.yaml").write_text(yaml.safe_dump(flat, sort_keys=False))
    return run


def test_an_old_run_is_resumed_and_told_that_its_data_are_not_known(old_run, tmp_path, capsys):
    run = tmp_path / "run"
    shutil.copytree(old_run, run)
    state = torch.load(run / "last.pt", weights_only=True)
    torch.save({**state, "finished": False}, run / "last.pt")
    (run / "result.json").unlink()
    assert train(["--resume", str(run)]) == 0
    assert "last.pt does not know its data, as it is of an earlier version" in capsys.readouterr().out
    one, other = (json.loads((folder / "result.json").read_text()) for folder in (old_run, run))
    assert {name: one[name] for name in ("student", "teacher")} == {
        name: other[name] for name in ("student", "teacher")
    }


def test_an_old_checkpoint_is_started_from_and_its_knobs_are_taken(old_run, tmp_path):
    run = tmp_path / "run"
    words = ["--config", f"{old_run}/config.yaml", "--start", f"{old_run}/last.pt", "--run", str(run)]
    assert train(words) == 0
    rows = [row for row in logged(run) if "losses" in row]
    assert [row["step"] for row in rows] == [5, 6, 7, 8]
    first = torch.load(old_run / "last.pt", weights_only=True)["config"]
    assert torch.load(run / "last.pt", weights_only=True)["config"] == {
        **first, "start": f"{old_run}/last.pt", "run": str(run)
    }  # fmt: skip


@pytest.mark.parametrize("network", ["student", "teacher"])
def test_an_old_checkpoint_is_evaluated(old_run, data, tmp_path, network):
    out = tmp_path / "scores.json"
    words = ["--checkpoint", f"{old_run}/last.pt", "--data", data["target"], "--network", network, "--json", str(out)]
    assert evaluate([*words, "--device", "cpu"]) == 0
    result = json.loads((old_run / "result.json").read_text())
    assert json.loads(out.read_text())[network]["map"] == pytest.approx(result[network]["map"], abs=1e-6)
