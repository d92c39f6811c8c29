"""The order of frames that their names mean: one rule for all names of a folder, a pure function of them.

Numbers count as numbers (F2 before F10), capitals as small letters. Beyond that the whole set decides: names are
hexadecimal counters, or hold decimals (seconds), or signs, only where the others bear it out.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from decimal import Decimal
from typing import NamedTuple

DIGITS = str.maketrans("123456789", "000000000")
NUMBER = re.compile(r"\d+", re.ASCII)
DECIMAL = re.compile(r"\d+(?:\.\d+)?", re.ASCII)
POINT = re.compile(r"(?<![\d.])(\d+)\.(\d+)(?!\d)", re.ASCII)
SEVERAL_POINTS = re.compile(r"\d\.\d+\.\d|\d\.\d.*\d\.\d", re.ASCII)
SIGN = r"(?:(?:^|(?<=[a-z]))-(?=\d))"
"""A dash at the start, or between a letter and a digit, of a name in small letters; that of a date is none."""
HEXADECIMAL = re.compile(r"[0-9a-f]+")


class FrameOrder(NamedTuple):
    names: list[str]
    """In temporal order."""
    assumed: str | None = None
    """What the names were taken for, where they could mean something else."""
    doubled: str | None = None
    """One of the names that have all numbers of another, as a mask's beside its frame's."""
    doubles: int = 0
    """How many there are."""


def in_order(names: Sequence[str]) -> FrameOrder:
    """The names of a folder's frames, which all have endings, in the order that they mean without these."""
    # Numbers of equal length are in order as words are; the keys of a million names would take seconds.
    shapes = {name.translate(DIGITS) for name in names}
    if len(shapes) < 2 and not any(shape[0] == "-" for shape in shapes):
        return FrameOrder(sorted(names))
    stems = [name[: name.rfind(".")].lower() for name in names]
    forms = {NUMBER.sub("0", shape[: shape.rfind(".")].lower()) for shape in shapes}
    if len(forms) == 1 and not re.search(r"^-|\d\.\d", min(forms)):
        return _by_numbers(names, [(tuple(map(int, NUMBER.findall(stem))), ()) for stem in stems])
    decimals, doubtful = _decimals(stems)
    signs, negative = _signs(stems, DECIMAL if decimals else NUMBER)
    split = re.compile(f"({SIGN * signs}{'?' * signs}{(DECIMAL if decimals else NUMBER).pattern})", re.ASCII)
    value = Decimal if decimals else int
    parts = [split.split(stem) for stem in stems]
    keys = [(tuple(map(value, part[1::2])), tuple(part[::2])) for part in parts]
    natural = _by_numbers(names, keys)
    if _are_hexadecimal(stems):
        prefix = _common_prefix(stems)
        counters = [int(stem[len(prefix) :], 16) for stem in stems]
        order = [name for _, name in sorted(zip(counters, names))]
        return FrameOrder(order, None if order == natural.names else "hexadecimal numbers (0a after 09)")
    return natural._replace(assumed=doubtful or negative)


def _by_numbers(names: Sequence[str], keys: Sequence[tuple[tuple, tuple]]) -> FrameOrder:
    """Names by their keys, each the numbers and the texts around them, in turns."""
    numbers = [key[0] for key in keys]
    if keys[0][1] == ():  # the same texts in all
        order = [name for _, name in sorted(zip(numbers, names))]
    else:
        order = [name for _, name in sorted(zip(map(_in_turns, keys), names))]
    doubles = [] if len(set(numbers)) == len(numbers) else _repeated(numbers, names)
    return FrameOrder(order, None, doubles[0] if doubles else None, len(doubles))


def _in_turns(key: tuple[tuple, tuple]) -> list:
    numbers, texts = key
    turns = [text for text in texts for _ in range(2)][:-1]
    turns[1::2] = numbers
    return turns


def _repeated(numbers: Sequence[tuple], names: Sequence[str]) -> list[str]:
    seen, repeated = set(), []
    for key, name in sorted(zip(numbers, names)):
        if key and key in seen:
            repeated.append(name)
        seen.add(key)
    return repeated


def _decimals(stems: Sequence[str]) -> tuple[bool, str | None]:
    """Whether a point between digits is that of a decimal (0.2 after 0.04), and what is assumed if that is not sure.

    A counter behind a point (1.9, 1.10) ends in 0 now and then where a decimal of that length would not; a decimal
    of another length than others begins with 0 where a counter would not, or is lacking in whole numbers.
    """
    found = [POINT.findall(stem) for stem in stems]
    fractions = {pairs[0][1] for pairs in found if pairs}
    if not fractions or any(map(SEVERAL_POINTS.search, stems)):
        return False, None
    whole = any(not pairs and NUMBER.search(stem) for pairs, stem in zip(found, stems))
    if len(set(map(len, fractions))) == 1 and not whole:
        return False, None  # both readings give one order
    long = [fraction for fraction in fractions if len(fraction) > 1]
    ends, begins = any(word[-1] == "0" for word in long), any(word[0] == "0" for word in long)
    if ends and not begins and not whole:
        return False, None
    sure = whole or (begins and not ends)
    return True, None if sure else "decimals (1.25 before 1.5)"


def _signs(stems: Sequence[str], number: re.Pattern) -> tuple[bool, str | None]:
    """Whether dashes before numbers are signs (F-1 before F0), and what is assumed if that is not sure.

    At the start of a name there is nothing to separate; behind a letter a dash is a sign if some name lacks it.
    """
    dash = re.compile(SIGN)
    forms = {number.sub("0", stem) for stem in stems}
    with_dash = {form for form in forms if dash.search(form)}
    if not with_dash:
        return False, None
    lacking = any(dash.sub("", form) in forms for form in with_dash)
    starting = any(form[0] == "-" for form in with_dash)
    return lacking or starting, None if lacking or not starting else "negative numbers (-2 before -1)"


def _are_hexadecimal(stems: Sequence[str]) -> bool:
    """Whether all names are hexadecimal counters behind one text: of one length, evenly spaced, or few lacking."""
    prefix = _common_prefix(stems)
    rests = {stem[len(prefix) :] for stem in stems}
    if not all(map(HEXADECIMAL.fullmatch, rests)) or all(rest.isdecimal() for rest in rests):
        return False
    if all(rest.isalpha() for rest in rests):
        return False
    if len(set(map(len, rests))) == 1:
        return True
    values = sorted(int(rest, 16) for rest in rests)
    steps = {after - before for before, after in zip(values, values[1:])}
    return (len(steps) == 1 and len(values) > 2) or values[-1] - values[0] < 2 * len(values)


def _common_prefix(stems: Sequence[str]) -> str:
    """The text that all names begin with, without digits at its end."""
    first, last = min(stems), max(stems)
    equal = next((at for at, (one, other) in enumerate(zip(first, last)) if one != other), min(len(first), len(last)))
    return first[:equal].rstrip("0123456789")
