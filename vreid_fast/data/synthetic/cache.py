"""A rendered data set on disk: a tree of tracklet folders beside one index file, complete or absent.

PPPPCkTtttt/Ffff.jpg, and tracklets.csv with path, identity, camera, frames, split and, where people change
them, clothes: the layout that the `folder` format reads.
"""

import contextlib
import csv
import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

from vreid_fast.errors import InputError
from vreid_fast.rights import open_tree

from .rows import Row

INDEX = "tracklets.csv"


def cache_folder(cache: str | os.PathLike | None) -> Path:
    """The folder for rendered data: `cache`, or vreid_fast in the user's cache folder."""
    if cache is not None:
        return Path(cache).expanduser()
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "vreid_fast"


def cached_tree(folder: Path, rows: list[Row], write: Callable[[Path], None]) -> Path:
    """`folder`, holding the tracklets of `rows`; `write(path)` fills a new one unless a complete one is there.

    The tree is written beside its final place and renamed when whole, so an interrupted or failed run
    leaves nothing behind under the final name, and of two processes that race the second keeps the
    first one's tree. Raises InputError where the folder cannot be written or the disk is full.
    """
    if _complete(folder, rows):
        return folder
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        building = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    except OSError as error:
        raise _unwritable(folder.parent, error) from None
    try:
        write(building)
        _write_index(building / INDEX, rows)
        open_tree(building)  # nobody is in the pictures, and users may share a cache
        _take_place(building, folder, rows)
    except OSError as error:
        raise _unwritable(folder.parent, error) from error
    finally:
        shutil.rmtree(building, ignore_errors=True)
    return folder


def _complete(folder: Path, rows: list[Row]) -> bool:
    try:
        with open(folder / INDEX, newline="", encoding="utf-8") as file:
            found = [tuple(line) for line in csv.reader(file)]
        columns = _columns(rows)
        wanted = [columns, *(tuple(str(getattr(row, name)) for name in columns) for row in rows)]
        return found == wanted and all(len(os.listdir(folder / row.path)) == row.frames for row in rows)
    except (OSError, UnicodeDecodeError, csv.Error):
        return False


def _write_index(path: Path, rows: list[Row]) -> None:
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        columns = _columns(rows)
        writer.writerow(columns)
        writer.writerows([getattr(row, name) for name in columns] for row in rows)


def _columns(rows: list[Row]) -> tuple[str, ...]:
    dressed = any(row.clothes is not None for row in rows)
    return ("path", "identity", "camera", "frames", "split", *(("clothes",) if dressed else ()))


def _take_place(building: Path, folder: Path, rows: list[Row]) -> None:
    damaged = building.with_name(building.name + "-damaged")
    try:
        if not _complete(folder, rows):
            with contextlib.suppress(FileNotFoundError):
                folder.rename(damaged)
        building.rename(folder)
    except OSError:
        if not _complete(folder, rows):  # complete: another process was faster, with the same frames
            raise
    finally:
        shutil.rmtree(damaged, ignore_errors=True)


def _unwritable(folder: Path, error: OSError) -> InputError:
    reason = error.strerror or str(error)
    return InputError(
        f"cache: cannot write the synthetic data to {folder} ({reason}); "
        "give a writable folder with enough room by --synthetic_cache, or set XDG_CACHE_HOME"
    )
