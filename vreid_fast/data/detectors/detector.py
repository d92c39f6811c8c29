"""An ONNX detector: its kind, what it wants to see, and the boxes of people that it gives."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from vreid_fast.errors import InputError
from vreid_fast.files import why_no_file

from . import boxes, detr, yolo
from .frame import IMAGENET, Seen, fit

KINDS = {"boxes": boxes, "detr": detr, "yolo": yolo}
"""Modules by the name of the kind; each says what it `gives`, what it `is_kind` of, its SIZE, and finds boxes."""


@dataclass(frozen=True)
class Output:
    """Of a graph: its name, and its shape with None where a size is not fixed."""

    name: str
    shape: tuple[int | None, ...]


@dataclass
class Detector:
    """A frame (H, W, 3) uint8 RGB -> boxes of people (N, 4) left, top, right, bottom in its pixels, and scores (N,)."""

    kind: str
    session: Any
    """onnxruntime's."""
    input: str
    size: tuple[int, int]
    """(H, W) of what it sees."""
    batched: bool
    normalise: bool
    """By ImageNet's mean and deviation; else pixels are 0 to 1."""
    outputs: Sequence[Output]
    person: int
    """The class that is people."""

    def __call__(self, frame: np.ndarray, least: float) -> tuple[np.ndarray, np.ndarray]:
        """Boxes whose score is at least `least`, from the surest on; those outside the frame are cut at its edge."""
        module = KINDS[self.kind]
        seen = fit(frame, self.size, letterbox=module.LETTERBOX)
        pixels = seen.pixels.astype(np.float32) / 255
        if self.normalise:
            pixels = (pixels - IMAGENET[0]) / IMAGENET[1]
        pixels = np.ascontiguousarray(pixels.transpose(2, 0, 1))
        given = self.session.run(None, {self.input: pixels[None] if self.batched else pixels})
        named = dict(zip([output.name for output in self.outputs], given, strict=True))
        found, scores = module.people(named, seen, self.person, least)
        return _inside(found, scores, frame.shape[:2])


def load_detector(
    path: str, *, size: tuple[int, int] | None = None, person: int | None = None, normalise: bool | None = None
) -> Detector:
    """Open a detector.

    Args:
        size: (H, W) to show it frames in; None = what its graph fixes, else the kind's usual one.
        person: its class of people; None = the kind's usual one.
        normalise: whether it wants ImageNet's mean and deviation taken out; None = as is usual of its kind.

    Raises:
        InputError: no such file, no ONNX, or a graph of none of the kinds; with its inputs and outputs.
    """
    if why := why_no_file(path):
        raise InputError(f"--detector {path}: {why}")
    import onnxruntime

    onnxruntime.set_default_logger_severity(3)
    try:
        session = onnxruntime.InferenceSession(Path(path).read_bytes(), providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime's own kinds
        reason = next(iter(str(error).splitlines()), "")
        raise InputError(f"--detector {path}: cannot be read as ONNX ({reason})") from error
    inputs = [Output(one.name, _shape(one.shape)) for one in session.get_inputs()]
    outputs = [Output(one.name, _shape(one.shape)) for one in session.get_outputs()]
    kind = next((name for name, module in KINDS.items() if module.is_kind([o.shape for o in outputs])), None)
    if kind is None or len(inputs) != 1 or len(inputs[0].shape) not in (3, 4):
        found = f"inputs {_words(inputs)} and outputs {_words(outputs)}"
        known = "; ".join(f"{name}: {module.GIVES}" for name, module in KINDS.items())
        raise InputError(
            f"--detector {path}: a graph of no known kind, with {found}; known are one image in and {known}"
        )
    module, fixed = KINDS[kind], inputs[0].shape[-2:]
    if size and any(have not in (None, wanted) for have, wanted in zip(fixed, size)):
        raise InputError(f"--size {size[0]}x{size[1]}: {path} wants {fixed[0]}x{fixed[1]}; leave it out")
    chosen = size or tuple(have or usual for have, usual in zip(fixed, module.SIZE))
    return Detector(
        kind, session, inputs[0].name, chosen, len(inputs[0].shape) == 4,
        module.NORMALISE if normalise is None else normalise, outputs,
        module.person(outputs) if person is None else person,
    )  # fmt: skip


def _shape(shape: Sequence) -> tuple[int | None, ...]:
    return tuple(size if isinstance(size, int) and size > 0 else None for size in shape)


def _words(several: Sequence[Output]) -> str:
    return ", ".join(
        f"{one.name} ({' x '.join('?' if size is None else str(size) for size in one.shape)})" for one in several
    )


def _inside(found: np.ndarray, scores: np.ndarray, size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    height, width = size
    found = np.clip(found.reshape(-1, 4), 0, [width, height, width, height])
    kept = (found[:, 2] > found[:, 0]) & (found[:, 3] > found[:, 1]) & np.isfinite(found).all(1) & np.isfinite(scores)
    order = np.argsort(-scores[kept], kind="stable")
    return found[kept][order].astype(np.float64), scores[kept][order].astype(np.float64)


__all__ = ["KINDS", "Detector", "Seen", "load_detector"]
