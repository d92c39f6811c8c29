"""Decoded frames to clips that a network can take: ours against eager torch and torch.compile.

Each byte has to be read and each number written once, which is what the provider "copy of the clips" does
(it reads more): its ratio is the share of a copy's bandwidth that we reach. In the cases "augmented" every
clip is shifted and has a rectangle erased, as in training.
"""

from __future__ import annotations

import sys
from functools import partial

import torch
from failures import exit_status
from providers import eager_and_compiled, graphed
from timing import arguments, compare
from torch import Tensor

from vreid_fast.kernels import gather_clips
from vreid_fast.kernels.gather_clips import IMAGENET_MEAN, IMAGENET_STD, gather_clips_reference


def main(argv: list[str] | None = None) -> int:
    options = arguments(argv, __doc__)
    shapes = [(8, 4, 64, 32)] if options.quick else [(32, 4, 256, 128), (32, 8, 256, 128)]
    for clips, length, height, width in shapes:
        for dtype in (torch.bfloat16,) if options.device == "cuda" else (torch.float32, torch.bfloat16):
            for augmented in (False, True):
                bench(options, (clips, length, height, width), dtype, augmented)
    return exit_status()


def bench(options, shape: tuple[int, int, int, int], dtype: torch.dtype, augmented: bool) -> None:
    clips, length, height, width = shape
    generator = torch.Generator().manual_seed(0)
    frames = torch.randint(256, (clips * length, height, width, 3), dtype=torch.uint8, generator=generator)
    rows = torch.randperm(len(frames), generator=generator).view(clips, length)
    drawn = torch.zeros(clips, 7, dtype=torch.int32)
    drawn[::2, 0] = 1
    if augmented:
        drawn[:, 1:3] = torch.randint(-10, 11, (clips, 2), generator=generator)
        drawn[:, 3:] = torch.tensor([height // 4, width // 4, height // 3, width // 3])
    given = [tensor.to(options.device) for tensor in (frames, rows, drawn)]
    out = gather_clips(*given, dtype=dtype, channels_last=True)
    spare = torch.empty_like(out)
    rival = shifted_and_erased if augmented else eager
    compared = {"vreid_fast": lambda: gather_clips(*given, out=out)}
    compared |= eager_and_compiled(options, partial(rival, dtype=dtype), lambda function: function(*given))
    if options.device == "cuda":
        compared["vreid_fast, CUDA graph"] = graphed(compared["vreid_fast"])
    compared["copy of the clips"] = lambda: spare.copy_(out)
    case = f"B{clips} T{length} {height}x{width} {str(dtype).removeprefix('torch.')} channels_last"
    compare(
        "gather_clips", case + " augmented" * augmented, compared, out.clone(), device=options.device,
        quick=options.quick, rtol=1e-2, atol=1e-2,
    )  # fmt: skip


def eager(frames: Tensor, rows: Tensor, drawn: Tensor, dtype: torch.dtype) -> Tensor:
    """What most loaders do, on a whole batch: gather, flip some clips, normalise, convert. No shift, no erasing."""
    clips = frames[rows].permute(0, 1, 4, 2, 3)
    clips = torch.where(drawn[:, 0].bool().view(-1, 1, 1, 1, 1), clips.flip(-1), clips)
    mean, std = (torch.tensor(values, device=frames.device).view(3, 1, 1) for values in (IMAGENET_MEAN, IMAGENET_STD))
    return ((clips - mean) / std).to(dtype)


def shifted_and_erased(frames: Tensor, rows: Tensor, drawn: Tensor, dtype: torch.dtype) -> Tensor:
    """All of it, clip by clip, in plain torch."""
    out = frames.new_empty((*rows.shape, *frames.shape[1:]), dtype=dtype).permute(0, 1, 4, 2, 3)
    gather_clips_reference(out, frames, rows, drawn, IMAGENET_MEAN, IMAGENET_STD)
    return out


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
