"""A run for each split of a data set, then the mean and the spread of their scores."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from vreid_fast.errors import Stopped
from vreid_fast.evaluation.splits import summarise
from vreid_fast.terminal import say

from .results import read_result, write_json


def begun_splits(folder: Path, splits: int) -> list[tuple[int, Path]]:
    """Number and folder of each split that has a checkpoint."""
    folders = [(split, folder / f"split{split}") for split in range(splits)]
    return [(split, inner) for split, inner in folders if (inner / "last.pt").exists()]


def run_splits(folder: Path, splits: int, run: Callable[[int, Path, bool], dict]) -> dict:
    """A run for each split in FOLDER/splitN, then FOLDER/result.json with what `summarise` returns.

    Runs that are finished are not run again, one that was stopped goes on from its checkpoint.

    Args:
        run: (split, folder, whether to resume) -> what the run's result.json holds.

    Raises:
        Stopped: Ctrl-C or SIGTERM; the message says how to go on with all of them.
    """
    results = []
    for split in range(splits):
        inner = folder / f"split{split}"
        if (inner / "result.json").exists():
            say(f"split {split} of {splits} is finished in {inner}")
            results.append(read_result(inner))
            continue
        say(f"split {split} of {splits}, in {inner}")
        try:
            results.append(run(split, inner, (inner / "last.pt").exists()))
        except Stopped as stop:
            raise Stopped(f"split {split} {stop}; with all splits: --resume {folder}") from None
    summary = summarise(results)
    write_json(folder / "result.json", summary)
    return summary
