"""Clips a second of the loader, from files, packs, video packs and the cache, against what else loads clips.

Every contender reads the same clips of JPEG tracklets (256x128, about 8 KB a frame) from a warm page cache with
the same number of cores, and its first batch is compared with the files' before anything is timed. A round starts
a contender, lets it fill its queues for WARM batches, and times the next TIMED; rounds go in turn. Peak memory
is what the process and its workers take beyond what they took before, shared pages counted once.
"""

from __future__ import annotations

import io
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path

import numpy as np
import torch
from failures import attempt, exit_status
from loader_rivals import rivals, video_rivals
from timing import arguments, record
from torch import Tensor

from vreid_fast.data import read_dataset
from vreid_fast.data.__main__ import main as data_command
from vreid_fast.data.reading.cache import FrameCache
from vreid_fast.data.reading.loader import ClipRequest, Loader, ReadingOptions, Stream, TrainPlan
from vreid_fast.data.sampling.samplers import CameraSampler
from vreid_fast.data.tracklets import Tracklet

WARM, TIMED, ROUNDS = 6, 16, 5
TIMED_VIDEO = 4  # decoding video takes ten times as long
TRACKLETS, LENGTH, CLIPS = 64, 64, 32
SIZE = (256, 128)

Job = tuple[list[list[ClipRequest]], list[Tracklet], tuple[int, int]]


def main(argv: list[str] | None = None) -> int:
    options = arguments(argv, __doc__)
    threads = len(os.sched_getaffinity(0))
    folder = Path(tempfile.mkdtemp(prefix="bench_loader"))
    try:
        files = write_tracklets(folder / "files", 8 if options.quick else TRACKLETS, 16 if options.quick else LENGTH)
        packs = {"pack": pack(folder, "pack"), "video pack": pack(folder, "video", "--video", "vp9")}
        for frames in (4, 8):
            bench(options, folder, files, packs, frames, threads)
    finally:
        shutil.rmtree(folder)
    return exit_status()


def bench(options, folder: Path, files: list[Tracklet], packs: dict[str, list[Tracklet]], frames: int, threads: int):
    warm, timed, rounds = (1, 2, 2) if options.quick else (WARM, TIMED, ROUNDS)
    plan = make_plan(files, frames, warm + timed)
    device, half = torch.device(options.device), torch.bfloat16
    cache = FrameCache([len(tracklet) for tracklet in files], SIZE, device)
    for _ in run(lambda *job: ours(*job, device, threads, cache=cache), (every_frame(files, frames), files, SIZE)):
        pass  # the first epoch
    contenders: dict[str, tuple[Callable, list[Tracklet]]] = {
        "files": (lambda *job: ours(*job, device, threads), files),
        "pack": (lambda *job: ours(*job, device, threads), packs["pack"]),
        "cache": (lambda *job: ours(*job, device, threads, cache=cache), files),
        "pack, bfloat16": (lambda *job: ours(*job, device, threads, dtype=half, channels_last=True), packs["pack"]),
        "cache, bfloat16": (
            lambda *job: ours(*job, device, threads, cache=cache, dtype=half, channels_last=True),
            files,
        ),
        **{name: (onto(device, start), files) for name, start in rivals(threads).items()},
        "video pack": (lambda *job: ours(*job, device, threads), packs["video pack"]),
    }
    unpacked = [Tracklet(t.frames, video=unpack(folder, t)) for t in packs["video pack"]]
    contenders |= {name: (onto(device, start), unpacked) for name, start in video_rivals(threads).items()}

    expected = next(run(contenders["files"][0], (plan[:1], files, SIZE)))
    sound = {}
    for name, (start, tracklets) in contenders.items():
        with attempt("loader", f"B{CLIPS} T{frames}", name):
            found = next(run(start, (plan[:1], tracklets, SIZE)))
            # A video keeps less than its JPEG frames; decoders of JPEG differ by a level or two.
            limit = 0.2 if tracklets is not files and tracklets is not packs["pack"] else 0.02
            difference = (found.float().cpu() - expected.cpu()).abs().mean()
            assert difference < limit, f"another clip, mean difference {difference:.3f}"
            sound[name] = (start, tracklets)
    contenders = sound

    times: dict[str, list[float]] = {name: [] for name in contenders}
    peaks = dict.fromkeys(contenders, 0.0)
    for _ in range(rounds):
        for name, (start, tracklets) in contenders.items():
            count = min(timed, TIMED_VIDEO) if tracklets in (packs["video pack"], unpacked) else timed
            taken, peak = one_round(start, (plan, tracklets, SIZE), warm, count)
            times[name].append(taken)
            peaks[name] = max(peaks[name], peak)
    texts = {name: f"{peak:.0f}" for name, peak in peaks.items()}
    for mine in ("files", "pack", "cache"):
        report(options, f"{mine} B{CLIPS} T{frames} 256x128", [mine, *rivals(threads)], times, texts)
    report(options, f"pack B{CLIPS} T{frames} 256x128 bfloat16", ["pack, bfloat16"], times, texts)
    report(options, f"cache B{CLIPS} T{frames} 256x128 bfloat16", ["cache, bfloat16"], times, texts)
    report(options, f"video pack B{CLIPS} T{frames} 256x128", ["video pack", *video_rivals(threads)], times, texts)


