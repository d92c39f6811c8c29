"""Train the rows of a table with several seeds and show what each adds: `python -m vreid_fast.ladder`."""

from __future__ import annotations

import argparse
import shlex
import sys
import time
from collections.abc import Iterable
from pathlib import Path

from vreid_fast.config import Config, underscored
from vreid_fast.errors import InputError, Stopped, exit_code
from vreid_fast.files import write_text
from vreid_fast.terminal import say

from .cells import Cell, plan_cells, run_cells
from .record import machines, note_machine, open_run
from .rows import SCORED, Table, configure, read_table
from .tables import COSTS, Results, markdown, terminal, write_csv


def ladder(arguments: argparse.Namespace, words: list[str], command: str) -> None:
    """Train the cells that are missing, then write and print the tables.

    Args:
        words: knobs of every cell, as on the command line.
        command: what the user typed, for the page.

    Raises:
        InputError, CellFailed, Stopped: see `configure`, `open_run`, `run_cells`; tables of what is finished are
            written first.
    """
    for name in ("seeds", "jobs", "first_seed"):
        least = 0 if name == "first_seed" else 1
        if getattr(arguments, name) < least:
            raise InputError(f"--{name} must be at least {least}, got {getattr(arguments, name)}")
    table = read_table(arguments.table)
    if arguments.rows:
        table = table.only([name.strip() for name in arguments.rows.split(",")])
    base, configs = configure(table, words)
    run = Path(arguments.run)
    seeds = range(arguments.first_seed, arguments.first_seed + arguments.seeds)
    cells = plan_cells(table, configs, run, seeds, arguments.jobs)
    open_run(run, table, base)
    left = [cell for cell in cells if not cell.finished]
    say(f"{table.title}: seeds {', '.join(map(str, seeds))}; {len(left)} of {len(cells)} cells to train")
    try:
        if left:
            check_data(left)
            note_machine(run, machine(base))
            run_cells(left, arguments.jobs, Progress(cells, arguments.jobs), say, gpus_for(arguments.jobs))
    except Stopped:
        done = sum(cell.finished for cell in cells)
        raise Stopped(f"stopped with {done} of {len(cells)} cells finished; the same command goes on") from None
    finally:
        show(run, table, base, cells, command)


def check_data(cells: Iterable[Cell]) -> None:
    """Read the data of each row once, so that a path missing in the last row is found before the first is trained.

    Raises:
        InputError: data that cannot be used, with the row; or a target that cannot be scored.
    """
    from vreid_fast.data.checks import why_unscored
    from vreid_fast.training.build import read_domains

    pairs = {(cell.config.data.source, cell.config.data.target): cell for cell in reversed(list(cells))}
    for (_, target), cell in pairs.items():
        try:
            domains = read_domains(cell.config)
        except InputError as error:
            raise InputError(f"row {cell.row}: {error}; or leave the row out, with --rows") from None
        if reason := why_unscored(domains.target_data):
            raise InputError(f"--target {target}: {reason}; a ladder compares scores of a person whom two cameras saw")


def machine(config: Config) -> str:
    """Where cells are trained, and with what."""
    import platform

    import torch

    from vreid_fast import __version__
    from vreid_fast.device import Precision, choose_device, describe

    device = choose_device(config.device.device)
    return (
        f"{describe(device)}, {Precision(config.device.precision, device).name}, torch {torch.__version__}, "
        f"Python {platform.python_version()}, vreid-fast {__version__}"
    )


def gpus_for(jobs: int) -> list[str]:
    """The GPUs that cells are spread over, where several run at once and there are several."""
    from vreid_fast.device import visible_gpus

    gpus = visible_gpus() if jobs > 1 else []
    return gpus if len(gpus) > 1 else []


