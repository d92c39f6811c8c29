"""A `folder` data set on disk that grows by one recording of a camera at a time."""

from __future__ import annotations

import contextlib
import csv
import fcntl
import os
import re
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import astuple, dataclass, fields
from pathlib import Path

from vreid_fast.errors import InputError
from vreid_fast.files import write_rows
from vreid_fast.rights import take_over

from ..formats.leftovers import is_left_behind
from ..formats.tables import require_file

TABLE, IMAGES = "tracklets.csv", "tracklets"


@dataclass(frozen=True)
class Row:
    """One tracklet of the table."""

    path: str
    """Relative to the table."""
    identity: int | str
    """Empty = unknown."""
    camera: int
    frames: int
    track: int
    first_frame: int
    """Of the video, from 0."""
    last_frame: int
    video: str = ""
    """The recording, as it was named."""
    fps: float | str = ""
    start: str = ""
    """Clock time of its frame 0, ISO 8601; empty = unknown, as of `fps`."""


COLUMNS = tuple(field.name for field in fields(Row))
LATER = ("video", "fps", "start")
"""Columns that a table of an earlier version may lack."""


class FolderWriter:
    """Adds the tracklets of a recording to a folder, all or none: `with FolderWriter(...) as writer`.

    Images are written to `writer.stage` NAME/*.jpg, beside what is there; `writer.finish(rows)` gives them their
    place and then the table its rows. Left before that, everything is as it was.

    Args:
        recording: names it among several of its camera; None = the only one so far.

    Raises:
        InputError: a folder with other things in it, or one that has the recording already, perhaps under another
            name.
    """

    def __init__(self, root: str | os.PathLike, camera: int, recording: str | None = None):
        self.root, self.camera, self.recording = Path(root), camera, recording
        self._prefix = f"camera{camera}_" + (f"{recording}_" if recording else "")
        self._own = re.compile(rf"{re.escape(self._prefix)}track\d+_\d+", re.ASCII)

    def name(self, track: int, number: int) -> str:
        """The name of a tracklet, the `number`-th of a track."""
        return f"{self._prefix}track{track}_{number}"

    def __enter__(self) -> FolderWriter:
        self._read()
        self.new = not self.root.exists()
        self.root.mkdir(parents=True, exist_ok=True)
        self.stage = Path(tempfile.mkdtemp(prefix=f".camera{self.camera}-", dir=self.root))
        return self

    def __exit__(self, *_) -> None:
        shutil.rmtree(self.stage, ignore_errors=True)
        if self.new:
            with contextlib.suppress(OSError):  # where it holds something
                self.root.rmdir()

    def path(self, name: str) -> str:
        """Where the tracklet `name` will be, relative to the table."""
        return f"{IMAGES}/{name}"

    def finish(self, rows: Sequence[Row]) -> list[str]:
        """Move the tracklets of `rows` to their place; the table, last, makes them part of the data set.

        Returns:
            What a user should be told.
        """
        with self._locked():
            before = self._read()
            if not (self.root / TABLE).exists():
                # Folders of images without any table would be read as unlabelled tracklets, too few of them perhaps.
                self._write([])
            home = self.root / IMAGES
            home.mkdir(exist_ok=True)
            for left_behind in filter(self._own.fullmatch, os.listdir(home)):  # by a run that was stopped just here
                shutil.rmtree(home / left_behind)
            for row in rows:
                os.rename(self.stage / Path(row.path).name, self.root / row.path)
            self._write([*before, *map(astuple, rows)])
        return self._same(before, rows)

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        """Two cameras that end at the same time change the table one after the other."""
        folder = os.open(self.root, os.O_RDONLY)
        try:
            fcntl.flock(folder, fcntl.LOCK_EX)
            yield
        finally:
            os.close(folder)

    def _read(self) -> list[list[str]]:
        """Rows of the table that is there."""
        file = self.root / TABLE
        if not file.exists():
            if self.root.exists() and not self.root.is_dir():
                raise InputError(f"{self.root}: wanted a folder, found a file")
            if self.root.exists() and not all(map(is_left_behind, os.listdir(self.root))):
                raise InputError(f"{self.root} holds files but no {TABLE}; wanted a new or an empty folder")
            return []
        require_file(file)
        try:
            with open(file, newline="", encoding="utf-8") as lines:
                header, *rows = filter(None, csv.reader(lines))
        except (OSError, ValueError, csv.Error) as error:
            raise InputError(f"{file}: not a readable table ({error})") from error
        if tuple(header) == COLUMNS[: -len(LATER)]:
            header, rows = COLUMNS, [[*row, *[""] * len(LATER)] for row in rows]
        if tuple(header) != COLUMNS or any(len(row) != len(COLUMNS) for row in rows):
            raise InputError(
                f"{file}: wanted the columns {','.join(COLUMNS)} of an earlier crop, found {','.join(header)}; "
                "write to a new folder"
            )
        if any(self._own.fullmatch(os.path.basename(row[COLUMNS.index("path")])) for row in rows):
            named = f"recording {self.recording} of camera" if self.recording else "camera"
            raise InputError(
                f"{self.root} holds {named} {self.camera} already; if this is another recording of that camera give it "
                "a name of its own with --recording, if it is another camera its number with --camera"
            )
        return rows

    def _same(self, before: Sequence[Sequence[str]], rows: Sequence[Row]) -> list[str]:
        """Notes on recordings of the camera that have the very same tracks and frames: added twice, perhaps."""
        facts = slice(COLUMNS.index("camera"), COLUMNS.index("video"))
        recordings: dict[str, set[tuple[str, ...]]] = {}
        for row in before:
            name = os.path.basename(row[COLUMNS.index("path")]).rpartition("_track")[0]
            recordings.setdefault(name, set()).add(tuple(row[facts]))
        own = {tuple(map(str, astuple(row)[facts])) for row in rows}
        return [
            f"tracks and frames are those of {name}, which was there already; was this recording added twice?"
            for name, known in recordings.items()
            if own == known
        ]

    def _write(self, rows: Sequence[Sequence]) -> None:
        new = self.stage / TABLE
        # Readers of data sets want UTF-8; what is none, as in the name of a video, becomes an escape.
        with open(new, "w", newline="", encoding="utf-8", errors="backslashreplace") as file:
            write_rows(file, [COLUMNS, *rows])
            file.flush()
            os.fsync(file.fileno())
        take_over(new, self.root / TABLE)
        os.replace(new, self.root / TABLE)
