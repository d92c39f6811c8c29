"""The cost model: what guards the speed of the kernels where there is no GPU."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from cost_sass import read_sass

ROOT = Path(__file__).resolve().parents[2]
SASS = """
.text.kernel:
        /*0000*/                   MOV R1, c[0x0][0x28] ;
.L_x_0:
        /*0010*/                   LDG.E.64 R2, [R4.64] ;
        /*0020*/              @!P1 BRA `(.L_x_0) ;
.L_x_2:
        /*0030*/                   LDGSTS.E.BYPASS.128 [R3], [R4.64] ;
        /*0040*/               @P0 LDG.E.U16 R2, [R4.64] ;
.L_x_1:
        /*0050*/                   FADD R3, R3, R2 ;
        /*0060*/               @P2 BRA `(.L_x_1) ;
        /*0070*/                   STG.E [R4.64], R3 ;
        /*0080*/              @!P0 BRA `(.L_x_2) ;
        /*0090*/                   HGMMA.64x128x16.F32.BF16 R24, gdesc[UR8], R24 ;
.L_x_3:
        /*00a0*/                   BRA `(.L_x_3);
        /*00b0*/                   NOP;
"""


def test_sass_is_read():
    found = read_sass(SASS)
    assert found.kinds["HGMMA"] == 1 and found.kinds["LDG"] == 2 and found.kinds["BRA"] == 4
    # Of the innermost loops the one that moves something: a load of 8 bytes a thread and its branch.
    assert (found.loop_instructions, found.loop_bytes, found.loop_loads) == (2, 256, 256)
    straight = read_sass("\n".join(line for line in SASS.splitlines() if "BRA" not in line))
    assert straight.loop_bytes == 32 * (8 + 16 + 2 + 4) and straight.loop_loads == 32 * (8 + 16 + 2)


@pytest.fixture(scope="module")
def costs(tmp_path_factory):
    pytest.importorskip("triton")
    environment = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    environment |= {"PYTHONPATH": str(ROOT), "TRITON_CACHE_DIR": str(tmp_path_factory.mktemp("triton"))}
    command = [sys.executable, ROOT / "benchmarks" / "cost.py", "--json"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_no_kernel_spills_at_the_sizes_of_the_benchmarks_or_in_rows_that_are_not_aligned(costs):
    kernels = [kernel for case in costs["cases"] for kernel in case["kernels"]]
    kernels += [kernel for odd in costs["odd"].values() for kernel in odd]
    assert len({kernel["name"] for kernel in kernels}) >= 15
    assert [kernel["line"] for kernel in kernels if kernel["spills"]] == []


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_products_run_on_tensor_cores(costs):
    found = {}
    for case in costs["cases"]:
        for kernel in case["kernels"]:
            found.setdefault(kernel["name"], []).append(kernel["kinds"])
    assert all(kinds.get("HGMMA") for kinds in found["kmeans_assign_kernel"])
    # Their tiles are of 16 or 32 rows, so that few samples make programs for the whole card; HGMMA takes 64.
    for kernel in ("combined_regression_hidden_kernel", "kmeans_assign_few_kernel"):
        assert all(kinds.get("HMMA") for kinds in found[kernel])


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_what_memory_bounds_moves_next_to_nothing_twice(costs):
    bound = {
        case["case"]: case for case in costs["cases"] if case["op"] in ("temporal_pool", "gather_clips", "batch_norm")
    }
    assert len(bound) == 11
    for name, case in bound.items():
        assert 0.99 < case["bytes"] < 1.15, (name, case["bytes"])
        assert case["floor_ms"] < case["predicted_ms"] < 1.5 * case["floor_ms"], name