def report(options, case: str, names: list[str], times: dict[str, list[float]], peaks: dict[str, str]) -> None:
    """One case; `names` are ours and then its rivals. What failed is left out."""
    if names[0] not in times:
        return
    shown = {"vreid_fast": names[0], **{name: name for name in names[1:] if name in times}}
    rows = record(
        "loader", case, {title: times[name] for title, name in shown.items()},
        {title: peaks[name] for title, name in shown.items()}, device=options.device, quick=options.quick,
    )  # fmt: skip
    speeds = (f"{row['provider']} {1e3 * CLIPS / float(row['p50_ms']):,.0f}" for row in rows)
    print(f"{'':20} clips/s: {', '.join(speeds)}")


def one_round(start: Callable[..., Iterator[Tensor]], job: Job, warm: int, timed: int) -> tuple[float, float]:
    """Milliseconds a batch, and MiB at the end of the timed batches beyond those before the start."""
    before = memory_mib()
    with closing(run(start, job)) as batches:
        for _ in range(warm):
            next(batches)
        began = time.perf_counter()
        for _ in range(timed):
            next(batches)
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        taken = (time.perf_counter() - began) * 1e3 / timed
        return taken, memory_mib() - before


def run(start: Callable[..., Iterator[Tensor]], job: Job) -> Iterator[Tensor]:
    yield from start(*job)


def onto(device: torch.device, start: Callable[..., Iterator[Tensor]]) -> Callable[..., Iterator[Tensor]]:
    """A rival whose batches come to the device, too."""
    return lambda *job: (clips.to(device, non_blocking=True) for clips in start(*job))


def ours(plan, tracklets, size, device, threads, *, cache=None, **layout) -> Iterator[Tensor]:
    reading = ReadingOptions(size=size, device=device, threads=threads, **layout)
    with Loader([Stream(tracklets, plan, cache=cache)], reading) as loader:
        for (batch,) in loader:
            yield batch.clips


def make_plan(tracklets: list[Tracklet], frames: int, steps: int) -> list[list[ClipRequest]]:
    lengths = [len(tracklet) for tracklet in tracklets]
    sampler = CameraSampler([None] * len(tracklets), CLIPS)
    plan = TrainPlan(lengths, sampler, frames=frames, size=SIZE, steps=steps, flip=0, erase=0)
    return list(plan)


def every_frame(tracklets: list[Tracklet], frames: int) -> list[list[ClipRequest]]:
    """All frames of all tracklets, a tracklet a batch."""
    return [
        [ClipRequest(index, numbers) for numbers in np.arange(len(tracklet)).reshape(-1, frames)]
        for index, tracklet in enumerate(tracklets)
    ]


def write_tracklets(folder: Path, tracklets: int, length: int) -> list[Tracklet]:
    """Folders of JPEG frames, smooth shapes that drift under noise: as hard to decode as surveillance crops."""
    from PIL import Image

    rng = np.random.default_rng(0)
    for tracklet in range(tracklets):
        (folder / f"{tracklet:04d}").mkdir(parents=True)
        shapes = rng.integers(0, 255, (34, 18, 3), dtype=np.uint8)
        scene = np.asarray(Image.fromarray(shapes).resize((144, 272), Image.Resampling.BICUBIC)).astype(np.int16)
        noise = rng.normal(0, 3, (4, *SIZE, 3)).astype(np.int16)
        for frame in range(length):
            top, left = frame % 16, (frame // 4) % 16
            pixels = scene[top : top + SIZE[0], left : left + SIZE[1]] + noise[frame % 4]
            encoded = io.BytesIO()
            Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(encoded, "JPEG", quality=80)
            (folder / f"{tracklet:04d}" / f"F{frame:04d}.jpg").write_bytes(encoded.getvalue())
    return read_dataset(f"folder:{folder}").train


def pack(folder: Path, name: str, *options: str) -> list[Tracklet]:
    if data_command(["pack", f"folder:{folder / 'files'}", str(folder / name), *options]) != 0:
        raise RuntimeError(f"packing into {folder / name} failed")
    return read_dataset(f"pack:{folder / name}").train


def unpack(folder: Path, tracklet: Tracklet) -> str:
    """A packed video as a file of its own, for those that read files."""
    path = folder / "videos" / f"{abs(hash(str(tracklet.video)))}.webm"
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(tracklet.video.encoded().tobytes())
    return str(path)


def memory_mib() -> float:
    """Of this process and its children, shared pages counted once (PSS)."""
    import psutil  # of the extra `bench`

    process = psutil.Process()
    total = 0
    for one in (process, *process.children(recursive=True)):
        with suppress(psutil.NoSuchProcess):
            total += one.memory_full_info().pss
    return total / 2**20


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
