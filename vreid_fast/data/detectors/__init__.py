"""People in frames, found by a detector that is an ONNX file: its kind is told from what its graph gives."""

from .detector import KINDS, Detector, load_detector

__all__ = ["KINDS", "Detector", "load_detector"]
