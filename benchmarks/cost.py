"""What the kernels should take on an H100, without one: `python benchmarks/cost.py`.

Each Triton kernel of a case is compiled ahead of time for sm_90. Its time is the longest of four: its bytes over the
bandwidth of a copy; the same over what its warps keep in flight, given the latency of memory; its arithmetic over what
a product reaches, in whole waves of programs; its instructions over what the schedulers issue. A launch comes on top.
Bytes are counted in Triton's interpreter, instructions are those of the loop that moves most, from the SASS. The floor
is the fewest bytes, or the arithmetic, with nothing else. Where results/ has a row of the card, the two are compared.
A prediction is no measurement.
"""

from __future__ import annotations

import argparse
import csv
import json
import math
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

import torch
from cost_cases import CASES, ODD, Case
from cost_sass import Sass, disassembled, read_sass

HERE = Path(__file__).parent
sys.path.append(str(HERE.parent / "tests" / "support"))

import ahead_of_time  # noqa: E402

ROWS = HERE / "results" / "nvidia-h100-80gb-hbm3-2.11.0.csv"
COPY, PRODUCT = 3.00e12, 742e12
"""Bytes read and written a second, and bfloat16 operations a second, both measured on that card."""
ISSUED = 132 * 4 * 1.755e9
"""Instructions of warps a second: one a clock from each scheduler."""
LAUNCH, LATENCY = 2.0e-6, 1.0e-6
"""Seconds: between two kernels of a CUDA graph, and until a busy memory answers. Both are assumed."""
PROCESSORS, SHARED, THREADS = 132, 227 * 1024, 2048
"""Multiprocessors; bytes of shared memory and threads that each has, beside 65,536 registers."""
THREE_PRODUCTS = 6
"""float32 as three tf32 products, each at half the rate of bfloat16."""


