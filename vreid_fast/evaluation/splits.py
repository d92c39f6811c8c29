"""Splits of a data set into training and test: how many there are, and what the scores of all of them say."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence

from vreid_fast.data import read_dataset
from vreid_fast.errors import InputError


def count_splits(spec: str) -> int:
    """How many splits the data set of a SPEC has.

    Raises:
        InputError: it has one only, or cannot be read.
    """
    splits = read_dataset(spec).splits
    if splits == 1:
        raise InputError(f"--split all: {spec} has one split; leave --split out")
    return splits


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
