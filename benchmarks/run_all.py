"""Every benchmark, one after the other: `python benchmarks/run_all.py [--quick | --full]`.

What fails is printed as such and the others go on; the exit status is then 1.
"""

from __future__ import annotations

import sys

import bench_batch_norm
import bench_combined_regression
import bench_ema
import bench_gather_clips
import bench_gradient_reversal
import bench_kmeans
import bench_kmeans_assign
import bench_loader
import bench_rank
import bench_ranks
import bench_step
import bench_temporal_pool
import bench_video
from failures import attempt, exit_status

BENCHMARKS = (
    bench_gradient_reversal,
    bench_ema,
    bench_temporal_pool,
    bench_batch_norm,
    bench_combined_regression,
    bench_kmeans,
    bench_kmeans_assign,
    bench_gather_clips,
    bench_loader,
    bench_video,
    bench_rank,
    bench_ranks,
    bench_step,
)


def main(argv: list[str] | None = None) -> int:
    for benchmark in BENCHMARKS:
        print(f"\n{benchmark.__name__}: {benchmark.__doc__.splitlines()[0]}")
        with attempt(benchmark.__name__, "as a whole"):
            benchmark.main(argv)
    return exit_status()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
