"""Pooling of feature maps over space and time, forward and backward: ours against eager torch and torch.compile.

The forward reads the maps once and the backward writes their gradient once, which is what the provider "copy of
the maps" does too: its ratio is the share of the copy's bandwidth that we reach. (What else is read and written
is under 3 % of the maps: features and positions of the maxima.)
"""

from __future__ import annotations

import sys

import torch
from failures import exit_status
from providers import make_maps, providers
from timing import arguments, compare
from torch import Tensor

from vreid_fast.kernels import temporal_pool


def main(argv: list[str] | None = None) -> int:
    options = arguments(argv, __doc__)
    on_gpu = options.device == "cuda"
    cases = [(32, 8, 2048), (64, 8, 2048), *([(32, 4, 2048), (64, 4, 2048)] if options.full else [])]
    if options.quick or not on_gpu:
        cases = [(4, 4, 256)]
    dtype = torch.bfloat16 if on_gpu else torch.float32
    for clips, frames, width in cases:
        maps = make_maps(clips * frames, width, dtype, options.device)
        grads = [
            torch.randn(size, dtype=dtype, device=options.device)
            for size in ((clips, frames, width), (clips, width))
        ]  # fmt: skip

        def run(function, maps=maps, frames=frames, grads=grads):
            outputs = function(maps, frames)
            return *(output.detach() for output in outputs), *torch.autograd.grad(outputs, maps, grads)

        compared = providers(options, temporal_pool, eager, run)
        expected, target = compared["eager"](), torch.empty_like(maps)

        def copy(maps=maps, target=target, expected=expected):
            target.copy_(maps.detach())
            return expected

        compared["copy of the maps"] = copy
        case = f"B{clips} T{frames} D{width} 16x8 {str(dtype).removeprefix('torch.')}"
        tolerance = 2e-2 if dtype == torch.bfloat16 else 1e-5
        rows = compare(
            "temporal_pool", case, compared, expected, device=options.device, quick=options.quick,
            rtol=tolerance, atol=tolerance,
        )  # fmt: skip
        touched = 2 * maps.numel() * maps.element_size()
        speeds = (f"{row['provider']} {touched / float(row['p50_ms']) / 1e6:.3g}" for row in rows)
        print(f"{'':20} GB/s of the maps: {', '.join(speeds)}")
    return exit_status()


def eager(maps: Tensor, frames: int) -> tuple[Tensor, Tensor]:
    """What most Re-ID code writes."""
    pooled = maps.amax((2, 3)).unflatten(0, (-1, frames))
    return pooled, pooled.mean(1)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