class Kernel(NamedTuple):
    name: str
    launches: int
    programs: int
    threads: int
    registers: int
    spills: int
    """Bytes of stack and local memory a thread."""
    shared: int
    sass: Sass

    @property
    def at_once(self) -> int:
        """Programs that a multiprocessor runs at once."""
        by_registers = 65536 // (self.threads * -(-self.registers // 8) * 8)
        return min(by_registers, SHARED // max(self.shared, 1024), THREADS // self.threads, 32)

    def seconds(self, moved: float, flops: float) -> float:
        """Of a launch that moves so many bytes, and multiplies.

        Whole tiles, which one thread asks for by a tensor descriptor, take neither its instructions nor its patience.
        """
        sass = self.sass
        bandwidth, issue = COPY, 0.0
        by_threads = "UTMALDG" not in sass.kinds
        if sass.loop_loads and by_threads:
            in_flight = min(self.at_once, -(-self.programs // PROCESSORS)) * self.threads // 32 * sass.loop_loads
            bandwidth = min(COPY, PROCESSORS * in_flight / LATENCY * sass.loop_bytes / sass.loop_loads)
        if sass.loop_bytes and by_threads:
            issue = moved / sass.loop_bytes * sass.loop_instructions / ISSUED
        together = PROCESSORS * self.at_once
        waves = -(-self.programs // together) * together / self.programs
        return max(moved / bandwidth, issue, flops * waves / PRODUCT)


def make(*shape: int, dtype: torch.dtype = torch.bfloat16) -> torch.Tensor:
    return torch.empty(shape, dtype=dtype, device="meta")


def kernels_of(launch) -> list[Kernel]:
    """What `launch()` launches, compiled for sm_90."""
    found = []
    for key, (source, options, grids) in ahead_of_time.recorded(launch).items():
        built = ahead_of_time.compiled(source, options, 90)
        threads, shared = 32 * built.metadata.num_warps, built.metadata.shared
        used, sass = ahead_of_time.resources(built.asm["cubin"]), read_sass(disassembled(built.asm["cubin"]))
        spills = used["STACK"] + used["LOCAL"]
        found.append(Kernel(key[0], len(grids), math.prod(grids[0]), threads, used["REG"], spills, shared, sass))
    return found


def bytes_asked() -> dict[str, dict[str, float]]:
    """Case -> kernel -> bytes over the fewest of the case, see cost_bytes."""
    environment = os.environ | {"TRITON_INTERPRET": "1"}
    command = [sys.executable, HERE / "cost_bytes.py"]
    return json.loads(subprocess.run(command, capture_output=True, text=True, check=True, env=environment).stdout)


def predicted(case: Case, kernels: list[Kernel], asked: dict[str, float]) -> tuple[float, float]:
    """Milliseconds: expected, and the floor. Bytes of a case that is not interpreted count once, for one kernel."""
    fewest = case.fewest(*case.sizes)
    flops = case.flops(*case.sizes) * (THREE_PRODUCTS if torch.float32 in case.sizes else 1)
    multiplying = [kernel for kernel in kernels if {"HGMMA", "HMMA"} & kernel.sass.kinds.keys()]
    seconds = 0.0
    for kernel in kernels:
        share = asked.get(kernel.name, 0.0) if asked else 1 / len(kernels)
        seconds += kernel.launches * LAUNCH
        seconds += kernel.seconds(share * fewest, flops / len(multiplying) if kernel in multiplying else 0.0)
    return seconds * 1e3, max(fewest / COPY, flops / PRODUCT) * 1e3


def measured(case: Case) -> float | None:
    """Milliseconds of the row in results/."""
    with ROWS.open(newline="") as file:
        for row in csv.DictReader(file):
            if (row["op"], row["case"], row["provider"]) == (case.op, case.name, case.provider):
                return float(row["p50_ms"])
    return None


def cuda_kernels() -> list[str]:
    """A line for each kernel of csrc/*.cu: what ptxas says of it for sm_90."""
    nvcc = shutil.which("nvcc")
    if nvcc is None:
        return ["csrc: nvcc is not here"]
    lines = []
    for source in sorted((HERE.parent / "csrc").glob("*.cu")):
        with tempfile.TemporaryDirectory() as folder:
            cubin = Path(folder) / "kernel.cubin"
            command = [nvcc, "-std=c++17", "-O3", "-arch=sm_90", "-cubin", source, "-o", cubin]
            subprocess.run(command, check=True, capture_output=True)
            used, sass = ahead_of_time.resources(cubin.read_bytes()), read_sass(disassembled(cubin.read_bytes()))
            lines.append(f"{source.name:46} {_resources(used['REG'], used['STACK'] + used['LOCAL'], 0, sass)}")
    return lines


def _resources(registers: int, spills: int, shared: int, sass: Sass) -> str:
    kinds = ", ".join(f"{name} {count}" for name, count in sorted(sass.kinds.items()) if name in SHOWN)
    return f"{registers:4} registers {spills:4} B spilled {shared / 1024:6.1f} KB shared  {kinds}"


SHOWN = ("HGMMA", "HMMA", "LDG", "STG", "LDGSTS", "UTMALDG", "MUFU", "SHFL")


def of_case(case: Case, asked: dict[str, float]) -> dict:
    """What is found of a case, as JSON takes it."""
    kernels = kernels_of(lambda: case.launch(make, *case.sizes))
    expected, floor = predicted(case, kernels, asked)
    return {
        "op": case.op, "case": case.name, "kernels": [_told(kernel) for kernel in kernels],
        "bytes": sum(asked.values()) if asked else None, "floor_ms": floor, "predicted_ms": expected,
        "measured_ms": measured(case), "why": case.why,
    }  # fmt: skip


def _told(kernel: Kernel) -> dict:
    line = f"{kernel.name:40} {_resources(kernel.registers, kernel.spills, kernel.shared, kernel.sass)}"
    return {"name": kernel.name, "spills": kernel.spills, "kinds": dict(kernel.sass.kinds), "line": line}


def table(cases: list[dict]) -> str:
    """Markdown."""
    lines = ["| op | case | bytes over the fewest | floor, ms | predicted, ms | measured, ms | ratio | why |"]
    lines.append("|---" * 8 + "|")
    for case in cases:
        known, expected = case["measured_ms"], case["predicted_ms"]
        cells = [case["op"], case["case"], "" if case["bytes"] is None else f"{case['bytes']:.2f}"]
        cells += [f"{case['floor_ms']:.3g}", f"{expected:.3g}", *(3 * [""])]
        if known:
            off = known / expected
            cells[5:] = f"{known:.3g}", f"{off:.2f}", case["why"] if not 1 / 1.5 < off < 1.5 else ""
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", action="store_true", help="print all that is found as JSON")
    options, asked = parser.parse_args(argv), bytes_asked()
    cases = [of_case(case, asked.get(f"{case.op} {case.name}", {})) for case in CASES]
    odd = {name: [_told(one) for one in kernels_of(lambda launch=launch: launch(make))] for name, launch in ODD.items()}
    if options.json:
        print(json.dumps({"cases": cases, "odd": odd}))
        return 0
    titled = [(f"{case['op']} {case['case']}", case["kernels"]) for case in cases]
    for title, kernels in [*titled, *odd.items()]:
        print("\n  ".join([title, *(kernel["line"] for kernel in kernels)]))
    print("\n".join(cuda_kernels()), table(cases), sep="\n\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
