"""Steps of one run by several processes, as torchrun starts them: milliseconds, and what they are spent on.

Each count of processes has the whole machine: a CPU's threads are divided among them, a GPU each has its own. The batch
stays the same, so the ratio says how much faster it becomes. Parts are of the first process: data = waits for the
loader, gather = outputs of the networks, sync = statistics of batch norm and the flag that stops a run, reduce =
gradients (with `rank`, running statistics too), compute = the rest. A part holds the wait for the slowest process.
Parts are measured in steps of their own, in which a GPU is waited for around each of them.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import torch
from bench_loader import pack, write_tracklets
from bench_step import DEMO, LARGE, LENGTH, TRACKLETS, label, real_step, timed_steps
from failures import attempt, exit_status
from timing import arguments, record

from vreid_fast import ranks

COUNTS, ROUNDS = (1, 2, 4, 8), 3
PARTS = {"gather": "gather", "add_up": "sync", "average": "reduce"}
"""What is measured, by the function of `ranks` that does it."""
CASES = {
    "cpu": {"paper small T4 64x32": {**DEMO, "method": "paper"}},
    "cuda": {"paper resnet50 T8 256x128": {**LARGE, "method": "paper", "frames": 8}},
}
SMALL = {"people": 2, "per_person": 2, "target_batch": 4}


def main(argv: list[str] | None = None) -> int:
    options = arguments(argv, __doc__)
    room = torch.cuda.device_count() if options.device == "cuda" else torch.get_num_threads()
    counts = [count for count in COUNTS if count <= room]
    folder = Path(tempfile.mkdtemp(prefix="bench_ranks"))
    try:
        write_tracklets(folder / "files", 16 if options.quick else TRACKLETS, LENGTH)
        label(folder / "files")
        pack(folder, "pack")
        for case, knobs in CASES[options.device].items():
            with attempt("ranks", case, "vreid_fast"):
                bench(options, case, folder, {**knobs, **(SMALL if options.quick else {})}, counts)
    finally:
        shutil.rmtree(folder)
    return exit_status()


def bench(options, case: str, folder: Path, knobs: dict, counts: list[int]) -> None:
    warm, timed = (1, 2) if options.quick else (5, 20)
    times: dict[str, list[float]] = {}
    for _ in range(1 if options.quick else ROUNDS):
        for count in counts:
            for norm in ("sync", "rank") if count > 1 else ("sync",):
                name = f"{count} processes, {norm}" if count > 1 else "1 process"
                found = together(count, folder, {**knobs, "batch_norm": norm}, options.device, warm, timed)
                times.setdefault(name, []).append(found.pop("step"))
                for part, milliseconds in found.pop("parts").items():
                    times.setdefault(f"{name}: {part}", []).append(milliseconds)
    record(
        "ranks", f"{case} {found['precision']}", times, dict.fromkeys(times, ""), device=options.device,
        quick=options.quick,
    )  # fmt: skip
    speeds = (f"{name} {1e3 * found['clips'] / min(taken):,.0f}" for name, taken in times.items() if ":" not in name)
    print(f"{'':20} clips/s at best: {', '.join(speeds)}")


def together(count: int, folder: Path, knobs: dict, device: str, warm: int, timed: int) -> dict:
    """What the first of so many processes measures."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    words = json.dumps([str(folder), knobs, device, warm, timed])
    place = {"WORLD_SIZE": count, "LOCAL_WORLD_SIZE": count, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    processes = []
    for rank in range(count):
        own = {**place, "RANK": rank, "LOCAL_RANK": rank, "OMP_NUM_THREADS": max(1, torch.get_num_threads() // count)}
        processes.append(
            subprocess.Popen(
                [sys.executable, __file__, "one", words], stdout=subprocess.PIPE, text=True,
                env={**os.environ, **{name: str(value) for name, value in own.items()}},
            )
        )  # fmt: skip
    try:
        outputs = [process.communicate()[0] for process in processes]
    finally:
        for process in processes:
            process.kill()
    assert not any(process.returncode for process in processes), "a process failed, see above"
    return json.loads(outputs[0].splitlines()[-1])


def one(folder: str, knobs: dict, device: str, warm: int, timed: int) -> None:
    """A process: its steps, then the same again part by part; the first prints milliseconds a step."""
    torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
    with ranks.joined():
        made, fresh, precision = real_step(Path(folder), knobs, device, steps=warm + 2 * timed)
        step = made.source if made.session.learner.adaptation is None else made.adapt
        with closing(fresh()) as batches:
            for _ in range(warm):
                both = next(batches)
                step(*both)
            clips = sum(ranks.whole(len(batch.clips)) for batch in both)
            whole = timed_steps(lambda both: step(*both), batches, timed, device)
            parts = Parts(device)
            began = time.perf_counter()
            for _ in range(timed):
                both = parts.measured("data", next)(batches)
                step(*both)
            parts.wait()
            parts.seconds["compute"] = time.perf_counter() - began - sum(parts.seconds.values())
        milliseconds = {name: 1e3 * seconds / timed for name, seconds in parts.seconds.items()}
        print(json.dumps({"step": whole, "parts": milliseconds, "clips": clips, "precision": precision}))


class Parts:
    """Seconds in the functions of `ranks`, from now on; what one calls of the others is part of it."""

    def __init__(self, device: str):
        self.device, self.inside = device, False
        functions = PARTS if ranks.several() else {}
        self.seconds = dict.fromkeys(("data", *functions.values()), 0.0)
        for function, part in functions.items():
            setattr(ranks, function, self.measured(part, getattr(ranks, function)))

    def measured(self, part: str, function: Callable) -> Callable:
        def call(*arguments):
            if self.inside:
                return function(*arguments)
            self.wait()
            self.inside, began = True, time.perf_counter()
            try:
                return function(*arguments)
            finally:
                self.wait()
                self.inside = False
                self.seconds[part] += time.perf_counter() - began

        return call

    def wait(self) -> None:
        if self.device == "cuda":
            torch.cuda.synchronize()


if __name__ == "__main__":
    sys.exit(one(*json.loads(sys.argv[2])) if sys.argv[1:2] == ["one"] else main(sys.argv[1:]))
