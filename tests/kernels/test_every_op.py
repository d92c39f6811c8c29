"""tests/support/every_op.py, as it is and under compute-sanitizer."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def ran(command: list, **environment: str) -> str:
    environment = os.environ | {"PYTHONPATH": str(ROOT)} | environment
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=290)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return done.stdout


def test_every_op_runs():
    assert "every op ran" in ran(
        [sys.executable, ROOT / "tests" / "support" / "every_op.py", "cpu"], TRITON_INTERPRET="1"
    )


@pytest.mark.gpu
@pytest.mark.parametrize("tool", ("memcheck", "racecheck"))
def test_compute_sanitizer_finds_nothing(tool):
    sanitizer = shutil.which("compute-sanitizer") or shutil.which("/usr/local/cuda/bin/compute-sanitizer")
    if sanitizer is None:
        pytest.skip("compute-sanitizer is not installed")
    # The caching allocator would hide what lies outside a tensor.
    program = [sys.executable, ROOT / "tests/support/every_op.py", "cuda"]
    command = [sanitizer, "--tool", tool, "--error-exitcode", "9", *program]
    assert "every op ran" in ran(command, PYTORCH_NO_CUDA_MEMORY_CACHING="1", TRITON_INTERPRET="0")
