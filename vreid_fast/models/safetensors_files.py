"""Files of safetensors: tensors under names, and nothing that could run."""

from __future__ import annotations

from pathlib import Path

from torch import Tensor

from vreid_fast.errors import InputError

LONGEST = 100_000_000
"""Bytes of a header that the package safetensors reads."""


def is_safetensors(path: str | Path) -> bool:
    """By content: the length of a header, which is JSON."""
    with open(path, "rb") as file:
        head = file.read(9)
    return head[8:] == b"{" and int.from_bytes(head[:8], "little") <= LONGEST


def read_safetensors(path: str | Path, what: str) -> dict[str, Tensor]:
    """Tensors by name, on the CPU.

    Args:
        what: the file is, for the errors.

    Raises:
        InputError: a damaged file; the package safetensors is not installed.
    """
    try:
        from safetensors.torch import load_file
    except ImportError:
        raise InputError(
            f"{what} {path}: is a safetensors file, and the package that reads it is not installed: "
            "pip install safetensors"
        ) from None
    try:
        return load_file(path)
    except Exception as error:  # of the package's own kind where it finds the damage, of torch's where torch does
        raise InputError(f"{what} {path}: is a safetensors file that is damaged or cut short ({error})") from error
