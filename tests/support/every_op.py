"""One call of each op, forward and backward, on small awkward sizes: `python tests/support/every_op.py cuda`.

For tools that watch memory: compute-sanitizer on a GPU; on the CPU (TRITON_INTERPRET=1) an interpreted run.
"""

import copy
import sys

import torch
from torch import nn

from vreid_fast.kernels import (
    EmaUpdater,
    FusedBatchNorm,
    batch_norm,
    combined_regression,
    gather_clips,
    gradient_reversal,
    kmeans,
    kmeans_assign,
    temporal_pool,
)


def main(device: str) -> None:
    def normal(*shape: int) -> torch.Tensor:
        return torch.randn(shape, device=device, requires_grad=True)

    frames = torch.randint(256, (4, 17, 9, 3), dtype=torch.uint8, device=device)
    rows = torch.tensor([[0, 3, 3], [2, 0, 1]], device=device)
    shifted = torch.tensor([[1, -5, 8, 3, 2, 20, 4], [0, 16, -8, 0, 0, 1, 1]], dtype=torch.int32, device=device)
    for dtype in (torch.float32, torch.bfloat16):
        for channels_last in (False, True):
            gather_clips(frames, rows, shifted, dtype=dtype, channels_last=channels_last)
    x = normal(5, 7)
    (gradient_reversal(x, torch.tensor(0.5, device=device)) ** 2).sum().backward()
    student = nn.Sequential(nn.Conv2d(3, 5, 3), nn.BatchNorm2d(5), nn.Linear(5, 1031)).to(device)
    teacher = copy.deepcopy(student)
    EmaUpdater(teacher, student, half=copy.deepcopy(teacher).bfloat16()).update()
    for memory_format in (torch.contiguous_format, torch.channels_last):
        for spatial in ("max", "mean"):
            maps = torch.randn(6, 35, 5, 3, device=device).contiguous(memory_format=memory_format).requires_grad_()
            lengths = torch.tensor([3, 1], device=device)
            frames, clips = temporal_pool(maps, 3, lengths, spatial=spatial, backend="triton")
            (frames.sum() + clips.sum()).backward()
    for dtype, channels in ((torch.float32, 35), (torch.bfloat16, 48)):
        maps = torch.randn(6, channels, 5, 13, device=device, dtype=dtype).to(memory_format=torch.channels_last)
        running = {"running_mean": torch.zeros(2, channels, device=device)}
        running |= {
            "running_var": running["running_mean"] + 1,
            "batches": torch.zeros(2, dtype=torch.int64, device=device),
        }
        for named in ({}, {"groups": torch.tensor([0, 2, -3, 1, 0, 2], device=device), "group_count": 3, **running}):
            for added in (None, maps.clone().requires_grad_()):
                weight, bias = normal(channels), normal(channels)
                out = batch_norm(
                    maps.requires_grad_(),
                    weight,
                    bias,
                    residual=added,
                    relu=True,
                    momentum=None,
                    backend="triton",
                    **named,
                )
                out.float().square().sum().backward()
        layer = FusedBatchNorm(channels).to(device)
        layer.backend = "triton"
        out, again = layer(maps, maps, relu=True, twice=True)
        (out * 2 + again.float().square()).sum().backward()
    domains, groups = (torch.tensor(rows, device=device) for rows in ([0, 0, 1], [[0, 2, -1], [1, -1, -1]]))
    head = [normal(17, 35), normal(17), normal(2, 17), normal(2)]
    for clips in (normal(3, 35), normal(3, 4, 35)):
        combined_regression(clips, domains, groups, *head, 0.5, dropout=0.3, backend="triton").loss.backward()
    # Inner products in parts, in tiles, and the samples themselves.
    for samples, width in ((37, 70), (70, 19), (530, 19)):
        kmeans(normal(2, samples, width), 5, restarts=3, iterations=3, backend="triton")
    kmeans(normal(37, 19), 5, init=normal(5, 19), backend="triton")
    for dtype in (torch.float32, torch.bfloat16):
        for clusters in (35, 300):  # few of them, and many
            kmeans_assign(normal(131, 67).to(dtype), normal(clusters, 67), backend="triton")
    if device == "cuda":
        torch.cuda.synchronize()
    print("every op ran")


if __name__ == "__main__":
    main(sys.argv[1])
