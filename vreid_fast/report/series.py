"""One quantity of a run against its steps."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Series:
    """One quantity of a run against its steps, one part a stage."""

    stages: tuple[str, ...]
    steps: tuple[np.ndarray, ...]
    values: tuple[np.ndarray, ...]

    @property
    def last(self) -> float:
        return float(self.values[-1][-1])


def series_of(history: Sequence[dict], *path: str) -> Series | None:
    """The numbers at a path of keys in the rows of metrics.jsonl, such as ("losses", "triplet").

    Rows without a finite number there are skipped; None when no row is left. Where the steps of the
    second stage start anew, they are counted on from the first.
    """
    parts: dict[str, list[tuple[float, float]]] = {}
    offset = last = 0
    stage = None
    for row in history:
        if stage is not None and row.get("stage") != stage and row["step"] + offset < last:
            offset = last
        stage, last = row.get("stage"), row["step"] + offset
        value = row
        for key in path:
            value = value.get(key) if isinstance(value, dict) else None
        if isinstance(value, int | float) and math.isfinite(value):
            parts.setdefault(stage or "", []).append((last, value))
    if not parts:
        return None
    columns = [np.array(part, dtype=float).T for part in parts.values()]
    return Series(tuple(parts), tuple(c[0] for c in columns), tuple(c[1] for c in columns))


def moving_average(values: np.ndarray) -> np.ndarray:
    """Centred moving average over about a tenth of the values; the window shrinks at both ends."""
    reach = len(values) // 20
    total = np.concatenate([[0.0], np.cumsum(values)])
    places = np.arange(len(values))
    half = np.minimum(reach, np.minimum(places, places[::-1]))
    return (total[places + half + 1] - total[places - half]) / (2 * half + 1)
