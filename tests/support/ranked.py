"""Runs of several processes on one machine, started as torchrun starts them."""

import json
import os
import socket
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import torch

SCRIPT = Path(__file__).with_name("train_float64.py")


@dataclass
class Ended:
    """What a process left."""

    code: int
    out: str
    err: str


def start(size, words, script=SCRIPT, words_of=None, **environment):
    """The processes of `python SCRIPT WORDS`, by rank; more words and variables of one rank are in `words_of`."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    several = {"WORLD_SIZE": size, "LOCAL_WORLD_SIZE": size, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    processes = []
    for rank in range(size):
        ranked = {**several, "RANK": rank, "LOCAL_RANK": rank} if size > 1 else {}
        own = {**os.environ, "OMP_NUM_THREADS": "1", "TQDM_DISABLE": "1"}
        own["PYTHONPATH"] = os.pathsep.join([str(SCRIPT.parents[1]), os.environ.get("PYTHONPATH", "")])
        own |= {name: str(value) for name, value in {**ranked, **environment}.items()}
        command = [sys.executable, str(script), *map(str, words), *(words_of or {}).get(rank, ())]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        processes.append(subprocess.Popen(command, env=own, text=True, **pipes))
    return processes


def ended(processes, within=500):
    """What they left, by rank; none is left running."""
    found = []
    try:
        for process in processes:
            out, err = process.communicate(timeout=within)
            found.append(Ended(process.returncode, out, err))
    finally:
        for process in processes:
            process.kill()
    return found


def run(size, words, **options):
    return ended(start(size, words, **options))


def numbers(tree, at=""):
    """Every number and tensor in a nest of dicts, lists and tuples, as float64 tensors by name."""
    if isinstance(tree, torch.Tensor):
        yield at, tree.double().flatten()
    elif isinstance(tree, dict):
        for name, one in tree.items():
            yield from numbers(one, f"{at}.{name}")
    elif isinstance(tree, list | tuple):
        for place, one in enumerate(tree):
            yield from numbers(one, f"{at}.{place}")
    elif isinstance(tree, int | float):
        yield at, torch.tensor([tree], dtype=torch.float64)


def furthest(one, other):
    """The largest relative distance between the numbers of two nests that have the same names, and where it is."""
    pairs = zip(numbers(one), numbers(other), strict=True)
    found = [(0.0, "")]
    for (name, mine), (same, theirs) in pairs:
        assert name == same and mine.shape == theirs.shape, (name, same)
        # What is as good as zero, as a bias before a batch norm and its gradient, is measured against one in a million.
        distance = float((mine - theirs).norm() / theirs.norm().clamp_min(1e-6))
        found.append((distance, name))
    return max(found)


def log(folder):
    """Rows of metrics.jsonl without what a clock decides."""
    rows = map(json.loads, (folder / "metrics.jsonl").read_text().splitlines())
    return [{name: value for name, value in row.items() if name not in ("seconds", "clips_per_second")} for row in rows]


def state(folder):
    """Of last.pt what was computed."""
    content = torch.load(folder / "last.pt", weights_only=True)
    return {name: value for name, value in content.items() if name not in ("config", "data", "random")}
