"""A training step of each method, as `python -m vreid_fast.train` makes it: milliseconds, and what loading adds.

The provider "the same batch again" has a ratio of 1 where loading costs nothing; on a GPU "the same, --graph off" tells
what the CUDA graph is worth, and "the same, torch's batch norm" what the op batch_norm is. Source and target are one
pack of drifting shapes, half of them a camera; a batch is 32 + 32 clips (the demo: 16 + 16). Steps that make clusters
anew are left out.
"""

from __future__ import annotations

import contextlib
import csv
import io
import itertools
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import torch
from bench_loader import memory_mib, pack, write_tracklets
from failures import attempt, exit_status
from timing import arguments, record

from vreid_fast.config import Config
from vreid_fast.data.reading.loader import Batch
from vreid_fast.device import Precision, choose_device
from vreid_fast.kernels import FusedBatchNorm
from vreid_fast.training import build
from vreid_fast.training.graph import make_graph
from vreid_fast.training.learner import Learner

TRACKLETS, LENGTH, ROUNDS = 64, 16, 5
WITHOUT, PLAIN = "the same, --graph off", "the same, torch's batch norm"
DEMO = {"height": 64, "width": 32}
LARGE = {"height": 256, "width": 128, "network": "resnet50", "people": 8, "per_person": 4, "target_batch": 32}
CASES = {
    "cpu": {f"{method} small T4 64x32": {**DEMO, "method": method} for method in ("source", "paper", "plus")},
    "cuda": {
        "paper small T4 64x32 cache gpu": {**DEMO, "cache": "gpu"},
        "source resnet50 T8": {**LARGE, "method": "source", "frames": 8},
        "paper resnet50 T8": {**LARGE, "frames": 8},
        "paper sinet T4": {**LARGE, "network": "sinet", "frames": 4},
        "plus resnet50 T4": {**LARGE, "method": "plus", "frames": 4},
    },
}


def main(argv: list[str] | None = None) -> int:
    options = arguments(argv, __doc__)
    warm, timed, rounds = (2, 2, 2) if options.quick else (10, 30 if options.device == "cuda" else 20, ROUNDS)
    folder = Path(tempfile.mkdtemp(prefix="bench_step"))
    try:
        write_tracklets(folder / "files", 16 if options.quick else TRACKLETS, LENGTH)
        label(folder / "files")
        pack(folder, "pack")
        cases = CASES[options.device]
        for case, knobs in list(cases.items())[: 1 if options.quick else None]:
            small = {"people": 2, "per_person": 2, "target_batch": 4} if options.quick else {}
            with attempt("step", case, "vreid_fast"):
                bench(options, case, folder, {**knobs, **small}, warm, timed, rounds)
    finally:
        shutil.rmtree(folder)
    return exit_status()


def label(files: Path) -> None:
    """Four tracklets a person, two before each of two cameras."""
    names = sorted(path.name for path in files.iterdir())
    with open(files / "tracklets.csv", "w", newline="") as table:
        csv.writer(table).writerows(
            [("path", "identity", "camera"), *((name, n // 4, n % 2) for n, name in enumerate(names))]
        )


def bench(options, case: str, folder: Path, knobs: dict, warm: int, timed: int, rounds: int) -> None:
    made, fresh, precision = real_step(folder, knobs, options.device, steps=warm + timed)
    graph, adapting = made.graph, made.session.learner.adaptation is not None

    def step(both: tuple[Batch, ...]) -> None:
        (made.adapt if adapting else made.source)(*both)

    with closing(fresh()) as batches:
        at_hand = next(batches)
    feeds: dict[str, Callable[[], Iterator]] = {
        "vreid_fast": fresh,
        "the same batch again": lambda: itertools.repeat(at_hand),
        **({} if graph is None else {feed: lambda: itertools.repeat(at_hand) for feed in (WITHOUT, PLAIN)}),
    }
    graphs = dict.fromkeys(feeds, graph)
    if graph is not None:
        graphs |= {WITHOUT: None, PLAIN: make_graph("auto", made.session.learner.device)}
    times: dict[str, list[float]] = {feed: [] for feed in feeds}
    peaks = dict.fromkeys(feeds, "")
    for _ in range(rounds):
        for feed, start in feeds.items():
            before, batches = memory_mib(), start()
            made.graph, FusedBatchNorm.backend = graphs[feed], "reference" if feed == PLAIN else None
            if options.device == "cuda":
                torch.cuda.reset_peak_memory_stats()
            for _ in range(warm):
                step(next(batches))
            times[feed].append(timed_steps(step, batches, timed, options.device))
            on_gpu = options.device == "cuda"
            peak = torch.cuda.max_memory_allocated() / 2**20 if on_gpu else max(0.0, memory_mib() - before)
            peaks[feed] = f"{peak:.0f}"
            if hasattr(batches, "close"):
                batches.close()
    FusedBatchNorm.backend = None
    rows = record("step", f"{case} {precision}", times, peaks, device=options.device, quick=options.quick)
    clips = sum(len(batch.clips) for batch in at_hand)
    speeds = (f"{row['provider']} {1e3 * clips / float(row['p50_ms']):,.0f}" for row in rows)
    print(f"{'':20} clips/s: {', '.join(speeds)}")


def real_step(folder: Path, knobs: dict, device: str, steps: int):
    """A step of the second stage (of `source`: of the first) after its clusters are made, its batches, its precision.

    Returns:
        the steps; a function that starts their batches anew; the precision's name.
    """
    data, many = f"pack:{folder / 'pack'}", 10**6
    config = Config.of(**{
        "source": data, "target": data, "source_steps": 1, "adapt_steps": many, "log_every": many,
        "gradients_every": 0, "cluster_every": many, "checkpoint_every": many, "scenes": True, **knobs,
    })  # fmt: skip
    precision = Precision("auto", choose_device(device))
    domains = build.read_domains(config)
    domains.labels = domains.labels.to(precision.device)
    student, _ = build.initial_network(config, domains.identities)
    learner = Learner(student.to(precision.device), learning_rate=1e-3, weight_decay=5e-4)
    batches = build.make_batches(config, domains, precision, per_camera := config.stages.method == "plus")
    session = build.make_session(config, folder, learner, precision, domains.identities, "")
    made = build.make_steps(config, session, domains.labels)
    with contextlib.redirect_stderr(io.StringIO()):  # no progress bar
        session.__enter__()
    learner.step = 1
    build.start_adaptation(config, session, batches, build.make_protocol(config, batches.reading), per_camera)
    adapting = learner.adaptation is not None

    def fresh() -> Iterator[tuple[Batch, ...]]:
        with batches.both(1, 1 + steps, done=0) if adapting else batches.source(1, 1 + steps) as loader:
            yield from loader

    return made, fresh, precision.name


def timed_steps(step: Callable, batches: Iterator, count: int, device: str) -> float:
    """Milliseconds a step."""
    if device == "cuda":
        torch.cuda.synchronize()
    began = time.perf_counter()
    for _ in range(count):
        step(next(batches))
    if device == "cuda":
        torch.cuda.synchronize()
    return (time.perf_counter() - began) * 1e3 / count


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
