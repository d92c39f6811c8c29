"""One's own tracklets: folders of images and video files, with or without a tracklets.csv."""

from __future__ import annotations

import csv
import os
from collections.abc import Iterable
from pathlib import Path

from vreid_fast.errors import InputError
from vreid_fast.files import absence

from ..reading.video import contents, probe
from ..sighting import Sighting, check_clocks, read_clock, read_fps
from ..tracklets import Dataset, FramePaths, Tracklet, Unreadable
from .labels import notes_on, read_codes, read_integer
from .listing import IMAGES, VIDEOS, frames_of, list_images, named, natural_key, with_ending
from .remarks import Remarks
from .tables import inside, require_file
from .tree import walk

TABLE = "tracklets.csv"
REQUIRED = ("path", "identity", "camera")
SUBSETS = ("train", "query", "gallery")
MOST_REASONS = 3
"""Notes on what was left out that an error tells, where nothing else is there."""


def read_folder(path: str) -> Dataset:
    """Read the tracklets below a folder.

    With PATH/tracklets.csv each row is a tracklet: `path` (a folder of images or a video, relative to PATH),
    `identity` (integers, or any words), `camera` (integer), and optionally `clothes` (as identity), `frames`
    (checked) and `split` (any of train, query and gallery, joined by |; all three when empty). A row that has
    `video`, `first_frame` and `last_frame` (from 0), as `crop` writes, has a `Sighting`; `fps` and `start` (ISO 8601)
    give it a clock. An empty cell
    is unknown, and so are nan, N/A, -1 and their like (`labels`); a tracklet of unknown identity is for training
    only. Other columns are ignored. Without the table, every folder that holds images and no folders, and every
    video, is an unlabelled training tracklet. What systems leave in folders (`leftovers`) is left out and noted.

    Frames are in the order that their names mean (`frame_order`), whatever the file system says.

    Raises:
        InputError: no such folder, no tracklets, or a table that does not hold. Tracklets that cannot be read at
            all, such as broken videos, are `unreadable` in what is returned.
    """
    root = Path(path)
    if not root.is_dir():
        raise InputError(f"folder:{path}: wanted a folder, found {'a file' if root.exists() else 'nothing'}")
    if os.path.lexists(root / TABLE):
        return _read_labelled(f"folder:{path}", root)
    tracklets, unreadable, notes = _find_tracklets(f"folder:{path}", root)
    if not tracklets and not unreadable:
        why = "".join(f"; {note}" for note in notes[:MOST_REASONS])
        endings = f"images ({' '.join(IMAGES)}) and no videos ({' '.join(VIDEOS)})"
        raise InputError(f"folder:{path}: no {endings} below it{why}")
    notes.append(f"folder:{path} has no {TABLE}: its tracklets are unlabelled and nothing can be scored")
    notes += _on_videos(f"folder:{path}", tracklets)
    return Dataset(f"folder:{path}", tracklets, [], [], tuple(notes), unreadable=tuple(unreadable))


def _find_tracklets(spec: str, root: Path) -> tuple[list[Tracklet], list[Unreadable], list[str]]:
    tracklets, unreadable, notes, remarks = [], [], [], Remarks(spec, root)
    folders, of_walk = walk(root, remarks)
    for folder in folders:
        videos = sorted(with_ending(folder.files, VIDEOS), key=natural_key)
        others = list(set(folder.files).difference(videos)) if videos else folder.files
        images = frames_of(folder.path, others, remarks)
        if images and folder.folders:
            notes.append(f"{folder.path}: {len(images)} images beside folders are no tracklet and are left out")
        elif images:
            tracklets.append(Tracklet(FramePaths(folder.path, images)))
        for video in videos:
            path = os.path.join(folder.path, video)
            try:
                tracklets.append(_video(path))
            except InputError as error:
                unreadable.append(Unreadable(path, str(error)))
    return tracklets, unreadable, [*notes, *of_walk, *remarks.notes()]


def _video(path: str, **known) -> Tracklet:
    return Tracklet(range(probe(path).frames), video=path, **known)


def _on_videos(spec: str, tracklets: Iterable[Tracklet]) -> tuple[str, ...]:
    """A note on files that hold several videos, and one on those of which fewer frames come out than are counted."""
    videos = [tracklet for tracklet in tracklets if tracklet.video is not None]
    several = [tracklet.video for tracklet in videos if contents(tracklet.video).streams > 1]
    notes = ()
    if several:
        those = "1 file holds" if len(several) == 1 else f"{len(several)} files hold"
        notes = (f"{spec}: {those} several videos, as {several[0]}: the default one is read, else the largest",)
    found = [(tracklet, contents(tracklet.video).promised) for tracklet in videos]
    found = [(tracklet, promised) for tracklet, promised in found if len(tracklet) < promised]
    if not found:
        return notes
    (first, promised), those = found[0], "1 video has" if len(found) == 1 else f"{len(found)} videos have"
    return (
        *notes,
        f"{spec}: {those} fewer frames than the header counts, as {first.video}: {len(first)} of {promised} come out "
        "(the others are hidden by an edit list, were dropped, or the file is cut short)",
    )


