"""The rows of a table, read from YAML, and the configuration of each."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from vreid_fast.config import Config, parse_command
from vreid_fast.config.yaml_text import read_yaml
from vreid_fast.errors import InputError
from vreid_fast.files import why_no_file

BUILT_IN = ("1", "1_full", "2", "3", "4", "clothes")
GIVEN = ("run", "seed", "synthetic_seed", "start", "resume")
"""Knobs that the ladder itself gives to each cell."""
SCORED = ("student", "student_camera")
CLOTHED = ("student_same_clothes", "student_clothes_change")
"""Scored too, where the target knows clothes."""
TARGET = "TARGET"
"""As the source of a row: the ladder's target."""


@dataclass(frozen=True)
class Row:
    """One line of a table: the knobs that it changes, and the row it begins from."""

    name: str
    knobs: dict[str, object]
    after: str | None
    """The row whose last checkpoint it begins with; None for a first stage."""
    published: dict[str, list[float]]
    """The paper's rank-1 and mAP in per cent, by data set."""


@dataclass(frozen=True)
class Difference:
    """Row minus row, by name; `of` are the score rows it is taken of."""

    name: str
    row: str
    minus: str
    of: tuple[str, ...]


@dataclass(frozen=True)
class Table:
    """The rows of a ladder, first stages before the others."""

    name: str
    title: str
    rows: dict[str, Row]
    differences: list[Difference]
    needs: tuple[str, ...] = ()
    """Knobs that the user must give."""
    notes: tuple[str, ...] = ()
    """Lines for who reads it."""

    def only(self, names: Sequence[str]) -> Table:
        """The table of these rows and of those that they begin from.

        Raises:
            InputError: a row that does not exist.
        """
        kept: set[str | None] = {None}
        for name in names:
            if name not in self.rows:
                raise InputError(f"--rows {name}: table {self.name} has no such row; it has {', '.join(self.rows)}")
            while name not in kept:
                kept.add(name)
                name = self.rows[name].after
        rows = {name: row for name, row in self.rows.items() if name in kept}
        return replace(self, rows=rows, differences=[d for d in self.differences if {d.row, d.minus} <= kept])


def read_table(name: str) -> Table:
    """The table 1, 1_full, 2 or 3, numbered as the paper's, 4, beyond it, clothes, or that of a YAML file as
    table2.yaml.

    Raises:
        InputError: no such file, or what is wrong in it, with the row.
    """
    path = Path(__file__).with_name(f"table{name}.yaml") if name in BUILT_IN else Path(name)
    if why := why_no_file(name if name not in BUILT_IN else path):
        raise InputError(f"--table {name}: {why}; wanted {', '.join(BUILT_IN)} or a YAML file")
    try:
        content = read_yaml(path)
        return _table(name if name in BUILT_IN else path.name, **_known(content, _KEYS, "the table"))
    except InputError as error:
        raise InputError(f"--table {name}: {error}; see vreid_fast/ladder/table2.yaml") from error


_KEYS = ("title", "needs", "notes", "starts", "rows", "differences")


def _table(name: str, title: str = "", needs=(), notes=(), starts=None, rows=None, differences=None) -> Table:
    starts = {
        start: {**_knobs(start, knobs), "method": "source", "stages": "source"}
        for start, knobs in _mapping("starts", starts or {"start": {}}).items()
    }
    entries = _mapping("rows", rows)
    if both := starts.keys() & entries.keys():
        raise InputError(f"row {min(both)}: a first stage has that name; give another")
    if not entries:
        raise InputError("rows: wanted at least one, found none")
    found = {start: Row(start, knobs, None, {}) for start, knobs in starts.items()}
    left = {row: _entry(row, entry, starts) for row, entry in entries.items()}
    while left:
        ready = [row for row, (after, *_) in left.items() if after in found]
        if not ready:
            row, (after, *_) = next(iter(left.items()))
            raise InputError(f"row {row}: after {after}: {'a circle' if after in left else 'there is no such row'}")
        for row in ready:
            after, knobs, published = left.pop(row)
            first = found[after]
            while first.after:
                first = found[first.after]
            inherited = {knob: value for knob, value in first.knobs.items() if knob not in ("method", "stages")}
            found[row] = Row(row, {**inherited, **knobs}, after, published)
    ordered = {row: found[row] for row in (*starts, *entries)}
    named = [_difference(one, entry, ordered) for one, entry in _mapping("differences", differences or {}).items()]
    if not isinstance(notes, list | tuple):
        raise InputError(f"notes: wanted a list of lines, found {notes!r}")
    return Table(name, str(title or name), ordered, named, tuple(needs), tuple(map(str, notes)))


