"""What a ladder's folder was made with, in its ladder.yaml: table, knobs, rows and machines."""

from __future__ import annotations

from pathlib import Path

import yaml

from vreid_fast.config import Config
from vreid_fast.errors import InputError
from vreid_fast.files import write_text

from .rows import GIVEN, Table

FREE = {*GIVEN, "threads"}
"""Knobs that may differ from one call to the next: those of a cell, and how fast it goes."""


def open_run(run: Path, table: Table, base: Config) -> None:
    """Make the folder of a ladder; one that holds cells must be of the same table, knobs and rows, or lack some rows.

    Raises:
        InputError: it is of another ladder; what differs is named. Or it cannot be made.
    """
    try:
        run.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"--run {run}: cannot be made ({error.strerror}); give a folder that can be written") from None
    knobs = {knob: value for knob, value in _plain(base).items() if knob not in FREE}
    rows = {name: {"after": row.after, **row.knobs} for name, row in table.rows.items()}
    saved = _read(run) if any(run.glob("seed*/*/last.pt")) else {}
    if saved:
        defaults = _plain(Config())  # of knobs that are newer than the folder
        known = {knob: saved["knobs"].get(knob, defaults[knob]) for knob in knobs}
        different = [f"table {saved['table']}, not {table.name}"] if saved["table"] != table.name else []
        different += [f"--{knob} {known[knob]}, not {value}" for knob, value in knobs.items() if known[knob] != value]
        different += [
            f"row {name} with {saved['rows'][name]}, not {row}"
            for name, row in rows.items()
            if saved["rows"].get(name, row) != row
        ]
        if different:
            raise InputError(f"--run {run} holds another ladder: {'; '.join(different)}; give another --run")
    rows = {**saved.get("rows", {}), **rows}
    _write(run, {"machines": [], **saved, "table": table.name, "knobs": knobs, "rows": rows})


def note_machine(run: Path, machine: str) -> None:
    """Keep the words for a machine that trains cells of a ladder."""
    saved = _read(run)
    if machine not in saved["machines"]:
        _write(run, {**saved, "machines": [*saved["machines"], machine]})


def machines(run: Path) -> list[str]:
    return _read(run)["machines"]


def _plain(config: Config) -> dict:
    return yaml.safe_load(config.to_yaml())


def _read(run: Path) -> dict:
    path = run / "ladder.yaml"
    return yaml.safe_load(path.read_text()) if path.exists() else {}


def _write(run: Path, content: dict) -> None:
    write_text(run / "ladder.yaml", yaml.safe_dump(content, sort_keys=False))
