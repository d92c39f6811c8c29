"""Benchmarks: what is wrong is printed as failed and not timed, and the others go on."""

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
