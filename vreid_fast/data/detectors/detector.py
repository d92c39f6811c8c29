"""An ONNX file as a detector of people."""

from __future__ import annotations

from dataclasses import dataclass
from types import ModuleType

import numpy as np

from vreid_fast.errors import InputError
from vreid_fast.extras import needs
from vreid_fast.files import why_no_file

from . import centernet, detr, nms_inside, yolo
from .graph import Found, Port
from .picture import Picture
from .suppression import surest

KINDS = {"nms": nms_inside, "detr": detr, "yolo": yolo, "centernet": centernet}
TYPES = ("tensor(float)", "tensor(float16)", "tensor(uint8)")


@dataclass(frozen=True)
class Wishes:
    """What a user says of a detector that its graph does not."""

    size: tuple[int, int] | None = None
    """Height and width of its input, where the graph leaves them open."""
    pixels: str | None = None
    """A word of PIXELS; None = as its kind does."""
    person: int | None = None
    """Number of its class of people; None = as its kind does."""


class Detector:
    """Finds people in frames.

    Raises:
        InputError: no such file, no ONNX, or a graph of no known kind.
    """

    def __init__(self, path: str, wishes: Wishes = Wishes()):
        needs("onnxruntime")
        import onnxruntime

        if why := why_no_file(path):
            raise InputError(f"detector {path}: {why}; give an ONNX file")
        self.path = path
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 4
        try:
            self.session = onnxruntime.InferenceSession(
                path, options, providers=[name for name in ("CUDAExecutionProvider", "CPUExecutionProvider")
                                          if name in onnxruntime.get_available_providers()]
            )  # fmt: skip
        except Exception as error:  # ONNX Runtime's have no base of their own
            raise InputError(f"detector {path}: is no ONNX file that ONNX Runtime reads ({_first(error)})") from error
        self.inputs, self.outputs = (
            [Port(port.name, _sizes(port.shape), port.type) for port in ports]
            for ports in (self.session.get_inputs(), self.session.get_outputs())
        )
        self.kind, self.module = self._kind()
        self.picture = self._picture(wishes)
        self.person = self.module.person(self.outputs) if wishes.person is None else wishes.person

    def __call__(self, frame: np.ndarray, least: float) -> Found:
        """People in a frame (H, W, 3) uint8 RGB, of a score of at least `least`; boxes end at the frame's edges.

        Raises:
            InputError: the graph does not run on such a frame, or what comes out is no boxes.
        """
        picture, scale, shift = self.picture.of(frame)
        try:
            values = self.session.run(None, {self.inputs[0].name: picture})
        except Exception as error:
            raise InputError(
                f"detector {self.path}: does not run on an input {picture.shape}: {_first(error)}; its "
                f"{self._ports()}; --detector_size HxW may be needed"
            ) from error
        size = picture.shape[-3:-1] if self.picture.last else picture.shape[-2:]
        try:
            found = self.module.decode(self.outputs, values, size, self.person)
        except IndexError as error:
            raise InputError(
                f"detector {self.path}: has no class {self.person} (--person) in its outputs "
                f"{', '.join(str(value.shape) for value in values)}"
            ) from error
        found = found[found.scores >= least]
        if not (np.isfinite(found.boxes).all() and (found.scores <= 1 + 1e-3).all()):
            raise InputError(
                f"detector {self.path}: gave boxes that are infinite or no numbers, or scores above 1, as no "
                f"detector of kind {self.kind} does; its {self._ports()}"
            )
        edges = np.float32([frame.shape[1], frame.shape[0]] * 2)
        boxes = (found.boxes * scale + shift).clip(0, edges)
        found = Found(boxes, found.scores.clip(0, 1))[(boxes[:, 2:] - boxes[:, :2] > 1).all(1)]
        return surest(found, yolo.OVERLAP) if self.kind in ("yolo", "centernet") else found

    def _kind(self) -> tuple[str, ModuleType]:
        for name, module in KINDS.items():
            if module.fits(self.outputs):
                return name, module
        known = "; ".join(f"{name}: {module.WORDS}" for name, module in KINDS.items())
        raise InputError(f"detector {self.path}: is of no known kind; its {self._ports()}; known are {known}")

    def _picture(self, wishes: Wishes) -> Picture:
        shape = self.inputs[0].shape
        if len(self.inputs) != 1 or len(shape) not in (3, 4) or self.inputs[0].type not in TYPES:
            raise InputError(
                f"detector {self.path}: takes no single picture of float, float16 or uint8; its {self._ports()}"
            )
        last = shape[-1] == 3 and shape[-3] != 3
        if not last and shape[-3] not in (3, None):
            raise InputError(f"detector {self.path}: takes {shape[-3]} colours, wanted are 3; its {self._ports()}")
        fixed = shape[-3:-1] if last else shape[-2:]
        size = wishes.size or self.module.SIZE
        if None not in fixed:
            if wishes.size and wishes.size != fixed:
                raise InputError(
                    f"--detector_size {wishes.size[0]}x{wishes.size[1]}: {self.path} takes {fixed[0]}x{fixed[1]} alone"
                )
            size = fixed
        return Picture(
            size, wishes.pixels or self.module.PIXELS, self.module.letterbox(self.outputs), last, len(shape) == 4,
            self.inputs[0].type,
        )  # fmt: skip

    def _ports(self) -> str:
        return f"inputs: {', '.join(map(str, self.inputs))}; outputs: {', '.join(map(str, self.outputs))}"


def _sizes(shape: list[int | str | None]) -> tuple[int | None, ...]:
    return tuple(size if isinstance(size, int) and size > 0 else None for size in shape)


def _first(error: Exception) -> str:
    return str(error).strip().partition("\n")[0]
