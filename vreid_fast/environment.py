"""Environment variables of libraries, before these are imported: what they would fail on, and how they wait."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, MutableMapping


def _one_of(*words: str) -> Callable[[str], object]:
    return dict.fromkeys(words).__getitem__


def _in_any_case(*words: str) -> Callable[[str], object]:
    return lambda value: _one_of(*words)(value.lower())


_OF_TQDM: dict[str, Callable[[str], object]] = {
    **dict.fromkeys(("MININTERVAL", "MAXINTERVAL", "MINITERS", "SMOOTHING", "DELAY"), float),
    **dict.fromkeys(("NCOLS", "NROWS", "POSITION"), int),
    **dict.fromkeys(("DISABLE", "LEAVE", "DYNAMIC_NCOLS", "COLOUR"), str),
}
_OF_TORCH: dict[str, Callable[[str], object]] = {
    "COMPILE_STROBELIGHT_MAX_PROFILE_TIME": int,
    "COMPILE_STROBELIGHT_MAX_STACK_LENGTH": int,
    "COMPILE_STROBELIGHT_SAMPLE_RATE": float,
    "PYTORCH_JIT": _in_any_case("0", "1", "0v", "1v", "true", "false", "yes", "no"),
    "PYTORCH_MATCHER_LOGLEVEL": _in_any_case("debug", "info", "warn", "warning", "error", "fatal", "critical"),
    "TORCHDYNAMO_TRANSLATION_VALIDATION_TIMEOUT": int,
    "TORCH_DISTRIBUTED_DEBUG": _in_any_case("off", "info", "detail"),
}
READ: dict[str, Callable[[str], object]] = {
    "JOBLIB_MULTIPROCESSING": int,
    "JOBLIB_START_METHOD": _one_of("", "fork", "forkserver", "loky", "spawn"),
    "LOKY_MAX_DEPTH": int,
    "LOKY_PICKLER": _one_of("", "cloudpickle", "pickle"),
    "NUMPY_MADVISE_HUGEPAGE": int,
    "PROTOCOL_BUFFERS_PYTHON_IMPLEMENTATION": _one_of("python", "cpp", "upb"),
    "SKLEARN_PAIRWISE_DIST_CHUNK_SIZE": int,
    "SKLEARN_WORKING_MEMORY": int,
    "SOURCE_DATE_EPOCH": int,
    **_OF_TORCH,
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


def wait_briefly(environ: MutableMapping[str, str] = os.environ) -> None:
    """Have an idle thread of OpenMP sleep soon, unless the user says how it should wait.

    It would spin 300 times as long, and keep a core from the loader's threads and from other work. Clips/s of the
    demo's `paper` on two cores of an AMD EPYC, torch 2.13.0, alone and beside two busy processes: 270 and 11 as GNU
    OpenMP comes, 265 and 45 so, 210 and 78 where threads sleep at once.
    """
    if "OMP_WAIT_POLICY" not in environ:
        environ.setdefault("GOMP_SPINCOUNT", "1000")
