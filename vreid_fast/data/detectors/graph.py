"""What is known of an ONNX graph before it runs, and of what came out of it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Port:
    """An input or an output of a graph."""

    name: str
    shape: tuple[int | None, ...]
    """None where the graph leaves a size open."""
    type: str
    """As ONNX Runtime says it, such as tensor(float)."""

    def __str__(self) -> str:
        return f"{self.name} {self.type[7:-1]} ({', '.join('?' if size is None else str(size) for size in self.shape)})"

    @property
    def rank(self) -> int:
        return len(self.shape)

    def named(self, *words: str) -> bool:
        """Whether one of the words is a part of its name; of a path such as tower_0/wh, of the last part."""
        return any(word in self.name.lower().rpartition("/")[2] for word in words)


@dataclass(frozen=True)
class Found:
    """Boxes in a frame."""

    boxes: np.ndarray
    """(N, 4) float32: left, top, right, bottom in pixels."""
    scores: np.ndarray
    """(N,) float32, from 0 to 1."""

    def __getitem__(self, rows: np.ndarray) -> Found:
        return Found(self.boxes[rows], self.scores[rows])

    def __len__(self) -> int:
        return len(self.scores)


def one(outputs: list[Port], *words: str) -> int | None:
    """The place of the only output with one of the words in its name."""
    places = [place for place, port in enumerate(outputs) if port.named(*words)]
    return places[0] if len(places) == 1 else None


def corners(boxes: np.ndarray) -> np.ndarray:
    """Boxes (N, 4) of centre x, centre y, width, height as left, top, right, bottom."""
    half = boxes[:, 2:] / 2
    return np.concatenate([boxes[:, :2] - half, boxes[:, :2] + half], axis=1)
