"""Environment variables of libraries: those that hold what the library would end the command over are left out."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, MutableMapping


def _one_of(*words: str) -> Callable[[str], object]:
    return dict.fromkeys(words).__getitem__


_OF_TQDM: dict[str, Callable[[str], object]] = {
    **dict.fromkeys(("MININTERVAL", "MAXINTERVAL", "MINITERS", "SMOOTHING", "DELAY"), float),
    **dict.fromkeys(("NCOLS", "NROWS", "POSITION"), int),
    **dict.fromkeys(("DISABLE", "LEAVE", "DYNAMIC_NCOLS", "COLOUR"), str),
}
READ: dict[str, Callable[[str], object]] = {
    "JOBLIB_MULTIPROCESSING": int,
    "NUMPY_MADVISE_HUGEPAGE": int,
    "PROTOCOL_BUFFERS_PYTHON_IMPLEMENTATION": _one_of("python", "cpp", "upb"),
    "SKLEARN_PAIRWISE_DIST_CHUNK_SIZE": int,
    "SKLEARN_WORKING_MEMORY": int,
    **{f"TQDM_{name}": read for name, read in _OF_TQDM.items()},
}
"""What a library does with a variable when it is imported: a value that it would fail on is left out."""
UNUSED = ("MPLBACKEND", "MATPLOTLIBRC")
"""Of no use here: plots have a style and a backend of their own."""


def drop_junk(environ: MutableMapping[str, str] = os.environ) -> None:
    """Take out what a library would fail on, before it is imported; a note on standard error names it."""
    for name in UNUSED:
        environ.pop(name, None)
    for name, value in [*environ.items()]:
        if name not in READ and not name.startswith("TQDM_"):
            continue
        try:
            READ[name](value)
        except (KeyError, ValueError):  # tqdm takes any of its arguments from there, and few make sense
            del environ[name]
            print(f"note: environment variable {name}={value!r:.80} is of no use to its library and left out",
                  file=sys.stderr)  # fmt: skip
