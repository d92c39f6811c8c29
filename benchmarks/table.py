"""The table of speeds in docs/speed.md, from the rows in results/: `python benchmarks/table.py` prints it."""

from __future__ import annotations

import csv
import sys
from pathlib import Path

RESULTS = Path(__file__).parent / "results"
# op, how its case begins, the rival
SHOWN = (
    ("loader", "pack B32 T8", "torch DataLoader, PIL"),
    ("loader", "pack B32 T8", "torch DataLoader, OpenCV"),
    ("loader", "pack B32 T8", "DALI file reader"),
    ("loader", "pack B32 T8", "DALI file reader, no resize"),
    ("loader", "cache B32 T8", "torch DataLoader, PIL"),
    ("loader", "video pack B32 T4", "torch DataLoader, decord"),
    ("loader", "video pack B32 T8", "torch DataLoader, decord"),
    *(
        ("video", f"{codec} every {distance} B32 T8", "the same in JPEG")
        for codec in ("vp9", "h264", "hevc")
        for distance in (1, 4, 8, 64)
    ),
    *(("step", method, "the same batch again") for method in ("source", "paper", "plus")),
    ("rank", "matrix", "loop over queries and places"),
    ("rank", "matrix", "argsort, loop over queries"),
    ("rank", "features", "the product alone"),
    ("rerank", "1000 of", "dense matrices"),
    ("rerank", "1980 of", "dense matrices"),
    ("search", "top 50 of 100000x2048, queries 1", "FAISS as it comes"),
    ("search", "top 50 of 100000x2048, queries 16", "FAISS as it comes"),
    ("search", "top 50 of 100000x2048, queries 256", "FAISS as it comes"),
    ("search", "top 50 of 100000x2048, queries 256", "product, topk"),
    ("search", "top 50 of a tenth", "product, mask, topk"),
    ("gather_clips", "B32 T8 256x128 float32", "eager"),
    ("gather_clips", "B32 T8 256x128 float32", "torch.compile"),
    ("gather_clips", "B32 T8 256x128 bfloat16", "torch.compile"),
    ("gather_clips", "B32 T8 256x128 bfloat16 channels_last augmented", "torch.compile"),
    ("ema", "resnet50", "_foreach_lerp_, cached lists"),
    ("ema", "resnet50", "naive loop"),
    ("ema", "resnet50", "AveragedModel"),
    ("gradient_reversal", "256x2048 forward", "Python autograd.Function"),
    ("temporal_pool", "B", "eager"),
    ("temporal_pool", "B", "torch.compile"),
    ("temporal_pool", "B", "vreid_fast, CUDA graph"),
    ("combined_regression", "clips", "eager"),
    ("combined_regression", "pooling", "eager"),
    ("combined_regression", "pooling", "torch.compile"),
    ("combined_regression", "pooling", "torch.compile, reduce-overhead"),
    ("combined_regression", "pooling", "vreid_fast, CUDA graph"),
    ("kmeans", "1x64x2048/16", "scikit-learn"),
    ("kmeans", "1x64x2048/16", "flash-kmeans, ten runs"),
    ("kmeans", "1x4096x256/64", "scikit-learn"),
    ("kmeans", "1x4096x256/64", "torch.compile"),
    ("kmeans_assign", "4096x2048/128", "product, argmin, labels alone"),
    ("kmeans_assign", "40000x2048/1000", "product, argmin, labels alone"),
    ("kmeans_assign", "40000x2048/1000", "torch.compile, labels alone"),
    ("kmeans_assign", "40000x2048/1000", "flash-kmeans, labels alone"),
)


def table() -> str:
    """Markdown: for each file of results its device and versions, then the median times of SHOWN."""
    parts = []
    for path in sorted(RESULTS.glob("*.csv")):
        with path.open(newline="") as file:
            rows = {(row["op"], row["case"], row["provider"]): row for row in csv.DictReader(file)}
        lines = []
        for op, beginning, rival in SHOWN:
            case = next((case for named, case, _ in rows if named == op and case.startswith(beginning)), None)
            if (op, case, rival) in rows:
                ours, theirs = rows[op, case, "vreid_fast"], rows[op, case, rival]
                times = " | ".join(milliseconds(row) for row in (ours, theirs))
                lines.append(f"| {op} | {case} | {rival} | {times} | {float(theirs['ratio']):.3g} |")
        if lines:
            any_row = next(iter(rows.values()))
            versions = ", ".join(f"{name} {any_row[name]}" for name in ("torch", "triton") if any_row[name])
            head = ["| op | case | against | ours, ms | theirs, ms | ratio |", "|---|---|---|---|---|---|"]
            parts.append("\n".join([f"{any_row['device']}, {versions}:", "", *head, *lines]))
    return "\n\n".join(parts)


def milliseconds(row: dict[str, str]) -> str:
    return f"{float(row['p50_ms']):.3g}"


def main() -> int:
    print(table())
    return 0


if __name__ == "__main__":
    sys.exit(main())