class Progress:
    """A line for each finished cell, with a guess of the time that is left."""

    def __init__(self, cells: list[Cell], jobs: int):
        self.cells, self.started = cells, time.monotonic()
        self.before = sum(cell.finished for cell in cells)

    def __call__(self, cell: Cell) -> None:
        from vreid_fast.report.words import duration

        result = cell.result()
        student, camera = (f"{100 * result[name]['map']:.1f}" if name in result else "-" for name in SCORED)
        seconds, speed = (result[cost] for cost in COSTS)
        total, done = len(self.cells), sum(one.finished for one in self.cells)
        each = (time.monotonic() - self.started) / (done - self.before)
        left = f"about {duration((total - done) * each)} left" if done < total else ""
        print(
            f"[{done:{len(str(total))}}/{total}] seed {cell.seed}  {cell.row:<12}  mAP {student:>5}, "
            f"per camera {camera:>5}  {seconds:5.0f} s  {f'{speed:.0f}' if speed else '-':>4} clips/s  {left}",
            flush=True,
        )


def show(run: Path, table: Table, base: Config, cells: list[Cell], command: str) -> None:
    """Write ladder.md, .csv, .png and .svg of the finished cells, and print the tables; nothing where none is."""
    results: dict[str, dict[int, dict]] = {}
    for cell in cells:
        if cell.finished:
            results.setdefault(cell.row, {})[cell.seed] = cell.result()
    if not results:
        return
    write_files(run / "ladder", table, results, facts(run, base, results, command))
    print(f"\n{terminal(table, results)}\n\n{run / 'ladder.md'}, ladder.csv and ladder.png hold them")


def facts(run: Path, base: Config, results: Results, command: str) -> list[str]:
    """How the tables were made, in lines."""
    seeds = sorted({seed for found in results.values() for seed in found})
    return [
        f"{base.data.source} → {base.data.target}",
        f"seeds {', '.join(map(str, seeds))}, of synthetic people and of training; a seed's rows begin from one "
        "checkpoint",
        *machines(run),
        f"`{command}`",
    ]


def write_files(path: Path, table: Table, results: Results, lines: list[str]) -> None:
    from .plot import plot_ladder

    write_text(path.with_suffix(".md"), markdown(table, results, lines))
    write_csv(path.with_suffix(".csv"), results)
    plot_ladder(path, table, results)


def parse(argv: list[str]) -> tuple[argparse.Namespace, list[str]]:
    """The ladder's own words of a command line, and the rest, which are knobs of every cell."""
    parser = argparse.ArgumentParser(
        prog="python -m vreid_fast.ladder",
        allow_abbrev=False,
        description="Train the rows of a table with several seeds and show what each adds.",
        epilog="Further words are knobs of every cell, as of vreid_fast.train: --source SPEC, --target SPEC, "
        "--config NAME_OR_FILE, --KNOB VALUE. The same command goes on where a ladder was stopped.",
    )  # fmt: skip
    parser.add_argument(
        "--table",
        default="2",
        help="1 networks, narrow; 1_full networks, for a GPU; 2 losses (default); 3 real to real; 4 parts of plus; "
        "clothes; or a YAML file",
    )
    parser.add_argument("--seeds", type=int, default=3, help="how many, of people and of training (default 3)")
    parser.add_argument("--first_seed", type=int, default=0, help="the first of them (default 0)")
    parser.add_argument("--run", default="runs/ladder", help="folder of all cells and of the tables")
    parser.add_argument(
        "--jobs", type=int, default=1, help="cells at once; they share the cores, and each has one GPU (default 1)"
    )
    parser.add_argument("--rows", default="", help="a,b,c: these rows alone, and those that they begin from")
    return parser.parse_known_args(underscored(argv))


def main(argv: list[str] | None = None) -> int:
    argv = sys.argv[1:] if argv is None else argv
    command = shlex.join(["python", "-m", "vreid_fast.ladder", *argv])
    return exit_code(lambda: ladder(*parse(argv), command), stopped="stopped; the same command goes on")


if __name__ == "__main__":
    sys.exit(main())
