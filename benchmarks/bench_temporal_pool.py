"""Pooling of feature maps over space and time, forward and backward: ours against eager torch and torch.compile."""

from __future__ import annotations

import sys

import torch
from timing import arguments, compare
from torch import Tensor

from vreid_fast.kernels import temporal_pool


def main(argv: list[str] | None = None) -> int:
    options = arguments(argv, __doc__)
    cases = [(4, 4, 64)] if options.quick else [(32, 4, 2048), (32, 8, 2048), (64, 4, 2048), (64, 8, 2048)]
    dtype = torch.bfloat16 if options.device == "cuda" else torch.float32
    for clips, frames, width in cases:
        generator = torch.Generator().manual_seed(0)
        maps = torch.randn(clips * frames, width, 16, 8, generator=generator).to(options.device, dtype)
        maps = maps.contiguous(memory_format=torch.channels_last).requires_grad_()
        providers = {
            "vreid_fast": forward_backward(lambda x, t=frames: temporal_pool(x, t), maps),
            "eager": forward_backward(lambda x, t=frames: eager(x, t), maps),
        }
        if options.device == "cuda":
            compiled = torch.compile(eager)
            reduced = torch.compile(eager, mode="reduce-overhead")
            providers["torch.compile"] = forward_backward(lambda x, t=frames, f=compiled: f(x, t), maps)
            providers["torch.compile, reduce-overhead"] = forward_backward(lambda x, t=frames, f=reduced: f(x, t), maps)
        case = f"B{clips} T{frames} D{width} 16x8 {str(dtype).removeprefix('torch.')}"
        tolerance = 1e-2 if dtype == torch.bfloat16 else 1e-5
        compare(
            "temporal_pool", case, providers, providers["eager"](), device=options.device, quick=options.quick,
            rtol=tolerance, atol=tolerance,
        )  # fmt: skip
    return 0


def eager(maps: Tensor, frames: int) -> tuple[Tensor, Tensor]:
    """What most Re-ID code writes."""
    pooled = maps.amax((2, 3)).unflatten(0, (-1, frames))
    return pooled, pooled.mean(1)


def forward_backward(function, maps: Tensor):
    """Both outputs and the gradient of the maps."""

    def run():
        frames, clips = function(maps)
        (gradient,) = torch.autograd.grad(frames.sum() + clips.sum(), maps)
        return frames.detach(), clips.detach(), gradient

    return run


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
