"""The arithmetic of ema.cu without a GPU: what its threads do is compiled for the host, see ema_on_host.cpp."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
COMPILER = os.environ.get("CXX") or shutil.which("c++")


@pytest.mark.skipif(COMPILER is None, reason="no C++ compiler")
@pytest.mark.timeout(300)
def test_every_element_is_averaged_once(tmp_path):
    source, program = ROOT / "tests" / "support" / "ema_on_host.cpp", tmp_path / "ema"
    # Without contraction, which the expected numbers would get elsewhere than those of the header.
    options = ["-std=c++17", "-O1", "-ffp-contract=off", f"-I{ROOT / 'csrc'}"]
    subprocess.run([COMPILER, *options, source, "-o", program], check=True, capture_output=True)
    done = subprocess.run([program], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
