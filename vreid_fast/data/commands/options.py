"""Options of the commands: their spellings and types."""

from __future__ import annotations

import argparse
import math
import re
from collections.abc import Callable
from datetime import datetime

LARGEST = 65_500
"""Pixels a side that JPEG images can have."""


def add_option(parser: argparse.ArgumentParser, name: str, **settings) -> None:
    """Add --two_words, which --two-words is too; `settings` as of `add_argument`."""
    parser.add_argument(*dict.fromkeys((f"--{name}", f"--{name.replace('_', '-')}")), **settings)


def number(kind: type, least: float, most: float = math.inf) -> Callable[[str], float]:
    """A type for argparse: a number from `least` to `most`."""

    def convert(word: str) -> float:
        # int() alone would take "1_000" and digits of other scripts; 18 digits fit what tables hold.
        if kind is int and not re.fullmatch(r"[+-]?\d{1,18}", word, re.ASCII):
            raise argparse.ArgumentTypeError(f"wanted an integer of at most 18 digits, found {word!r}")
        value = kind(word)
        if not least <= value <= most or value == math.inf:
            limits = f"at least {least}" if most == math.inf else f"{least} to {most}"
            raise argparse.ArgumentTypeError(f"wanted {limits}, found {word}")
        return value

    convert.__name__ = "integer" if kind is int else "number"
    return convert


def add_reading_options(parser: argparse.ArgumentParser) -> None:
    """The options of `read_dataset` that make another data set of a SPEC."""
    add_option(parser, "synthetic_seed", type=number(int, 0), default=0, help="of the synthetic people (%(default)s)")
    add_option(
        parser, "mars_gallery", choices=("with_query", "without_query"), default="with_query",
        help="gallery of MARS: the official one with the queries (%(default)s), or without",
    )  # fmt: skip


def add_scenes(parser: argparse.ArgumentParser) -> None:
    """--scenes, which allows what `scenes.find_scenes` finds."""
    add_option(parser, "scenes", action="store_true", help="take whole scenes, wider than high, as if they were people")


def reading_options(arguments: argparse.Namespace) -> dict:
    """What `add_reading_options` added, as `read_dataset` takes it."""
    return {"seed": arguments.synthetic_seed, "mars_gallery": arguments.mars_gallery}


def word(text: str) -> str:
    """Letters, digits, dots and dashes: part of a folder's name, without _ that would end it."""
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9.-]{0,99}", text, re.ASCII):
        raise argparse.ArgumentTypeError(f"wanted letters, digits, dots and dashes, found {text!r}")
    return text


def clock(text: str) -> str:
    """A date and time, as ISO 8601 writes it."""
    try:
        return datetime.fromisoformat(text).isoformat()
    except ValueError:
        raise argparse.ArgumentTypeError(f"wanted a time such as 2026-05-04T08:00:00, found {text!r}") from None


def byte_count(word: str) -> int:
    found = re.fullmatch(r"([1-9]\d*)([KMG]?)", word, re.ASCII)
    if not found:
        raise argparse.ArgumentTypeError(f"wanted bytes, such as 1G, 512M or 1000000; found {word}")
    return int(found[1]) * {"": 1, "K": 2**10, "M": 2**20, "G": 2**30}[found[2]]


def height_width(word: str) -> tuple[int, int]:
    match = re.fullmatch(r"([1-9]\d{0,4})x([1-9]\d{0,4})", word, re.ASCII)
    if not match:
        raise argparse.ArgumentTypeError(f"wanted HEIGHTxWIDTH such as 256x128, found {word}")
    if max(int(match[1]), int(match[2])) > LARGEST:
        raise argparse.ArgumentTypeError(f"wanted at most {LARGEST:,} pixels a side, found {word}")
    return int(match[1]), int(match[2])


def even_height_width(word: str) -> tuple[int, int]:
    height, width = height_width(word)
    if height % 2 or width % 2:
        raise argparse.ArgumentTypeError(f"wanted even numbers such as 256x128, found {word}")
    return height, width
