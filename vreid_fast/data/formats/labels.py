"""What the words of a table mean: which number, or that it is unknown."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from decimal import Decimal

from vreid_fast.errors import InputError

UNKNOWN = {
    "", "-", "--", "?", "??", "nan", "none", "null", "na", "n/a", "n.a.", "<na>", "#n/a", "unknown", "undefined",
}  # fmt: skip
"""Words of people, spreadsheets, pandas and R for a cell without a value, in small letters."""
JUNK = -1
"""Number of what is nobody, in Market-1501, MARS and torchreid."""
LARGEST = 2**63 - 1
NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d{1,4})?", re.ASCII | re.IGNORECASE)
LONGEST = 40
"""Digits of a number that is still taken as one; a person's, not a label's, are fewer by far."""
SHOWN = 3


def whole_number(word: str) -> int | None:
    """The number that a spelling of a whole number means (7, 007, 7.0, 7e0), or None for another word."""
    if not NUMBER.fullmatch(word):
        return None
    number = Decimal(word)
    if number.adjusted() >= LONGEST or number != number.to_integral_value():
        return None
    return int(number)


def is_unknown(word: str) -> bool:
    """Whether a word stands for no value: an empty cell, nan, N/A, -1 and their like."""
    return word.lower() in UNKNOWN or whole_number(word) == JUNK


def read_integer(where: str, word: str) -> int | None:
    """The integer of a cell, or None for one that is unknown; `where` begins the InputError for another word."""
    if is_unknown(word):
        return None
    number = whole_number(word)
    if number is None or abs(number) > LARGEST:
        raise InputError(f"{where}: wanted an integer, found {word!r}")
    return number


def read_codes(words: Iterable[str]) -> list[int | None]:
    """Labels as integers. Whole numbers keep their value; names, in sorted order, get the least numbers left free."""
    words = list(words)
    numbers = {word: None if is_unknown(word) else whole_number(word) for word in set(words)}
    # A number beyond 64 bits, as trackers give, is a name; all its spellings are one.
    names = {
        word: word if number is None else str(number)
        for word, number in numbers.items()
        if not is_unknown(word) and (number is None or abs(number) > LARGEST)
    }
    taken = {number for word, number in numbers.items() if word not in names}
    codes, code = {}, 0
    for name in sorted(set(names.values())):
        while code in taken:
            code += 1
        codes[name] = code
        code += 1
    return [codes[names[word]] if word in names else numbers[word] for word in words]


def notes_on(where: str, words: Iterable[str]) -> list[str]:
    """What a user should be told of a column: words taken as unknown, and numbers with several spellings."""
    counts = Counter(word for word in words if word)
    notes, spellings = [], {}
    unknown = [word for word in counts if is_unknown(word)]
    if unknown:
        rows = sum(counts[word] for word in unknown)
        notes.append(f"{where}: {rows:,} rows are taken as unknown: {', '.join(sorted(unknown))}")
    for word in sorted(counts.keys() - set(unknown)):
        number = whole_number(word)
        if number is not None:
            spellings.setdefault(number, []).append(word)
    several = [" = ".join(found) for found in spellings.values() if len(found) > 1]
    if several:
        more = f" and {len(several) - SHOWN:,} more" if len(several) > SHOWN else ""
        notes.append(f"{where}: spellings of one number are one: {', '.join(several[:SHOWN])}{more}")
    return notes
