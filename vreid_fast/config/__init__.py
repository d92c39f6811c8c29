"""Every knob of a run: what there is, and how it is read from files and command lines."""

from .command_line import parse_command, presets, underscored
from .knobs import Config

__all__ = ["Config", "parse_command", "presets", "underscored"]
