"""The one way in which benchmarks time: check the result first, then time all providers in turn.

A provider is a function of no arguments; on its first call its result must be the expected one, or it is printed
as failed and not timed; without ours nothing of the case is. Rounds go through the providers one after the other,
so that a busy machine is shared fairly. Each timed repetition lasts at least MINIMUM_MS (a fast call is repeated
within it): by CUDA events on a GPU, by the wall clock on a CPU; ROUNDS of them, fewer (not below five) where a case
would take longer than MAXIMUM_S. Peak memory is what one call takes beyond what lay there before: of torch's
allocator on a GPU, of the process on a CPU (Linux). Rows go to results/<device>-<torch>.csv, replacing those of the
same case.
"""

from __future__ import annotations

import argparse
import csv
import importlib.util
import math
import platform
import re
import subprocess
import time
from collections.abc import Callable, Sequence
from datetime import date
from pathlib import Path
from types import ModuleType

import torch
from failures import attempt

RESULTS = Path(__file__).parent / "results"
MINIMUM_MS, MAXIMUM_S, ROUNDS = 2.0, 30.0, 30
COLUMNS = ("op", "case", "provider", "p20_ms", "p50_ms", "p80_ms", "ratio", "peak_mib")
COLUMNS += ("device", "torch", "triton", "commit", "date")

Provider = Callable[[], object]


def arguments(argv: list[str] | None, description: str) -> argparse.Namespace:
    """The options of every benchmark: --quick (few rounds, nothing written), --full, --device."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--quick", action="store_true", help="three rounds on small cases; writes no results")
    parser.add_argument("--full", action="store_true", help="also the cases that take minutes on a GPU")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cuda" if torch.cuda.is_available() else "cpu")
    return parser.parse_args(argv)


def compare(
    op: str,
    case: str,
    providers: dict[str, Provider],
    expected: object,
    *,
    device: str,
    quick: bool,
    rtol: float = 1e-5,
    atol: float = 1e-6,
    check: Callable[[object], None] | None = None,
) -> list[dict]:
    """Checks, times, prints and (unless `quick`) writes one case.

    The first provider is ours; `ratio` is a provider's median over ours: above 1 we are faster.
    expected: what every provider returns on its first call, a tensor or a nest of them; None is not compared.
    check: raises on any other result that is wrong.
    """
    sound = {}
    for name, provider in providers.items():
        with attempt(op, case, name):
            result = provider()
            if expected is not None:
                torch.testing.assert_close(result, expected, rtol=rtol, atol=atol)
            if check is not None:
                check(result)
            sound[name] = provider
    if next(iter(providers)) not in sound:
        return []
    providers = sound
    peaks = {name: _peak_mib(provider, device) for name, provider in providers.items()}
    repeats = {name: _repeats(provider, device) for name, provider in providers.items()}
    times: dict[str, list[float]] = {name: [] for name in providers}
    began = time.perf_counter()
    for done in range(3 if quick else ROUNDS):
        if done >= 5 and time.perf_counter() - began > MAXIMUM_S:
            break
        for name, provider in providers.items():
            times[name].append(_milliseconds(provider, repeats[name], device))
    return record(op, case, times, peaks, device=device, quick=quick)


def record(
    op: str, case: str, times: dict[str, list[float]], peaks: dict[str, str], *, device: str, quick: bool
) -> list[dict]:
    """Prints and (unless `quick`) writes one case: milliseconds of each round by provider, ours first."""
    ours = _quantile(next(iter(times.values())), 0.5)
    rows = []
    for name, taken in times.items():
        p20, p50, p80 = (_quantile(taken, q) for q in (0.2, 0.5, 0.8))
        numbers = (f"{p20:.6g}", f"{p50:.6g}", f"{p80:.6g}", f"{p50 / ours:.3g}", peaks[name])
        rows.append(dict(zip(COLUMNS, (op, case, name, *numbers, *_machine(device)), strict=True)))
        print(f"{op:20} {case:48} {name:32} {p50:10.4f} ms  x{p50 / ours:<7.3g} {peaks[name]:>9} MiB")
    if not quick:
        _write(rows)
    return rows


def _milliseconds(provider: Provider, repeats: int, device: str) -> float:
    """Of one call, the mean over `repeats` calls in a row."""
    if device == "cuda":
        start, stop = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        torch.cuda.synchronize()
        start.record()
        for _ in range(repeats):
            provider()
        stop.record()
        stop.synchronize()
        return start.elapsed_time(stop) / repeats
    began = time.perf_counter()
    for _ in range(repeats):
        provider()
    return (time.perf_counter() - began) * 1e3 / repeats


def _repeats(provider: Provider, device: str) -> int:
    """How many calls last MINIMUM_MS; the calls made to find out are the warm-up."""
    repeats = 1
    while (taken := repeats * _milliseconds(provider, repeats, device)) < MINIMUM_MS and repeats < 1 << 16:
        repeats = min(1 << 16, max(repeats * 2, math.ceil(repeats * MINIMUM_MS / max(taken, 1e-3))))
    return repeats


def _peak_mib(provider: Provider, device: str) -> str:
    """Memory that one call takes beyond what lay there before; empty where the system does not tell."""
    if device == "cuda":
        torch.cuda.synchronize()
        before = torch.cuda.memory_allocated()
        torch.cuda.reset_peak_memory_stats()
        provider()
        torch.cuda.synchronize()
        return f"{(torch.cuda.max_memory_allocated() - before) / 2**20:.2f}"
    try:
        Path("/proc/self/clear_refs").write_text("5")  # the peak of the process starts anew
    except OSError:
        return ""
    before = _process_kib("VmRSS")
    provider()
    return f"{max(0, _process_kib('VmHWM') - before) / 2**10:.2f}"


def _process_kib(field: str) -> int:
    return int(re.search(rf"{field}:\s+(\d+) kB", _read("/proc/self/status")).group(1))


def installed(name: str) -> ModuleType | None:
    """The module of a competitor, or None, with a word about it, where it is not installed."""
    try:
        return importlib.import_module(name)
    except ImportError as error:
        print(f"left out: {name} ({error})")
        return None


def _quantile(values: Sequence[float], q: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, round(q * (len(ordered) - 1)))]


def _machine(device: str) -> tuple[str, ...]:
    """device, torch, triton, commit, date of a row."""
    triton = importlib.import_module("triton").__version__ if importlib.util.find_spec("triton") else ""
    described = ["git", "-C", str(RESULTS.parent), "describe", "--always", "--dirty", "--exclude=*"]
    commit = subprocess.run(described, capture_output=True, text=True).stdout.strip()
    return device_name(device), torch.__version__, triton, commit, date.today().isoformat()


def device_name(device: str) -> str:
    """Of the GPU, or of the processor with the number of threads."""
    if device == "cuda":
        return torch.cuda.get_device_name()
    model = re.search(r"model name\s*: (.*)", _read("/proc/cpuinfo"))
    return f"{model.group(1) if model else platform.machine()} {torch.get_num_threads()} threads"


def _read(path: str) -> str:
    return Path(path).read_text() if Path(path).exists() else ""


def _write(rows: list[dict]) -> None:
    name = re.sub(r"[^a-z0-9]+", "-", rows[0]["device"].lower()).strip("-")
    path = RESULTS / f"{name}-{torch.__version__.split('+')[0]}.csv"
    path.parent.mkdir(exist_ok=True)
    kept = []
    if path.exists():
        with path.open(newline="") as file:
            replaced = (rows[0]["op"], rows[0]["case"])
            kept = [row for row in csv.DictReader(file) if (row["op"], row["case"]) != replaced]
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        writer.writerows(kept + rows)
