"""Data sets and clips: `read_dataset` turns a SPEC into tracklets, `reading.loader.Loader` those into batches."""

from __future__ import annotations

import inspect
import os
from os import PathLike

from vreid_fast.errors import InputError

from .formats import FORMATS
from .pieces import in_pieces
from .reading.images import read_frames
from .tracklets import Dataset, Tracklet, identity_labels

__all__ = ["FORMATS", "Dataset", "Tracklet", "identity_labels", "read_dataset", "read_frames"]


def read_dataset(
    spec: str, *, seed: int = 0, cache: str | PathLike | None = None, split: int = 0,
    mars_gallery: str = "with_query", authors_pieces_train: int = 0, authors_pieces_test: int = 0,
    keep_unreadable: bool = False,
) -> Dataset:  # fmt: skip
    """Read the data set of a SPEC.

    Args:
        spec: `synthetic`, `synthetic:STYLE`, `synthetic:STYLE+WORD` or `FORMAT:PATH` with a format of `FORMATS`.
        seed: of the synthetic people.
        cache: folder for rendered synthetic images; None = the user's cache folder.
        split: which of the format's splits into training and test, where it has several (`Dataset.splits`).
        mars_gallery: "with_query" (the official protocol) or "without_query".
        authors_pieces_train, authors_pieces_test: cut tracklets into pieces of so many frames, as the paper's
            authors do with some data sets; 0 = leave them whole. See `pieces.in_pieces`.
        keep_unreadable: return a data set with tracklets that cannot be read at all; they are its `unreadable`.

    Raises:
        InputError: an unknown format, no such path, data that is not what the format says, no such split, or
            tracklets that cannot be read at all.
    """
    known = f"known: synthetic, synthetic:STYLE, {', '.join(f'{name}:PATH' for name in FORMATS)}"
    name, _, rest = spec.partition(":")
    if name != "synthetic" and name not in FORMATS:
        hint = f"; for the tracklets in this folder say folder:{spec}" if os.path.isdir(spec) else ""
        raise InputError(f"data {spec!r}: unknown format {name!r}; {known}{hint}")
    if split and not _takes(name, "split"):
        raise InputError(f"--split {split}: {spec} has one split; leave --split out")
    if name == "synthetic":
        from .synthetic import read_synthetic

        data = read_synthetic(rest or "source", seed, cache)
    else:
        if not rest:
            raise InputError(f"data {spec!r}: wanted {name}:PATH, found no path; {known}")
        if name == "pack" and mars_gallery != "with_query":
            raise InputError(f"--mars_gallery {mars_gallery}: {spec} has the gallery it was packed with; pack it so")
        options = {"split": split, "mars_gallery": mars_gallery}
        data = FORMATS[name](rest, **{option: value for option, value in options.items() if _takes(name, option)})
    if data.unreadable and not keep_unreadable:
        first, count = data.unreadable[0].reason, len(data.unreadable)
        more = f"; it is the first of {count:,} that cannot be read: python -m vreid_fast.data check lists all"
        raise InputError(first + (more if count > 1 else ""))
    return in_pieces(data, authors_pieces_train, authors_pieces_test)


def _takes(name: str, option: str) -> bool:
    """Whether the reader of a format has an option."""
    return name in FORMATS and option in inspect.signature(FORMATS[name]).parameters
