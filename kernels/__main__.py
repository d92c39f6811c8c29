"""``python -m vreid_fast.kernels``: which op has which backend on this machine, and why one is missing."""

from __future__ import annotations

import importlib
import os
import platform
import sys

import torch

from .backends import OPS, choose, has_triton, load_extension, why_missing

BACKENDS = ("cpp", "triton", "foreach", "reference")


def report() -> str:
    """The versions, one table per kind of device, and a line for every backend that is missing."""
    lines = [_versions()]
    for device in ("cpu", "cuda"):
        lines += ["", *_table(device)]
    if not torch.cuda.is_available():
        lines.append("no CUDA device is visible: the second table is what one would have")
    return "\n".join(lines)


def _versions() -> str:
    triton = importlib.import_module("triton").__version__ if has_triton() else "none"
    extension = load_extension()
    built = "none"
    if extension is not None:
        facts = extension.build_facts()
        cuda = f"CUDA {facts['cuda']} for {facts['architectures']}" if extension.has_cuda() else "CPU only"
        built = f"built with torch {facts['torch']}, {cuda}"
    return f"python {platform.python_version()}, torch {torch.__version__}, triton {triton}, extension: {built}"


def _table(device: str) -> list[str]:
    """`taken` marks what backend=None takes, `yes` what can be asked for, `-` what the op does not have."""
    width = max(map(len, OPS)) + 2
    lines = [f"{device + ' tensors':{width}}" + "".join(f"{backend:12}" for backend in BACKENDS).rstrip()]
    for op, known in OPS.items():
        cells = [_cell(op, backend, device) if backend in known else "-" for backend in BACKENDS]
        lines.append(f"{op:{width}}" + "".join(f"{cell:12}" for cell in cells).rstrip())
    for backend in BACKENDS:
        reason = why_missing(backend, device)
        if reason is not None:
            lines.append(f"  {backend} is missing: {reason}")
            continue
        for op, known in OPS.items():
            reason = why_missing(backend, device, op)
            if backend in known and reason is not None:
                lines.append(f"  {backend} is missing for {op}: {reason}")
    return lines


def _cell(op: str, backend: str, device: str) -> str:
    if why_missing(backend, device, op) is not None:
        return "missing"
    return "taken" if choose(op, None, device) == backend else "yes"


def main() -> int:
    """The exit code; as in the other commands 141 where nobody reads on, and 2 where nothing can be written."""
    try:
        print(report(), flush=True)
    except OSError as error:
        # Python would try again when it ends, and complain.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if isinstance(error, BrokenPipeError):
            return 141
        print(f"error: standard output: {error.strerror}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
