import importlib
import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from vreid_fast.kernels import backends

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def machine(monkeypatch):
    """Pretends what is installed: machine(extension=None|"cpu"|"cuda", triton=bool, interpreted=bool)."""

    def pretend(extension=None, triton=False, interpreted=False):
        module = SimpleNamespace(has_cuda=lambda: extension == "cuda") if extension else None
        monkeypatch.setattr(backends, "load_extension", lambda: module)
        monkeypatch.setattr(backends, "has_triton", lambda: triton)
        monkeypatch.setenv("TRITON_INTERPRET", "1" if interpreted else "0")
        backends._choose.cache_clear()

    yield pretend
    backends._choose.cache_clear()


def test_extension_is_built_for_the_torch_that_runs():
    extension = backends.load_extension()
    assert extension is not None, "build it: pip install --no-build-isolation -e ."
    facts = extension.build_facts()
    assert facts["torch"] == torch.__version__
    assert extension.has_cuda() == bool(facts["cuda"]) == bool(facts["architectures"])


@pytest.mark.parametrize(
    ("installed", "device", "op", "taken"),
    [
        ({}, "cpu", "ema", "foreach"),
        ({}, "cuda", "kmeans", "reference"),
        ({"extension": "cpu"}, "cpu", "ema", "cpp"),
        ({"extension": "cpu"}, "cuda", "ema", "foreach"),
        ({"extension": "cuda"}, "cuda", "ema", "cpp"),
        ({"extension": "cuda"}, "mps", "ema", "foreach"),
        ({"extension": "cuda", "triton": True}, "cuda", "kmeans", "triton"),
        ({"extension": "cuda", "triton": True}, "cpu", "kmeans", "cpp"),
        ({"extension": "cuda"}, "cuda", "kmeans", "reference"),
        ({"extension": "cpu"}, "cpu", "kmeans_assign", "cpp"),
        ({"extension": "cuda"}, "cuda", "kmeans_assign", "reference"),
        ({"triton": True, "interpreted": True}, "cpu", "kmeans", "reference"),
        ({"triton": True, "interpreted": True}, "cuda", "kmeans", "triton"),
    ],
)
def test_best_backend_present_is_taken(installed, device, op, taken, machine):
    machine(**installed)
    assert backends.choose(op, None, device) == taken


@pytest.mark.parametrize(
    ("installed", "device", "op", "asked", "reason"),
    [
        ({}, "cpu", "ema", "cpp", "extension is not built"),
        ({"extension": "cpu"}, "cuda", "ema", "cpp", "built without CUDA"),
        ({"extension": "cuda"}, "mps", "ema", "cpp", "no C.. kernel for mps tensors"),
        ({}, "cuda", "kmeans", "cpp", "extension is not built"),
        ({"extension": "cuda"}, "cuda", "kmeans", "cpp", "C.. of this op is for CPU tensors alone"),
        ({"extension": "cpu"}, "cuda", "kmeans_assign", "cpp", "C.. of this op is for CPU tensors alone"),
        ({"extension": "cuda"}, "mps", "kmeans", "cpp", "no C.. kernel for mps tensors"),
        ({}, "cuda", "kmeans", "triton", "triton is not installed"),
        ({"triton": True}, "cpu", "kmeans", "triton", "only when interpreted"),
    ],
)
def test_missing_backend_that_was_asked_for_is_an_error(installed, device, op, asked, reason, machine):
    machine(**installed)
    with pytest.raises(RuntimeError, match=f"{op}: backend '{asked}' is missing here: .*{reason}"):
        backends.choose(op, asked, device)


def test_asked_for_backends_are_given(machine):
    machine(extension="cuda", triton=True, interpreted=True)
    for op, known in backends.OPS.items():
        for device in ("cpu", "cuda"):
            given = [b for b in known if not (b == "cpp" and device == "cuda" and op in backends.CPP_ON_CPU_ALONE)]
            assert [backends.choose(op, backend, device) for backend in given] == given


def test_unknown_backend_is_an_error():
    with pytest.raises(ValueError, match="ema: backend must be one of cpp, foreach, reference or None, got 'triton'"):
        backends.choose("ema", "triton", "cpu")
    with pytest.raises(ValueError, match="backend must be one of reference, foreach, cpp, triton, got 'cuda'"):
        backends.why_missing("cuda")


def test_every_op_has_a_reference_and_a_public_name():
    import vreid_fast.kernels as kernels

    for op, known in backends.OPS.items():
        assert known[-1] == "reference"
        assert hasattr(kernels, {"ema": "EmaUpdater"}.get(op, op))


@pytest.mark.parametrize("cwd", [ROOT, "/"], ids=["root", "elsewhere"])
def test_command_prints_ops_by_backends_and_why_one_is_missing(cwd):
    command = [sys.executable, "-m", "vreid_fast.kernels"]
    ran = subprocess.run(command, capture_output=True, text=True, cwd=cwd, check=True)
    assert ran.stderr == ""
    header, cpu, cuda = ran.stdout.split("\n\n")
    assert f"torch {torch.__version__}" in header
    for table, device in ((cpu, "cpu"), (cuda, "cuda")):
        rows = {line.split()[0]: line.split()[1:] for line in table.splitlines()}
        assert rows[device] == ["tensors", "cpp", "triton", "foreach", "reference"]
        for op, known in backends.OPS.items():
            cells = dict(zip(("cpp", "triton", "foreach", "reference"), rows[op]))
            assert cells.pop(backends.choose(op, None, device)) == "taken"
            for backend, cell in cells.items():
                missing = backends.why_missing(backend, device, op)
                assert cell == ("-" if backend not in known else "missing" if missing else "yes")
        for backend in ("cpp", "triton"):
            reason = backends.why_missing(backend, device)
            assert (f"{backend} is missing: {reason}" in table) == (reason is not None)


def test_command_says_for_which_ops_alone_a_backend_is_missing(machine):
    machine(extension="cuda", triton=True)
    lines = importlib.import_module("vreid_fast.kernels.__main__")._table("cuda")
    found = next(line.split() for line in lines if line.startswith("kmeans "))
    assert found == ["kmeans", "missing", "taken", "-", "yes"]
    reason = "the C++ of this op is for CPU tensors alone"
    assert lines[-3:] == [f"  cpp is missing for {op}: {reason}" for op in ("gather_clips", "kmeans", "kmeans_assign")]


@pytest.mark.parametrize(
    ("installed", "device", "said"),
    [
        ({"extension": "cpu"}, "cpu", []),
        ({"extension": "cuda", "triton": True}, "cuda", []),
        (
            {"extension": "cpu", "triton": True},
            "cuda",
            ["gradient_reversal .reference., ema .foreach.; .*without CUDA .*nvcc"],
        ),
        ({"extension": "cuda"}, "cuda", ["gather_clips .reference., temporal_pool .*; triton is not installed .pip"]),
        (
            {},
            "cpu",
            ["gradient_reversal .*, ema .foreach., gather_clips .*; the C.. extension is not built .pip"],
        ),
    ],
)
def test_what_is_slower_than_it_could_be_is_said(installed, device, said, machine):
    machine(**installed)
    found = backends.slower_here(device)
    assert len(found) == len(said)
    for line, words in zip(found, said):
        assert re.match(f"slower than they could be here: {words}", line)
