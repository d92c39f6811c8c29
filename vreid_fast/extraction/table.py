"""The table of a folder of features, which an index has too: a row of what is known for each vector."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from datetime import datetime
from pathlib import Path

from vreid_fast.errors import InputError
from vreid_fast.files import replacing, write_rows

TABLES = ("tracklets.csv", "tracklets.parquet")


@dataclass(frozen=True)
class Row:
    """What is known of a tracklet; None or an empty text = unknown."""

    row: int
    """Of its vector."""
    path: str
    """Of its images or video, from the data set's folder on; tells it from all others."""
    camera: int | None = None
    identity: int | None = None
    split: str = ""
    """train, query and gallery, joined by |."""
    video: str = ""
    """The recording that it was cut from."""
    first_frame: int | None = None
    last_frame: int | None = None
    start: datetime | None = None
    end: datetime | None = None
    """When its first and its last frame were taken."""

    @property
    def name(self) -> str:
        """The last part of the path."""
        return self.path.rstrip("/").rpartition("/")[2]

    @property
    def origin(self) -> Row:
        """What tells the tracklet from others of its data; labels, splits and the order may change."""
        return replace(self, row=0, identity=None, split="")


COLUMNS = tuple(field.name for field in fields(Row))


def read_table(path: Path) -> list[Row]:
    """Rows of tracklets.csv or tracklets.parquet. Raises InputError for one that does not hold."""
    try:
        if path.suffix == ".parquet":
            import pyarrow.parquet

            table = pyarrow.parquet.read_table(path)
            _check_columns(table.column_names)
            rows = [Row(**row) for row in table.to_pylist()]
        else:
            with open(path, newline="", encoding="utf-8", errors="surrogateescape") as file:
                reader = csv.reader(file)
                _check_columns(next(reader, []))
                rows = [_row(cells) for cells in reader if cells]
        if [row.row for row in rows] != list(range(len(rows))):
            raise ValueError("rows are not numbered 0, 1, 2, ...")
        return rows
    except (OSError, ValueError, TypeError, KeyError, csv.Error) as error:
        raise InputError(f"{path}: not a table that extract wrote ({error}); extract again") from error


def write_table(rows: Sequence[Row], path: Path) -> None:
    """Write rows as CSV or Parquet, by the ending, all or none; InputError for names that Parquet does not hold."""
    if path.suffix == ".csv":
        write_csv(rows, path)
        return
    import pyarrow
    import pyarrow.parquet

    try:
        table = pyarrow.table({column: [getattr(row, column) for row in rows] for column in COLUMNS})
    except UnicodeEncodeError as error:
        raise InputError(f"--table parquet: {error.object} is no UTF-8, which Parquet wants; take csv") from error
    with replacing(path) as file:
        pyarrow.parquet.write_table(table, file)


def write_csv(rows: Sequence[Row], path: Path) -> None:
    """Write rows as `read_table` reads them, all or none."""
    with replacing(path) as file:
        text = io.TextIOWrapper(file, "utf-8", errors="surrogateescape", newline="")
        write_rows(text, [COLUMNS])
        write_rows(text, ([_cell(getattr(row, column)) for column in COLUMNS] for row in rows))
        text.detach()


def _cell(value: object) -> object:
    if value is None:
        return ""
    return value.isoformat() if isinstance(value, datetime) else value


def _check_columns(names: Sequence[str]) -> None:
    if tuple(names) != COLUMNS:
        raise ValueError(f"columns {', '.join(names)}, wanted {', '.join(COLUMNS)}")


def _row(values: Sequence[str]) -> Row:
    if len(values) != len(COLUMNS):
        raise ValueError(f"row {values[0]} has {len(values)} cells, wanted {len(COLUMNS)}")
    cells = dict(zip(COLUMNS, values, strict=True))

    def number(column: str) -> int | None:
        return int(cells[column]) if cells[column] else None

    def clock(column: str) -> datetime | None:
        return datetime.fromisoformat(cells[column]) if cells[column] else None

    return Row(
        int(cells["row"]), cells["path"], number("camera"), number("identity"), cells["split"], cells["video"],
        number("first_frame"), number("last_frame"), clock("start"), clock("end"),
    )  # fmt: skip
