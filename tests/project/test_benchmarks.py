"""Benchmarks: what is wrong is printed as failed and not timed, and the others go on."""

import os
import subprocess
import sys
from pathlib import Path

import failures
import pytest
import run_all
import timing
import torch


@pytest.fixture(autouse=True)
def nothing_failed_yet(monkeypatch):
    monkeypatch.setattr(failures, "_failed", [])


def compare(providers):
    return timing.compare("op", "case", providers, torch.ones(3), device="cpu", quick=True)


def broken():
    raise RuntimeError("no such\nkernel")


def test_a_wrong_or_broken_rival_fails_alone(capsys):
    ours = torch.ones(3)
    rows = compare({"ours": lambda: ours, "wrong": lambda: ours + 1, "broken": broken, "sound": lambda: 1 * ours})
    assert [row["provider"] for row in rows] == ["ours", "sound"]
    failed = [line for line in capsys.readouterr().out.splitlines() if "FAILED" in line]
    assert [line.split()[:3] for line in failed] == [["op", "case", "wrong"], ["op", "case", "broken"]]
    assert failed[1].endswith("FAILED: RuntimeError: no such kernel")
    assert failures.exit_status() == 1


def test_nothing_is_timed_beside_a_wrong_result_of_ours(capsys):
    assert compare({"ours": lambda: torch.zeros(3), "sound": lambda: torch.ones(3)}) == []
    printed = capsys.readouterr().out
    assert "FAILED" in printed and " ms " not in printed


def test_a_check_decides_too():
    def check(found):
        assert found.sum() > 2, "too small"

    providers = {"ours": lambda: torch.ones(3), "small": lambda: torch.zeros(3)}
    rows = timing.compare("op", "case", providers, None, device="cpu", quick=True, check=check)
    assert [row["provider"] for row in rows] == ["ours"]


def test_all_go_on_after_one_that_ends_early(monkeypatch, capsys):
    class Early:
        """Fails while it prepares."""

        __name__ = "early"

        @staticmethod
        def main(argv):
            broken()

    class Late(Early):
        """Does what it should."""

        __name__ = "late"

        @staticmethod
        def main(argv):
            print("late ran with", argv)

    monkeypatch.setattr(run_all, "BENCHMARKS", (Early(), Late()))
    assert run_all.main(["--quick"]) == 1
    assert "late ran with ['--quick']" in capsys.readouterr().out


def test_host_time_counts_the_launches_of_each_call():
    pytest.importorskip("triton")
    root = Path(__file__).resolve().parents[2]
    environment = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    environment |= {"PYTHONPATH": os.pathsep.join([str(root), str(root / "benchmarks")])}
    program = "import host_time; host_time.ROUNDS = host_time.CALLS = 1; host_time.main()"
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    launches = {line[:34].strip(): int(line.split()[-1]) for line in done.stdout.splitlines()[1:]}
    wanted = {"temporal_pool f+b": 2, "combined_regression clips f+b": 5, "batch_norm f+b": 6}
    wanted |= {"kmeans": 3, "kmeans_assign": 1}
    assert launches.items() >= wanted.items()
