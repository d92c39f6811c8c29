"""Whether two commits train to the same numbers, bit for bit: `python tests/support/compare_commits.py OLD NEW`.

Each commit is checked out and built in a folder of its own below `--work`, and trains the same short runs there, on
one CPU thread in fp32. Rows of metrics.jsonl, scores, config.yaml and every tensor of last.pt must be equal. Runs that
a folder already holds are not repeated; a commit is compared with itself in two folders.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path

import torch
import yaml

SHORT = "--threads 1 --device cpu --precision fp32 --source_steps 30 --adapt_steps 20 --seed 3 --log_every 1"
CASES = {
    **{method: f"--method {method}" for method in ("source", "bn_adapt", "paper", "plus")},
    "authors_release": "--config authors_release --network small --info_nce 0 --height 64 --width 32",
}
CLOCK = ("seconds", "clips_per_second")


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("commits", nargs=2, metavar="COMMIT")
    parser.add_argument("--work", type=Path, default=Path("/tmp/compare_commits"), help="folder of checkouts and runs")
    arguments = parser.parse_args(argv)
    old, new = (git("rev-parse", "--short", commit) for commit in arguments.commits)
    folders = [arguments.work / old, arguments.work / (new if new != old else f"{new}-again")]
    for commit, folder in zip((old, new), folders):
        checkout(commit, folder / "tree")
        for case, words in CASES.items():
            train(folder / "tree", folder / case, words)
    different = [f"{case}: {line}" for case in CASES for line in differences(*(folder / case for folder in folders))]
    print("\n".join(different) or f"{old} and {new} agree bit for bit in {', '.join(CASES)}")
    return bool(different)


def git(*words: str) -> str:
    return subprocess.run(["git", *words], check=True, capture_output=True, text=True).stdout.strip()


def checkout(commit: str, tree: Path) -> None:
    """The files of a commit, built in place."""
    if tree.exists():
        return
    tree.mkdir(parents=True)
    archive = subprocess.run(["git", "archive", commit], check=True, capture_output=True).stdout
    subprocess.run(["tar", "-x", "-C", tree], input=archive, check=True)
    subprocess.run([sys.executable, "setup.py", "--quiet", "build_ext", "--inplace"], cwd=tree, check=True)


def train(tree: Path, run: Path, words: str) -> None:
    if (run / "result.json").exists():
        return
    print(f"{run}: {words}", flush=True)
    environment = {**os.environ, "TQDM_DISABLE": "1", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "vreid_fast.train", *f"{words} {SHORT}".split(), "--run", run]
    subprocess.run(command, cwd=tree, check=True, stdout=subprocess.DEVNULL, env=environment)


def differences(one: Path, other: Path) -> list[str]:
    """What two runs do not share, but for times and their folders."""
    rows = [(run / "metrics.jsonl").read_text().splitlines() for run in (one, other)]
    if len(rows[0]) != len(rows[1]):
        return [f"metrics.jsonl has {len(rows[0])} rows, then {len(rows[1])}"]
    found = []
    for number, (first, second) in enumerate(zip(*rows), 1):
        found += unequal(timeless(json.loads(first)), timeless(json.loads(second)), f"metrics.jsonl row {number}")
    results = [timeless(json.loads((run / "result.json").read_text())) for run in (one, other)]
    knobs = [yaml.safe_load((run / "config.yaml").read_text()) for run in (one, other)]
    states = [torch.load(run / "last.pt", weights_only=True) for run in (one, other)]
    for values in (knobs[0], knobs[1], states[0]["config"], states[1]["config"]):
        values.pop("run")
    if list(knobs[0]) != list(knobs[1]) or list(states[0]["config"]) != list(states[1]["config"]):
        found.append("the knobs are in another order")
    return found + unequal(*results, "result.json") + unequal(*knobs, "config.yaml") + unequal(*states, "last.pt")


def timeless(row: dict) -> dict:
    return {name: value for name, value in row.items() if name not in CLOCK}


def unequal(one: object, other: object, where: str) -> list[str]:
    """The places at which two nests of dicts, lists, tensors and numbers differ."""
    if type(one) is not type(other):
        return [f"{where}: {type(one).__name__}, then {type(other).__name__}"]
    if isinstance(one, torch.Tensor):
        same = one.dtype == other.dtype and torch.equal(one, other)
        return [] if same else [f"{where}: tensors differ"]
    if isinstance(one, dict):
        if one.keys() != other.keys():
            return [f"{where}: keys {sorted(map(str, one.keys() ^ other.keys()))} are in one only"]
        return [line for key in one for line in unequal(one[key], other[key], f"{where} {key}")]
    if isinstance(one, list | tuple) and len(one) == len(other):
        return [line for number, pair in enumerate(zip(one, other)) for line in unequal(*pair, f"{where} {number}")]
    return [] if one == other else [f"{where}: {one!r}, then {other!r}"]


if __name__ == "__main__":
    sys.exit(main())
