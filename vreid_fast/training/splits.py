"""All splits of a data set: a run or an evaluation of each, then the mean and the spread of their scores."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from pathlib import Path

from vreid_fast.data import read_dataset
from vreid_fast.errors import InputError, Stopped

from .results import read_result, write_json


def count_splits(spec: str) -> int:
    """How many splits the data set of a SPEC has.

    Raises:
        InputError: it has one only, or cannot be read.
    """
    splits = read_dataset(spec).splits
    if splits == 1:
        raise InputError(f"--split all: {spec} has one split; leave --split out")
    return splits


def run_splits(folder: Path, splits: int, run: Callable[[int, Path, bool], dict]) -> dict:
    """A run for each split in FOLDER/splitN, then FOLDER/result.json with what `summarise` returns.

    Runs that are finished are not run again, one that was stopped goes on from its checkpoint.

    Args:
        run: (split, folder, whether to resume) -> what the run's result.json holds.

    Raises:
        Stopped: Ctrl-C; the message says how to go on with all of them.
    """
    results = []
    for split in range(splits):
        inner = folder / f"split{split}"
        if (inner / "result.json").exists():
            print(f"split {split} of {splits} is finished in {inner}")
            results.append(read_result(inner))
            continue
        print(f"split {split} of {splits}, in {inner}")
        try:
            results.append(run(split, inner, (inner / "last.pt").exists()))
        except Stopped as stop:
            raise Stopped(f"split {split} {stop}; with all splits: --resume {folder}") from None
    summary = summarise(results)
    write_json(folder / "result.json", summary)
    return summary


def summarise(results: Sequence[dict]) -> dict:
    """Mean and sample standard deviation (n - 1) over splits of each number in each row of scores.

    Args:
        results: of the splits, row -> scores as `rank_metrics` gives them; other entries are kept and ignored.

    Returns:
        `splits`, the results as given, `mean` and `std`, row -> score -> number, over the rows that all have.
    """

    def over_splits(statistic: Callable[[list[float]], float]) -> dict:
        return {
            row: {
                score: statistic([result[row][score] for result in results])
                for score, value in scores.items()
                if isinstance(value, int | float)
            }
            for row, scores in results[0].items()
            if isinstance(scores, dict) and all(row in result for result in results)
        }

    return {
        "splits": list(results),
        "mean": over_splits(statistics.fmean),
        "std": over_splits(lambda values: statistics.stdev(values) if values[1:] else 0.0),
    }
