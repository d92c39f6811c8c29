"""Options of the commands: their spellings and types."""

from __future__ import annotations

import argparse
import math
import re
from collections.abc import Callable


def add_option(parser: argparse.ArgumentParser, name: str, **settings) -> None:
    """Add --two_words, which --two-words is too; `settings` as of `add_argument`."""
    parser.add_argument(*dict.fromkeys((f"--{name}", f"--{name.replace('_', '-')}")), **settings)


def number(kind: type, least: float, most: float = math.inf) -> Callable[[str], float]:
    """A type for argparse: a number from `least` to `most`."""

    def convert(word: str) -> float:
        value = kind(word)
        if not least <= value <= most or value == math.inf:
            limits = f"at least {least}" if most == math.inf else f"{least} to {most}"
            raise argparse.ArgumentTypeError(f"wanted {limits}, found {word}")
        return value

    convert.__name__ = "integer" if kind is int else "number"
    return convert


def height_width(word: str) -> tuple[int, int]:
    match = re.fullmatch(r"([1-9]\d{0,4})x([1-9]\d{0,4})", word, re.ASCII)
    if not match:
        raise argparse.ArgumentTypeError(f"wanted HEIGHTxWIDTH such as 256x128, found {word}")
    return int(match[1]), int(match[2])
