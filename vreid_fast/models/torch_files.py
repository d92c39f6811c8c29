"""Files that torch.save wrote, read without running anything in them; and what another file is, in words."""

from __future__ import annotations

import argparse
import json
import re
import warnings
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import torch

from vreid_fast.errors import InputError

from .safetensors_files import is_safetensors

# Of other files: how they begin, and what to say of them.
BEGINNINGS = (
    (b"version https://git-lfs", "a Git LFS pointer, not the file itself; fetch it with `git lfs pull`"),
    (b"/annex/objects/", "a git-annex pointer, not the file itself; fetch it with `git annex get`"),
    (b"\x1f\x8b", "a gzip archive; unpack it first"),
    (b"BZh", "a bzip2 archive; unpack it first"),
    (b"\xfd7zXZ\x00", "an xz archive; unpack it first"),
    (b"(\xb5/\xfd", "a zstd archive; unpack it first"),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive; unpack it first"),
    (b"Rar!", "a RAR archive; unpack it first"),
    (b"\x89HDF", "an HDF5 file (of Keras, say); convert it to a state dict of torch"),
    (b"\x93NUMPY", "an array of NumPy; wanted a state dict of torch"),
    (b"GGUF", "a GGUF file; wanted a state dict of torch"),
)
UNPACKED = 10
"""Times its size that a zip archive may unpack to. torch.save does not compress; who packs it again gains a tenth."""


def read_torch(path: str | Path, what: str) -> Any:
    """What torch.save wrote, on the CPU: tensors, numbers, text, NumPy's arrays, and containers of these.

    Args:
        what: the file is, "weights" or "checkpoint", for the errors.

    Raises:
        InputError: a damaged file, or another kind of file, which is named; classes of other programs in it.
    """
    other = _other_kind(Path(path))
    if other:
        raise InputError(f"{what} {path}: it is {other}")
    try:
        with torch.serialization.safe_globals(_harmless()), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of pickles of other protocols, which read well or fail below
            return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged file can fail anywhere in torch's reader, in any way
        raise InputError(f"{what} {path}: {_why(error)}") from error


def _why(error: Exception) -> str:
    """torch's own words end in the advice to load unsafely, which nobody should follow."""
    message = str(error).rpartition("WeightsUnpickler error:")[2].strip()
    kinds = (r"GLOBAL (\S+)", r"Unsupported (?:class|global)\S* (\S+)", r"but got <class '([^']+)'")
    found = next(filter(None, (re.search(kind, message) for kind in kinds)), None)
    if found:
        return (
            f"holds more than tensors and numbers ({found[1]}), so reading it could run any code and it is not "
            "read; save its state_dict() in the program that wrote it"
        )
    if "legacy .tar" in message:
        return "is of torch before 0.2; load and save it anew with an older torch"
    line = next(iter(message.splitlines()), "") or type(error).__name__
    reason = re.sub(r"\s*(Weights only load failed|Re-running|In PyTorch 2\.6|Please file).*", "", line)
    return f"cannot be read, it is damaged or no file of torch ({reason or type(error).__name__})"


def _other_kind(path: Path) -> str | None:
    """What a file is that torch.save did not write; None where it may have."""
    with open(path, "rb") as file:
        head = file.read(1024)
    if not head:
        return "empty (0 bytes); the download or the copy was cut short"
    known = next((words for start, words in BEGINNINGS if head.startswith(start)), None)
    if known:
        return known
    if head[257:262] == b"ustar":
        return "a tar archive; unpack it first"
    if head.startswith(b"PK"):
        return _other_zip(path)
    if is_safetensors(path):
        return "a safetensors file, which holds weights alone; --weights takes it"
    return _other_text(head)


def _other_text(head: bytes) -> str | None:
    text = head.decode("utf-8", errors="ignore").lstrip("\ufeff \t\r\n")
    # A pickle's first byte is none that text begins with; of text no byte is a control sign.
    if head[0] == 0x80 or any(byte < 9 or 13 < byte < 32 for byte in head):
        return None
    if re.match(r"<(!doctype|html|\?xml|head|body|script)", text, re.IGNORECASE):
        return "an HTML page, not the file itself; a download may want a login or have hit a quota: fetch it by hand"
    try:
        json.loads(text)
        is_json = True
    except ValueError:
        is_json = text[:1] in "{["
    start = " ".join(text[:60].split())
    return f"{'JSON' if is_json else 'text'}, not the file itself; it begins {start!r}"


def _other_zip(path: Path) -> str | None:
    """torch.save writes a zip archive with a data.pkl in a folder."""
    try:
        with zipfile.ZipFile(path) as archive:
            names, unpacked = archive.namelist(), sum(entry.file_size for entry in archive.infolist())
    except Exception as error:  # cut short, or what torch's reader would take for another archive
        return f"damaged or cut short ({error}); take another, or fetch it again"
    packed = path.stat().st_size
    if unpacked > UNPACKED * packed:
        return (
            f"a zip archive of {packed:,} bytes that unpacks to {unpacked:,}, more than {UNPACKED} times as many, as "
            "no weights do; if you trust it, unpack it and save what it holds by torch.save"
        )
    if any(name.endswith("/constants.pkl") for name in names):
        return "a TorchScript program; save the state_dict() of its module"
    if any(name.endswith("/data.pkl") for name in names):
        return None
    if names and all(name.endswith(".npy") for name in names):
        return "arrays of NumPy (.npz); wanted a state dict of torch"
    return f"a zip archive of other things ({', '.join(names[:3]) or 'nothing'}); unpack it first"


def _harmless() -> list:
    """Classes that cannot do anything, which older programs leave beside their weights: NumPy's numbers, texts, times
    and arrays of these, by the names of then and of now, and the words of a command line.

    Not arrays of objects and of records: what a file says of their type could make pointers of its bytes.
    """
    scalar, array = np.float64(0).__reduce__()[0], np.zeros(1).__reduce__()[0]
    old = [(scalar, "numpy.core.multiarray.scalar"), (array, "numpy.core.multiarray._reconstruct")]
    dtypes = [type(np.dtype(kind)) for kind in np.typecodes["All"] if kind not in "OV"]
    return [scalar, array, *old, np.ndarray, np.dtype, *dtypes, argparse.Namespace]
