"""Listings of folders: which files of a tracklet are its frames, in temporal order, and which folders count."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterable, Sequence

from vreid_fast.errors import InputError

from .frame_order import in_order
from .remarks import Remarks

IMAGES = (
    ".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff", ".ppm", ".jfif", ".jpe", ".pgm", ".pbm", ".pnm", ".jp2",
    ".avif",
)  # fmt: skip
"""Endings of what is read as a frame; the content decides how. Among equally many, the first is taken of doubles."""
OTHER_IMAGES = (
    ".heic", ".heif", ".gif", ".jxl", ".tga", ".pcx", ".ico", ".exr", ".hdr", ".dng", ".raw", ".cr2", ".nef",
    ".arw", ".psd", ".svg", ".jxr", ".j2k", ".jpf", ".apng", ".mpo",
)  # fmt: skip
"""Endings of images that are not read; a folder of nothing else is worth a note."""

VIDEOS = (
    ".mp4", ".avi", ".mkv", ".webm", ".mov", ".m4v", ".ts", ".mts", ".m2ts", ".mpg", ".mpeg", ".vob", ".m2v", ".mxf",
    ".wmv", ".asf", ".flv", ".3gp", ".ogv", ".y4m", ".ivf", ".h264", ".264", ".hevc", ".h265", ".265",
)  # fmt: skip


def natural_key(name: str) -> tuple:
    """Sort key in which numbers count as numbers: F2 before F10."""
    parts = re.split(r"(\d+)", name, flags=re.ASCII)
    return [int(part) if odd % 2 else part for odd, part in enumerate(parts)], name


def named(name: str, endings: tuple[str, ...]) -> bool:
    """Whether a file has one of the endings, in small letters or capitals, and is not hidden."""
    return name.lower().endswith(endings) and not name.startswith(".")


def with_ending(names: Sequence[str], endings: tuple[str, ...]) -> list[str]:
    """The names that are `named`; fast where all names of a folder have one ending, or none of the wanted."""
    if not any(ending.endswith(endings) for ending in {name[name.rfind(".") :].lower() for name in names}):
        return []
    return [name for name in names if named(name, endings)]


def frames_of(folder: str | os.PathLike, names: Sequence[str], remarks: Remarks) -> list[str]:
    """The frames among the names of a folder's files, in temporal order; what else is there is remarked on."""
    images = with_ending(names, IMAGES)
    if len(images) < len(names):
        others = sorted(set(names).difference(images))
        if images or any(named(name, OTHER_IMAGES) for name in others):
            remarks.unread(folder, others)
        else:
            remarks.system_files(others)
    return ordered(folder, _without_doubles(folder, images, remarks), remarks) if images else []


def ordered(folder: str | os.PathLike, images: Sequence[str], remarks: Remarks) -> list[str]:
    """Images of a tracklet in temporal order; what had to be assumed is remarked on."""
    order = in_order(images)
    if order.assumed:
        remarks.count(f"folders of frames whose names are taken for {order.assumed}", os.fspath(folder))
    if order.doubled:
        remarks.count(
            "images have all numbers of another's name and are read as frames of their own",
            os.path.join(folder, order.doubled),
            order.doubles,
        )
    return order.names


def _without_doubles(folder: str | os.PathLike, images: list[str], remarks: Remarks) -> list[str]:
    """Images without those that have the name of another and an ending that fewer have: masks, say."""
    if len({name[name.rfind(".") :] for name in images}) < 2:
        return images
    pairs = [(name, *os.path.splitext(name.lower())) for name in images]
    endings = Counter(ending for *_, ending in pairs)
    rank = {ending: (-count, IMAGES.index(ending)) for ending, count in endings.items()}
    best: dict[str, tuple] = {}
    for _, stem, ending in pairs:
        best[stem] = min(best.get(stem, rank[ending]), rank[ending])
    kept = [name for name, stem, ending in pairs if rank[ending] == best[stem]]
    if len(kept) < len(images):
        first = min(name for name, stem, ending in pairs if rank[ending] != best[stem])
        remarks.count(
            "images beside one of the same name with a more frequent ending are left out",
            os.path.join(folder, first),
            len(images) - len(kept),
        )
    return kept


def list_files(folder: str | os.PathLike, entries: Iterable[os.DirEntry], remarks: Remarks) -> list[str]:
    """Names of the files among entries of a folder.

    An image or video that is a link to nowhere is one too: it will be named as missing. Pipes, sockets and devices
    are left out, never opened: reading one may wait for ever.
    """
    names = []
    for entry in entries:
        if entry.is_file(follow_symlinks=False):
            names.append(entry.name)
            continue
        path = os.path.join(folder, entry.name)
        if entry.is_symlink():
            if is_folder(entry):
                continue
            remarks.link(path)
        if is_file(entry):
            names.append(entry.name)
        elif entry.is_symlink() and not os.path.exists(path):
            if named(entry.name, IMAGES + VIDEOS):
                names.append(entry.name)
            else:
                remarks.count("links that lead nowhere are left out", path)
        elif not is_folder(entry):
            remarks.count("pipes, sockets or devices are left out", path)
    return names


def list_images(folder: str | os.PathLike, where: str, remarks: Remarks) -> list[str]:
    """Names of a directory's images in temporal order; `where` begins the InputError for one without any."""
    remarks.link(os.fspath(folder))
    try:
        with os.scandir(folder) as entries:
            names = frames_of(folder, list_files(folder, entries, remarks), remarks)
    except OSError as error:
        raise InputError(f"{where}: no folder {folder} ({error.strerror})") from None
    if not names:
        raise InputError(f"{where}: {folder} holds no images ({' '.join(IMAGES)})")
    return names


def list_folders(folder: str | os.PathLike, where: str, remarks: Remarks) -> list[str]:
    """Names of a directory's directories, sorted; hidden ones and what systems leave behind are left out."""
    try:
        with os.scandir(folder) as entries:
            listing = [(entry.name, is_folder(entry), entry.is_symlink()) for entry in entries]
    except OSError as error:
        raise InputError(f"{where}: no folder {folder} ({error.strerror})") from None
    remarks.system_files(name for name, below, _ in listing if not below)
    found = sorted((name, link) for name, below, link in listing if below and not remarks.leaves_out(name))
    for name, link in found:
        if link:
            remarks.link(os.path.join(folder, name))
    return [name for name, _ in found]


def is_folder(entry: os.DirEntry) -> bool:
    """Whether an entry is a folder or a link to one; a link that leads nowhere, or to itself, is none."""
    try:
        return entry.is_dir()
    except OSError:
        return False


def is_file(entry: os.DirEntry) -> bool:
    """Whether an entry is a regular file or a link to one; never raises, as `is_folder`."""
    try:
        return entry.is_file()
    except OSError:
        return False
