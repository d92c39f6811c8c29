"""Which implementations ("backends") of an op this machine has, and which one a call takes.

* ``reference``: plain torch, any device, any float type; the definition that the others match.
* ``cpp``: the compiled extension ``vreid_fast._C`` (C++ on the CPU, CUDA where it was built with it and the
  op has it).
* ``foreach``: torch's own operations on lists of tensors, any device; of `ema` alone.
* ``triton``: Triton kernels, for CUDA tensors; on CPU tensors only under ``TRITON_INTERPRET=1``.

A missing backend is passed over when none is asked for, and an error when it is. A backend that is
present and fails raises: nothing here catches what a kernel throws.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
from functools import cache
from types import ModuleType

import torch
from torch import Tensor

# In order of preference.
OPS = {
    "gradient_reversal": ("cpp", "reference"),
    "ema": ("cpp", "foreach", "reference"),
    "gather_clips": ("triton", "cpp", "reference"),
    "temporal_pool": ("triton", "reference"),
    "batch_norm": ("triton", "reference"),
    "combined_regression": ("triton", "reference"),
    "kmeans": ("triton", "cpp", "reference"),
    "kmeans_assign": ("triton", "cpp", "reference"),
}
# Ops whose C++ is for CPU tensors alone, however the extension was built.
CPP_ON_CPU_ALONE = ("gather_clips", "kmeans", "kmeans_assign")


@cache
def load_extension() -> ModuleType | None:
    """The compiled module ``vreid_fast._C``, or None where it was not built; a broken one raises."""
    if importlib.util.find_spec("vreid_fast._C") is None:
        return None
    return importlib.import_module("vreid_fast._C")


@cache
def has_triton() -> bool:
    return importlib.util.find_spec("triton") is not None


def why_missing(backend: str, device: torch.device | str = "cpu", op: str | None = None) -> str | None:
    """Why `backend` cannot run `op` (None: any op that has it) on `device` tensors here, or None when it can."""
    device = torch.device(device)
    if backend in ("reference", "foreach"):
        return None
    if backend == "cpp":
        extension = load_extension()
        if extension is None:
            return "the C++ extension is not built (pip install --no-build-isolation -e .)"
        if device.type == "cuda" and op in CPP_ON_CPU_ALONE:
            return "the C++ of this op is for CPU tensors alone"
        if device.type == "cuda" and not extension.has_cuda():
            return "the C++ extension was built without CUDA (install nvcc, then pip install --no-build-isolation -e .)"
        return None if device.type in ("cpu", "cuda") else f"no C++ kernel for {device.type} tensors"
    if backend == "triton":
        if not has_triton():
            return "triton is not installed (pip install triton)"
        if device.type != "cuda" and os.environ.get("TRITON_INTERPRET") != "1":
            return f"Triton runs {device.type} tensors only when interpreted (TRITON_INTERPRET=1)"
        return None
    raise ValueError(f"backend must be one of reference, foreach, cpp, triton, got {backend!r}")


def slower_here(device: torch.device | str) -> list[str]:
    """A line for each reason why ops take a slower backend on `device` tensors than this machine could have."""
    slow: dict[str, list[str]] = {}
    kind = torch.device(device).type
    for op, known in OPS.items():
        taken = _choose(op, None, kind)
        for name in known[: known.index(taken)]:
            reason = why_missing(name, kind, op)
            could_be = kind == "cuda" if name == "triton" else kind != "cuda" or op not in CPP_ON_CPU_ALONE
            if reason and could_be:
                slow.setdefault(reason, []).append(f"{op} ({taken})")
    return [f"slower than they could be here: {', '.join(ops)}; {reason}" for reason, ops in slow.items()]


def choose(op: str, backend: str | None, device: torch.device | str) -> str:
    """The backend that a call of `op` on `device` tensors takes.

    None takes the best one present (interpreted Triton is for tests and is never chosen unasked).

    Raises:
        ValueError: `op` has no such backend.
        RuntimeError: the backend asked for is missing on this machine, with the reason.
    """
    return _choose(op, backend, device)


# What is installed and built does not change while a program runs, nor under a compiled graph. The attribute is
# what torch.compiler.assume_constant_result sets, without its import of the whole compiler; torch.compile does
# not take it from a cached function.
choose._dynamo_marked_constant = True  # type: ignore[attr-defined]


def choose_for(op: str, backend: str | None, x: Tensor) -> str:
    """`choose` for an op whose fast backends take single and half precision; None takes the reference for float64.

    Raises:
        TypeError: x is of a dtype that the backend does not take.
    """
    if backend is None and x.dtype == torch.float64:
        backend = "reference"
    backend = choose(op, backend, x.device)
    if backend != "reference" and x.dtype not in (torch.float32, torch.bfloat16, torch.float16):
        raise TypeError(
            f"{op}: x must be float32, bfloat16 or float16 on backend {backend!r}, got {x.dtype}; "
            "use backend='reference'"
        )
    return backend


@cache
def _choose(op: str, backend: str | None, device: torch.device | str) -> str:
    known = OPS[op]
    if backend is None:
        for name in known:
            interpreted = name == "triton" and torch.device(device).type != "cuda"
            if not interpreted and why_missing(name, device, op) is None:
                return name
    if backend not in known:
        raise ValueError(f"{op}: backend must be one of {', '.join(known)} or None, got {backend!r}")
    reason = why_missing(backend, device, op)
    if reason is not None:
        raise RuntimeError(f"{op}: backend {backend!r} is missing here: {reason}")
    return backend
