"""Decoded frames to clips that a network can take: ours against eager torch and torch.compile.

Each byte has to be read and each number written once, which is what the provider "copy of the clips" does
(it reads more): its ratio is the share of a copy's bandwidth that we reach.
"""

from __future__ import annotations

import sys

import torch
from failures import exit_status
from providers import eager_and_compiled, graphed
from timing import arguments, compare
from torch import Tensor

from vreid_fast.kernels import gather_clips
from vreid_fast.kernels.gather_clips import IMAGENET_MEAN, IMAGENET_STD


def main(argv: list[str] | None = None) -> int:
    options = arguments(argv, __doc__)
    on_gpu = options.device == "cuda"
    shapes = [(8, 4, 64, 32)] if options.quick else [(32, 4, 256, 128), (32, 8, 256, 128)]
    for clips, length, height, width in shapes:
        for dtype in (torch.bfloat16,) if on_gpu else (torch.float32, torch.bfloat16):
            generator = torch.Generator().manual_seed(0)
            frames = torch.randint(256, (clips * length, height, width, 3), dtype=torch.uint8, generator=generator)
            rows = torch.randperm(len(frames), generator=generator).view(clips, length)
            drawn = torch.zeros(clips, 7, dtype=torch.int32)
            drawn[::2, 0] = 1
            given = [tensor.to(options.device) for tensor in (frames, rows, drawn)]
            out = gather_clips(*given, dtype=dtype, channels_last=True)
            spare = torch.empty_like(out)
            compared = {"vreid_fast": lambda given=given, out=out: gather_clips(*given, out=out)}
            compared |= eager_and_compiled(options, eager, lambda f, given=given, dtype=dtype: f(*given, dtype))
            if on_gpu:
                compared["vreid_fast, CUDA graph"] = graphed(compared["vreid_fast"])
            compared["copy of the clips"] = lambda out=out, spare=spare: spare.copy_(out)
            case = f"B{clips} T{length} {height}x{width} {str(dtype).removeprefix('torch.')} channels_last"
            compare(
                "gather_clips", case, compared, out.clone(), device=options.device, quick=options.quick,
                rtol=1e-2, atol=1e-2,
            )  # fmt: skip
    return exit_status()


def eager(frames: Tensor, rows: Tensor, drawn: Tensor, dtype: torch.dtype) -> Tensor:
    """What most loaders do, on a whole batch: gather, flip some clips, normalise, convert. No shift, no erasing."""
    clips = frames[rows].permute(0, 1, 4, 2, 3)
    clips = torch.where(drawn[:, 0].bool().view(-1, 1, 1, 1, 1), clips.flip(-1), clips)
    mean, std = (torch.tensor(values, device=frames.device).view(3, 1, 1) for values in (IMAGENET_MEAN, IMAGENET_STD))
    return ((clips - mean) / std).to(dtype)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
