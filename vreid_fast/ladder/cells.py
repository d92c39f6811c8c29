"""The cells of a ladder, one a seed and row: which there are, and their training, each in a process of its own."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from vreid_fast.config import Config
from vreid_fast.errors import Failed, Stopped
from vreid_fast.files import write_text
from vreid_fast.interrupt import StopRequest
from vreid_fast.training.run_folder import is_held

from .rows import Table

LOG_LINES = 12
OF_ONE_OF_SEVERAL = (
    "RANK", "LOCAL_RANK", "GROUP_RANK", "ROLE_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "ROLE_WORLD_SIZE", "MASTER_ADDR",
    "MASTER_PORT",
)  # fmt: skip
"""Variables that torchrun tells a process its place by."""


class CellFailed(Failed):
    """A cell's training ended with an error; the message has the last lines of its log."""


@dataclass(frozen=True)
class Cell:
    """One training: a row with one seed."""

    seed: int
    row: str
    config: Config
    before: Cell | None
    """The cell whose last.pt it begins with."""

    @property
    def folder(self) -> Path:
        return Path(self.config.run.run)

    @property
    def log(self) -> Path:
        return self.folder.with_suffix(".log")

    @property
    def finished(self) -> bool:
        return (self.folder / "result.json").exists()

    @property
    def ready(self) -> bool:
        return self.before is None or self.before.finished

    def result(self) -> dict:
        return json.loads((self.folder / "result.json").read_text())

    def start(self, gpu: str | None = None) -> subprocess.Popen | None:
        """Begin its training, or go on from its last checkpoint; None while another process is at it.

        Args:
            gpu: that it sees alone, as of `device.visible_gpus`; None = all that this process does.

        The training holds a lock on its log. So it is not begun twice, even when the ladder that began it was killed.
        """
        self.folder.parent.mkdir(parents=True, exist_ok=True)
        with open(self.log, "a") as log:
            try:
                fcntl.flock(log, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return None
            if is_held(self.folder):  # by a training that no ladder began
                return None
            if (self.folder / "last.pt").exists():
                words = ["--resume", str(self.folder), "--threads", str(self.config.device.threads)]
            else:
                knobs = self.folder.with_suffix(".yaml")
                write_text(knobs, self.config.to_yaml())
                words = ["--config", str(knobs)]
            # In a session of its own: Ctrl-C in the terminal reaches it once only, through the ladder.
            return subprocess.Popen(
                [sys.executable, "-m", "vreid_fast.train", *words], stdin=subprocess.DEVNULL, stdout=log,
                stderr=subprocess.STDOUT, start_new_session=True, env=_environment(gpu),
            )  # fmt: skip


def _environment(gpu: str | None) -> dict[str, str]:
    """Of a training that is one process, whatever the ladder was started by."""
    own = {
        name: value
        for name, value in os.environ.items()
        if name not in OF_ONE_OF_SEVERAL and not name.startswith("TORCHELASTIC_")
    }
    return {**own, "TQDM_DISABLE": "1", **({} if gpu is None else {"CUDA_VISIBLE_DEVICES": gpu})}


def plan_cells(table: Table, configs: dict[str, Config], run: Path, seeds: Iterable[int], jobs: int) -> list[Cell]:
    """The cells of a ladder, seed by seed; each begins from the last.pt of the cell before it.

    Args:
        configs: of each row.
        jobs: cells at once; they share the cores, unless their knobs say how many threads each has.
    """
    share = max(1, len(os.sched_getaffinity(0)) // jobs) if jobs > 1 else 0
    cells = []
    for seed in seeds:
        of_seed: dict[str, Cell] = {}

        def cell(name: str, seed: int = seed, of_seed: dict[str, Cell] = of_seed) -> Cell:
            if name not in of_seed:
                after, config = table.rows[name].after, configs[name]
                before = cell(after) if after else None
                config = config.replace(
                    seed=seed, synthetic_seed=seed, run=str(run / f"seed{seed}" / name),
                    start=str(before.folder / "last.pt") if before else None, threads=config.device.threads or share,
                )  # fmt: skip
                of_seed[name] = Cell(seed, name, config, before)
            return of_seed[name]

        cells += [cell(name) for name in table.rows]
    return cells


def run_cells(
    cells: Iterable[Cell],
    jobs: int,
    told: Callable[[Cell], None],
    say: Callable[[str], None],
    gpus: Sequence[str] = (),
) -> None:
    """Train the cells that are not finished, `jobs` at once, each after the one that it begins from.

    Args:
        gpus: those of `device.visible_gpus`, of which each cell sees one, that with the fewest cells; none = all cells
            see what this process does.
        told: called with each cell when it is finished.
        say: called with what else the user should know.

    Raises:
        CellFailed: one of them failed; the others were stopped with a checkpoint.
        Stopped: Ctrl-C or SIGTERM; likewise.
    """
    waiting = [cell for cell in cells if not cell.finished]
    running: list[tuple[Cell, subprocess.Popen]] = []
    taken: dict[Path, str | None] = {}
    """The GPU of each cell that runs, by its folder."""
    elsewhere: set[Path] = set()
    with StopRequest() as stop:
        try:
            while waiting or running:
                for cell in [cell for cell in waiting if cell.ready]:
                    if cell.finished:  # by another process
                        waiting.remove(cell)
                        told(cell)
                    elif len(running) < jobs:
                        gpu = min(gpus, key=list(taken.values()).count, default=None)
                        if process := cell.start(gpu):
                            waiting.remove(cell)
                            taken[cell.folder] = gpu
                            running.append((cell, process))
                        elif cell.folder not in elsewhere:
                            elsewhere.add(cell.folder)
                            say(f"{cell.folder}: another process is training it; its result is waited for")
                if stop:
                    raise Stopped("stopped")
                time.sleep(0.05)
                for cell, process in [(cell, process) for cell, process in running if process.poll() is not None]:
                    running.remove((cell, process))
                    del taken[cell.folder]
                    if process.returncode or not cell.finished:
                        raise CellFailed(
                            f"seed {cell.seed}, row {cell.row}: failed (exit {process.returncode}); the end of "
                            f"{cell.log}:\n{last_lines(cell.log)}"
                        )
                    told(cell)
        finally:
            _end([process for _, process in running])


def _end(processes: list[subprocess.Popen]) -> None:
    """Stop trainings as Ctrl-C does, so that they write a checkpoint; a further Ctrl-C or SIGTERM kills them."""
    for process in processes:
        process.send_signal(signal.SIGINT)
    try:
        for process in processes:
            process.wait()
    finally:
        for process in processes:
            process.kill()


def last_lines(path: Path) -> str:
    return "\n".join(f"    {line}" for line in path.read_text(errors="replace").splitlines()[-LOG_LINES:])
