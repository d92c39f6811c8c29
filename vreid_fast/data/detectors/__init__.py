"""Detectors of people: ONNX graphs of four kinds, told apart by their outputs, one file a kind."""

from .detector import KINDS, Detector, Wishes
from .picture import PIXELS

__all__ = ["KINDS", "PIXELS", "Detector", "Wishes"]
