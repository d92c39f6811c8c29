"""Clips a second from packs of video, by codec and by how many frames apart key frames are, against the same in JPEG.

The clips, the machine's cores and the rounds are those of `bench_loader`. What a pack takes is printed, as bytes of its
shards a frame.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from pathlib import Path

import torch
from bench_loader import CLIPS, SIZE, make_plan, one_round, ours, pack, run, write_tracklets
from failures import attempt, exit_status
from timing import arguments, record

from vreid_fast.data.commands.video_encoder import CODECS

WARM, TIMED, ROUNDS = 1, 3, 7
TRACKLETS, LENGTH = 32, 64
DISTANCES = (1, 4, 8, 64)


def main(argv: list[str] | None = None) -> int:
    options = arguments(argv, __doc__)
    folder = Path(tempfile.mkdtemp(prefix="bench_video"))
    try:
        files = write_tracklets(folder / "files", 4 if options.quick else TRACKLETS, 16 if options.quick else LENGTH)
        jpeg = pack(folder, "jpeg")
        print(f"jpeg: {bytes_a_frame(folder / 'jpeg', files):,.0f} bytes a frame")
        for codec in CODECS:
            for distance in DISTANCES[1:3] if options.quick else DISTANCES:
                with attempt("video", codec, f"a key frame every {distance}"):
                    name = f"{codec}{distance}"
                    videos = pack(folder, name, "--video", codec, "--keyframes", str(distance))
                    print(f"{codec} every {distance}: {bytes_a_frame(folder / name, files):,.0f} bytes a frame")
                    for frames in (4, 8):
                        bench(options, f"{codec} every {distance} B{CLIPS} T{frames} 256x128", jpeg, videos, frames)
    finally:
        shutil.rmtree(folder)
    return exit_status()


def bench(options, case: str, jpeg: list, videos: list, frames: int) -> None:
    warm, timed, rounds = (1, 1, 2) if options.quick else (WARM, TIMED, ROUNDS)
    device, threads = torch.device(options.device), len(os.sched_getaffinity(0))
    plan = make_plan(jpeg, frames, warm + timed)

    def start(*job):
        return ours(*job, device, threads)

    contenders = {"vreid_fast": videos, "the same in JPEG": jpeg}
    first = [next(run(start, (plan[:1], tracklets, SIZE))).float().cpu() for tracklets in contenders.values()]
    difference = (first[0] - first[1]).abs().mean()
    assert difference < 0.2, f"another clip, mean difference {difference:.3f}"
    times: dict[str, list[float]] = {name: [] for name in contenders}
    peaks = dict.fromkeys(contenders, 0.0)
    for _ in range(rounds):
        for name, tracklets in contenders.items():
            taken, peak = one_round(start, (plan, tracklets, SIZE), warm, timed)
            times[name].append(taken)
            peaks[name] = max(peaks[name], peak)
    texts = {name: f"{peak:.0f}" for name, peak in peaks.items()}
    rows = record("video", case, times, texts, device=options.device, quick=options.quick)
    speeds = (f"{row['provider']} {1e3 * CLIPS * frames / float(row['p50_ms']):,.0f}" for row in rows)
    print(f"{'':20} frames/s: {', '.join(speeds)}")


def bytes_a_frame(folder: Path, tracklets: list) -> float:
    return sum(shard.stat().st_size for shard in folder.glob("*.tar")) / sum(map(len, tracklets))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