def _entry(row: str, entry: object, starts: dict) -> tuple[str, dict, dict]:
    """The row that a row begins from, the knobs it changes and the paper's figures."""
    knobs = _knobs(row, entry)
    after = knobs.pop("after", next(iter(starts)) if len(starts) == 1 else None)
    if after is None:
        raise InputError(f"row {row}: after: wanted one of the first stages {', '.join(starts)}, or a row")
    published = knobs.pop("published", {})
    pairs = published.values() if isinstance(published, dict) else [None]
    if not all(isinstance(p, list) and len(p) == 2 and all(isinstance(n, int | float) for n in p) for p in pairs):
        raise InputError(f"row {row}: published: wanted DATA SET: [rank-1, mAP], found {published!r}")
    return after, knobs, published


def _knobs(row: str, knobs: object) -> dict:
    if not isinstance(row, str) or not re.fullmatch(r"\w+", row, re.ASCII):
        raise InputError(f"row {row!r}: wanted a name of letters, digits and underscores")
    if not isinstance(knobs, dict):
        raise InputError(f"row {row}: wanted knobs, such as {{l1s: 0}}, found {knobs!r}")
    if given := [knob for knob in knobs if knob in GIVEN]:
        raise InputError(f"row {row}: {given[0]}: the ladder sets it; take it out")
    return dict(knobs)


def _difference(name: object, entry: object, rows: dict[str, Row]) -> Difference:
    where = f"difference {name}"
    if not isinstance(entry, dict) or not {"row", "minus"} <= entry.keys():
        raise InputError(f"{where}: wanted {{row: ROW, minus: ROW}}, found {entry!r}")
    entry = _known(entry, ("row", "minus", "of"), where)
    for side in ("row", "minus"):
        if entry[side] not in rows:
            raise InputError(f"{where}: {side} {entry[side]}: there is no such row")
    of = entry.get("of")
    if of is not None and of not in (*SCORED, *CLOTHED):
        raise InputError(f"{where}: of: wanted {' or '.join((*SCORED, *CLOTHED))}, found {of!r}")
    return Difference(str(name), entry["row"], entry["minus"], (of,) if of else SCORED)


def _mapping(key: str, value: object) -> dict:
    if not isinstance(value, dict):
        raise InputError(f"{key}: wanted a mapping of names, found {value!r}")
    return value


def _known(entry: dict, keys: Iterable[str], where: str) -> dict:
    for key in entry:
        if key not in keys:
            raise InputError(f"{key}: {where} has no such key; it takes {', '.join(keys)}")
    return entry


def configure(table: Table, words: Sequence[str]) -> tuple[Config, dict[str, Config]]:
    """The knobs of a command line, and those of each row on top of them.

    Raises:
        InputError: a knob that does not exist or a value it cannot take, with the row.
    """
    for word in words:
        if word.startswith("--") and word[2:].partition("=")[0] in GIVEN:
            raise InputError(f"{word}: the ladder gives it to each cell; leave it out (seeds: --first_seed, --seeds)")
    base, _ = parse_command(words)
    if missing := [f"--{knob}" for knob in table.needs if base.knobs()[knob] == Config().knobs()[knob]]:
        raise InputError(f"--table {table.name} needs {' and '.join(missing)}")
    if base.data.split == "all":
        raise InputError("--split all: a ladder takes one split; give its number, and a --run for each")
    configs = {}
    for name, row in table.rows.items():
        try:
            configs[name], _ = parse_command([*words, *(_word(*knob, base.data.target) for knob in row.knobs.items())])
        except InputError as error:
            raise InputError(f"row {name}: {error}") from None
    return base, configs


def _word(knob: str, value: object, target: str) -> str:
    if knob == "source" and value == TARGET:
        value = target
    return f"--{knob}={value if isinstance(value, str) else json.dumps(value)}"
