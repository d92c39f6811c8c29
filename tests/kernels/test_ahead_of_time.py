"""Every Triton kernel, compiled without a GPU for sm_80, sm_90, sm_100 and sm_120: no local memory, shared memory fits.

Each op is compiled by ahead_of_time.py in a process of its own, since here the kernels may be interpreted.
"""

import json
import os
import re
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
# Shared memory that one block may take, in bytes; of 8.0 as of 8.6 and 8.9, which run the same code.
SHARED_MEMORY = {80: 99 * 1024, 90: 227 * 1024, 100: 227 * 1024, 120: 99 * 1024}
# The files that hold an op's kernels, and those that its launcher borrows from.
FILES = {
    "gather_clips": ("gather_clips",),
    "temporal_pool": ("temporal_pool",),
    "batch_norm": ("batch_norm", "batch_norm_backward"),
    "combined_regression": ("combined_regression", "combined_regression_head"),
    "kmeans_gram": ("kmeans_gram",),
    "kmeans_samples": ("kmeans_samples", "kmeans_seed", "kmeans_columns", "kmeans_distances", "kmeans_means"),
    "kmeans_assign": ("kmeans_assign", "kmeans_assign_few"),
}


def kernels_in(file: Path) -> set[str]:
    return set(re.findall(r"^def (\w+_kernel)\(", file.read_text(), flags=re.MULTILINE))


@pytest.mark.timeout(900)  # it compiles for a minute, and for several beside other work
@pytest.mark.parametrize("op", FILES)
def test_no_local_memory_and_shared_memory_fits(op, tmp_path):
    pytest.importorskip("triton")
    environment = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    environment |= {"PYTHONPATH": str(ROOT), "TRITON_CACHE_DIR": str(tmp_path)}
    command = [sys.executable, ROOT / "tests" / "support" / "ahead_of_time.py", op]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    rows = json.loads(done.stdout)
    assert {row["architecture"] for row in rows} == set(SHARED_MEMORY)
    assert {row["kernel"] for row in rows} >= set.union(
        *(kernels_in(ROOT / "kernels" / f"{file}_triton.py") for file in FILES[op])
    )
    # k-means of 512 samples takes all registers that there are. Triton 3.6's compiler wants two more.
    spare = 8 if op == "kmeans_gram" and version("triton").startswith("3.6") else 0
    bad = [
        row
        for row in rows
        if row["STACK"] > spare or row["LOCAL"] or row["shared"] > SHARED_MEMORY[row["architecture"]]
    ]
    assert not bad, "\n".join(map(str, bad))
    if op == "gather_clips":  # where threads read what others write, it passes through shared memory
        assert not any(row["shared"] for row in rows)


def test_every_kernel_belongs_to_an_op():
    with_kernels = {file.stem for file in (ROOT / "kernels").glob("*.py") if kernels_in(file)}
    assert with_kernels == {f"{file}_triton" for files in FILES.values() for file in files}
