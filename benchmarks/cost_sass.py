"""What a kernel is made of, from its SASS: instructions by kind, and what its main loop moves and costs."""

from __future__ import annotations

import re
import subprocess
import tempfile
from collections import Counter
from pathlib import Path
from typing import NamedTuple

LABEL = re.compile(r"^(\.L_\w+):")
INSTRUCTION = re.compile(r"^\s+/\*[0-9a-f]{4,}\*/\s+(?:@!?U?P\w+\s+)?([A-Z][A-Z0-9_.]*)(.*)")
GLOBAL = ("LDG", "STG", "LDGSTS", "UBLKCP", "UTMALDG")
WIDTHS = {"U8": 1, "S8": 1, "U16": 2, "S16": 2, "64": 8, "128": 16}


class Sass(NamedTuple):
    kinds: Counter[str]
    """Instructions by name without its endings, such as HGMMA or LDG."""
    loop_instructions: int
    """Of the loop that moves most global memory; of the whole kernel where none does."""
    loop_bytes: int
    """That a warp moves in it, 0 where there is none."""
    loop_loads: int
    """Those of them that it reads."""


def disassembled(cubin: bytes) -> str:
    import triton

    program = Path(triton.__file__).parent / "backends/nvidia/bin/nvdisasm"
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(cubin)
        file.flush()
        return subprocess.run([program, "-c", file.name], capture_output=True, text=True, check=True).stdout


def read_sass(text: str) -> Sass:
    names: list[str] = []
    labels: dict[str, int] = {}
    loops: list[tuple[int, int]] = []
    for line in text.splitlines():
        if label := LABEL.match(line):
            labels[label[1]] = len(names)
        elif found := INSTRUCTION.match(line):
            names.append(found[1])
            target = re.search(r"\((\.L_\w+)\)", found[2])
            if found[1].startswith("BRA") and target and target[1] in labels:
                loops.append((labels[target[1]], len(names)))
    # The assembler ends a kernel with a jump to itself and padding.
    loops = [(start, end) for start, end in loops if end - start > 1]
    innermost = [one for one in loops if not any(_within(other, one) for other in loops)]
    start, end = max(innermost, key=lambda loop: _moved(names[slice(*loop)]), default=(0, len(names)))
    if not _moved(names[start:end]):
        start, end = 0, len(names)
    kinds = Counter(name.partition(".")[0] for name in names)
    reads = [name for name in names[start:end] if not name.startswith("STG")]
    return Sass(kinds, end - start, _moved(names[start:end]), _moved(reads))


def _within(inner: tuple[int, int], outer: tuple[int, int]) -> bool:
    return inner != outer and outer[0] <= inner[0] and inner[1] <= outer[1]


def _moved(names: list[str]) -> int:
    """Bytes of global memory that a warp moves."""
    return sum(32 * _width(name) for name in names if name.partition(".")[0] in GLOBAL)


def _width(name: str) -> int:
    return next((WIDTHS[part] for part in name.split(".") if part in WIDTHS), 4)