def _read_labelled(spec: str, root: Path) -> Dataset:
    rows, comments = _read_rows(root / TABLE)
    words = {column: [row.get(column, "") for _, row in rows] for column in ("identity", "camera", "clothes")}
    identities, clothes = read_codes(words["identity"]), read_codes(words["clothes"])
    subsets: dict[str, list[Tracklet]] = {subset: [] for subset in SUBSETS}
    seen: dict[str, int] = {}
    remarks, unreadable = Remarks(spec, root), []
    for (line, row), identity, outfit in zip(rows, identities, clothes):
        where = f"{root / TABLE}: row {line}"
        camera = _number(where, "camera", row)
        path = _path(where, root, row, seen, line)
        own = _subsets(where, row, identity)
        known = {"identity": identity, "camera": camera, "clothes": outfit, "sighting": _sighting(where, row)}
        try:
            tracklet = _tracklet(where, path, row, remarks, **known)
        except InputError as error:
            unreadable.append(Unreadable(path, str(error)))
            continue
        for subset in own:
            subsets[subset].append(tracklet)
    notes = [f"{spec}: {TABLE}: {comments:,} lines that begin with # are left out, as comments"] if comments else []
    notes += [note for column in words for note in notes_on(f"{spec}: {TABLE}, column {column}", words[column])]
    if identities.count(None) == len(identities):
        notes.append(f"{spec}: {TABLE} gives no identities: nothing can be scored")
    every = {id(tracklet): tracklet for subset in subsets.values() for tracklet in subset}
    check_clocks(f"{root / TABLE}, column start", (tracklet.sighting for tracklet in every.values()))
    notes += [*remarks.notes(), *_on_videos(spec, every.values())]
    return Dataset(spec, *subsets.values(), tuple(notes), unreadable=tuple(unreadable))


def _read_rows(file: Path) -> tuple[list[tuple[int, dict[str, str]]], int]:
    """(line number, cells by column) of the rows of a table, and how many lines are comments."""
    require_file(file)
    try:
        with open(file, newline="", encoding="utf-8-sig") as lines:
            reader = csv.reader(lines)
            every = [(reader.line_num, [cell.strip() for cell in cells]) for cells in reader if any(cells)]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{file}: not a readable table ({error})") from error
    first = next((place for place, (_, cells) in enumerate(every) if not cells[0].startswith("#")), len(every))
    columns = every[first][1] if every[first:] else []
    rows = every[first + 1 :]
    missing = [name for name in REQUIRED if name not in columns]
    if missing:
        raise InputError(
            f"{file}: no column {', '.join(missing)}; wanted {', '.join(REQUIRED)} (unknown identities and "
            f"cameras are left empty), found {', '.join(columns) or 'nothing'}"
        )
    twice = [name for name in columns if name and columns.count(name) > 1]
    if twice:
        raise InputError(f"{file}: column {twice[0]} is there twice")
    below = len(rows)
    rows = [(line, cells) for line, cells in rows if not _is_comment(file, columns, cells)]
    for line, cells in rows:
        if len(cells) != len(columns):
            raise InputError(f"{file}: row {line} has {len(cells)} cells, the header {len(columns)}")
    if not rows:
        raise InputError(f"{file}: no rows below the header")
    return [(line, dict(zip(columns, cells))) for line, cells in rows], first + below - len(rows)


def _is_comment(file: Path, columns: list[str], cells: list[str]) -> bool:
    """Whether a line is one; names of folders may begin with # too, so that a row is what names something there."""
    if not cells[0].startswith("#"):
        return False
    return len(cells) != len(columns) or not os.path.lexists(file.parent / cells[columns.index("path")])


def _number(where: str, column: str, row: dict) -> int | None:
    return read_integer(f"{where}, column {column}", row.get(column, ""))


def _sighting(where: str, row: dict) -> Sighting | None:
    first, last = _number(where, "first_frame", row), _number(where, "last_frame", row)
    if not row.get("video") or first is None or last is None:
        return None
    if not 0 <= first <= last:
        raise InputError(f"{where}: wanted 0 <= first_frame <= last_frame, found {first} and {last}")
    return Sighting(
        row["video"], first, last, read_fps(f"{where}, column fps", row.get("fps", "")),
        read_clock(f"{where}, column start", row.get("start", "")),
    )  # fmt: skip


def _path(where: str, root: Path, row: dict, seen: dict[str, int], line: int) -> str:
    path = inside(root, row["path"], f"{where}, column path")
    if seen.setdefault(path, line) != line:
        raise InputError(f"{where}, column path: {row['path']} is already in row {seen[path]}")
    return path


def _tracklet(where: str, path: str, row: dict, remarks: Remarks, **known) -> Tracklet:
    if os.path.isfile(path) and named(os.path.basename(path), IMAGES):
        raise InputError(f"{where}, column path: wanted a folder of images or a video, found the image {path}")
    if os.path.isfile(path):
        remarks.link(path)
        tracklet = _video(path, **known)
    elif os.path.isdir(path):
        tracklet = Tracklet(FramePaths(path, list_images(path, f"{where}, column path", remarks)), **known)
    else:
        raise InputError(f"{where}, column path: no folder or video {path}; it {absence(path) or 'is something else'}")
    frames = _number(where, "frames", row)
    if frames is not None and frames != len(tracklet):
        raise InputError(f"{where}, column frames: {frames} there, but {path} has {len(tracklet)}")
    return tracklet


def _subsets(where: str, row: dict, identity: int | None) -> list[str]:
    words = [word.strip() for word in row.get("split", "").split("|") if word.strip()]
    for word in words:
        if word not in SUBSETS:
            raise InputError(f"{where}, column split: wanted {', '.join(SUBSETS)} joined by |, found {word!r}")
    if identity is None:
        if set(words) - {"train"}:
            given = f", {row['identity']!r} is none" if row["identity"] else ", the row has none"
            raise InputError(f"{where}, column split: {'|'.join(words)} needs an identity{given}")
        return ["train"]
    return [subset for subset in SUBSETS if not words or subset in words]
