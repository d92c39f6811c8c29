"""What a step would launch on a GPU, counted without one."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from step_cost import moved, size

ROOT = Path(__file__).resolve().parents[2]


def test_bytes_of_operators():
    maps, wide = torch.zeros(2, 3, 4, 5, dtype=torch.bfloat16), torch.zeros(6)
    assert size(maps) == 240 and size(torch.zeros(3, 1).expand(3, 9)) == 12
    assert moved("add", (maps, maps), maps) == 3 * 240
    assert moved("zeros_like", (maps,), maps) == 240 and moved("index", (wide, wide), maps) == 2 * 240
    assert moved("batch_norm", (maps, wide), (maps, wide)) == 3 * 240
    assert moved("batch_norm", (maps, wide, None, maps), (maps, wide)) == 4 * 240
    assert moved("batch_norm_backward", (maps, None, maps, None, wide), (maps, wide, wide, wide)) == 5 * 240
    assert moved("batch_norm_backward", (maps, None, maps, maps, wide), (maps, wide, wide, maps)) == 7 * 240
    assert moved("batch_norm_backward", (maps, maps, maps, maps, wide), (maps, wide, wide, maps)) == 8 * 240


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_step_launches_no_more_than_it_did():
    pytest.importorskip("triton")
    environment = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    case = "paper small T4 64x32 cache gpu"
    command = [sys.executable, ROOT / "benchmarks" / "step_cost.py", "--json", "--case", case]
    done = subprocess.run(command, env=environment | {"PYTHONPATH": str(ROOT)}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    found = json.loads(done.stdout.splitlines()[-1])[case]
    launches = {}
    for name, count, *_ in found:
        launches[name] = launches.get(name, 0) + count
    assert sum(launches.values()) <= 710
    # Student on source and target, and the teacher: 13 layers each.
    assert launches["batch_norm"] == 3 * 3 * 13 and launches["batch_norm_backward"] == 3 * 2 * 13
    assert {"combined_regression", "temporal_pool", "ema_update_", "_fused_adam_", "_foreach_norm"} <= launches.keys()
