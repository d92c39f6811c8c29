"""Data sets and clips: `read_dataset` turns a SPEC into tracklets, `make_loader` those into batches."""

from __future__ import annotations

from os import PathLike

from vreid_fast.errors import InputError

from .formats import FORMATS
from .images import read_frames
from .tracklets import Dataset, Tracklet, identity_labels

__all__ = ["FORMATS", "Dataset", "Tracklet", "identity_labels", "read_dataset", "read_frames"]


def read_dataset(
    spec: str, *, seed: int = 0, cache: str | PathLike | None = None, mars_gallery: str = "with_query"
) -> Dataset:
    """Read the data set of a SPEC.

    Args:
        spec: `synthetic`, `synthetic:STYLE` or `FORMAT:PATH` with a format of `FORMATS`.
        seed: of the synthetic people.
        cache: folder for rendered synthetic images; None = the user's cache folder.
        mars_gallery: "with_query" (the official protocol) or "without_query".

    Raises:
        InputError: an unknown format, no such path, or data that is not what the format says.
    """
    known = f"known: synthetic, synthetic:STYLE, {', '.join(f'{name}:PATH' for name in FORMATS)}"
    name, _, rest = spec.partition(":")
    if name == "synthetic":
        from .synthetic import read_synthetic

        return read_synthetic(rest or "source", seed, cache)
    if name not in FORMATS:
        raise InputError(f"data {spec!r}: unknown format {name!r}; {known}")
    if not rest:
        raise InputError(f"data {spec!r}: wanted {name}:PATH, found no path; {known}")
    options = {"gallery": mars_gallery} if name == "mars" else {}
    return FORMATS[name](rest, **options)
