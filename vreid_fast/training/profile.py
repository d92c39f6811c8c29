"""Where the time of a step goes: `--profile N` measures N steps of each stage, and writes a trace of them."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import TypeVar

import torch

from vreid_fast.data.table import aligned
from vreid_fast.files import JSON, check_writable

Batch = TypeVar("Batch")
WARM = 5
"""Steps of a stage that are made before any is measured."""
PARTS = ("load", "student", "teacher", "losses", "backward", "optimiser", "EMA", "graph")
"""What a step is made of, in its order; a CUDA graph holds all from student to EMA in one."""


class Profile:
    """Times of the parts of some steps; without effect where none are to be measured.

    Args:
        folder: of the run, for `profile_source.json` and `profile_adapt.json`, which chrome://tracing and
            ui.perfetto.dev show.
        steps: N, of each stage; 0 = none.
    """

    def __init__(self, folder: Path, steps: int, device: torch.device):
        self.folder, self.steps, self.device = folder, steps, device
        self._profiler: torch.profiler.profile | None = None
        self._host: dict[str, float] = {}
        self._events: list[tuple[str, torch.cuda.Event, torch.cuda.Event]] = []

    def batches(self, loader: Iterable[Batch], stage: str) -> Iterator[Batch]:
        """The batches of a loader, each for one step; some of the steps are measured."""
        if not self.steps:
            yield from loader
            return
        waiting, measured = iter(loader), 0
        try:
            while True:
                if measured == WARM:
                    self._start()
                with self.part("load"):
                    batch = next(waiting, None)
                if batch is None:
                    return
                yield batch
                measured += 1
                if measured == WARM + self.steps:
                    self._stop(stage, self.steps)
        finally:
            if self._profiler is not None:
                self._stop(stage, measured - WARM)

    def part(self, name: str) -> AbstractContextManager:
        """Around what belongs to a part of a step."""
        recording = self.device.type == "cuda" and torch.cuda.is_current_stream_capturing()
        return nullcontext() if self._profiler is None or recording else self._measured(name)

    @contextmanager
    def _measured(self, name: str) -> Iterator[None]:
        on_gpu, began = self.device.type == "cuda", time.perf_counter()
        events = [torch.cuda.Event(enable_timing=True) for _ in range(2)] if on_gpu else []
        if events:
            events[0].record()
        with torch.profiler.record_function(f"step: {name}"):
            yield
        if events:
            events[1].record()
            self._events.append((name, events[0], events[1]))
        self._host[name] = self._host.get(name, 0.0) + time.perf_counter() - began

    def _start(self) -> None:
        activities = [torch.profiler.ProfilerActivity.CPU]
        if self.device.type == "cuda":
            activities.append(torch.profiler.ProfilerActivity.CUDA)
        self._host, self._events = {}, []
        self._profiler = torch.profiler.profile(activities=activities)
        self._began = time.perf_counter()
        self._profiler.start()

    def _stop(self, stage: str, steps: int) -> None:
        profiler, self._profiler = self._profiler, None
        assert profiler is not None
        total = time.perf_counter() - self._began
        profiler.stop()
        if steps < 1:
            return
        trace = self.folder / f"profile_{stage}.json"
        check_writable("--profile", trace, JSON)  # the profiler would say nothing
        profiler.export_chrome_trace(str(trace))
        print(f"\n{steps} steps of stage {stage}, milliseconds a step; trace in {trace}\n{self._table(steps, total)}")

    def _table(self, steps: int, total: float) -> str:
        on_gpu: dict[str, float] = {}
        if self._events:
            torch.cuda.synchronize(self.device)
        for name, start, end in self._events:
            on_gpu[name] = on_gpu.get(name, 0.0) + start.elapsed_time(end)
        rows: list[tuple] = [("part", "host", *(["device"] if on_gpu else []))]
        for name in (name for name in PARTS if name in self._host):
            rows.append(
                (name, f"{1e3 * self._host[name] / steps:.2f}", *([f"{on_gpu[name] / steps:.2f}"] if on_gpu else []))
            )
        rows.append(("rest", f"{1e3 * (total - sum(self._host.values())) / steps:.2f}", *([""] if on_gpu else [])))
        return aligned(rows)
