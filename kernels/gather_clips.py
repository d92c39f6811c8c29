"""Clips out of decoded frames: gathered, augmented, normalised and laid out for a network, in one pass.

The C++ is in csrc/gather_clips.cpp, the Triton kernel in gather_clips_triton.py.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from .backends import choose, load_extension
from .outputs import empty_clips
from .registration import register

# Of ImageNet's RGB values, in units of 0..255.
IMAGENET_MEAN = (0.485 * 255, 0.456 * 255, 0.406 * 255)
IMAGENET_STD = (0.229 * 255, 0.224 * 255, 0.225 * 255)


def gather_clips(
    frames: Tensor,
    rows: Tensor,
    augmentations: Tensor | None = None,
    *,
    mean: Sequence[float] = IMAGENET_MEAN,
    std: Sequence[float] = IMAGENET_STD,
    dtype: torch.dtype = torch.float32,
    channels_last: bool = False,
    out: Tensor | None = None,
    parallel: bool = True,
    backend: str | None = None,
) -> Tensor:
    """Clips (B, T, 3, H, W): (frames[rows] - mean) / std, augmented clip by clip; no gradient.

    A row of `augmentations` is (flip, down, right, top, left, height, width), in pixels. It is applied to all
    frames of its clip in this order: mirror left and right where `flip`; normalise; show at (y, x) what is at
    (y + down, x + right), 0 where that is outside the frame; write 0 into the rectangle at (top, left) of
    height x width. After normalisation 0 is the mean colour.

    Args:
        frames: (N, H, W, 3) uint8 RGB.
        rows: (B, T) int64 rows of `frames`; one may come several times.
        augmentations: (B, 7) int32; None = none.
        mean, std: 3 numbers in units of 0..255.
        dtype: float32, bfloat16 or float16 (backend "reference": any float type); computed in float32.
        channels_last: the colours are innermost in memory, so that ``clips.flatten(0, 1)`` is channels_last.
        out: (B, T, 3, H, W) to write into instead; gives dtype and layout.
        parallel: on the CPU, use torch's threads; False = the calling thread alone.
        backend: "reference", "triton", "cpp" or None for the best present.

    Raises:
        ValueError: a wrong shape, dtype or device.
        IndexError: rows out of range (looked at on the CPU only, since on a GPU the look would wait for the
            device; there the row is clamped).
    """
    _check(frames, rows, augmentations, out)
    if augmentations is None:
        augmentations = rows.new_zeros(len(rows), 7, dtype=torch.int32)
    if out is None:
        out = empty_clips((*rows.shape, *frames.shape[1:3]), dtype, channels_last, frames.device)
    backend = choose("gather_clips", backend, frames.device)
    if backend != "reference" and out.dtype not in (torch.float32, torch.bfloat16, torch.float16):
        raise ValueError(
            f"gather_clips: clips must be float32, bfloat16 or float16 on backend {backend!r}, got {out.dtype}; "
            "use backend='reference'"
        )
    mean, std = ([float(value) for value in values] for values in (mean, std))
    _op(out, frames, rows, augmentations, mean, std, parallel, backend)
    return out


def gather_clips_reference(
    out: Tensor, frames: Tensor, rows: Tensor, augmentations: Tensor, mean: Sequence[float], std: Sequence[float]
) -> None:
    """:func:`gather_clips` in plain torch."""
    height, width = frames.shape[1:3]
    accumulate = torch.promote_types(out.dtype, torch.float32)
    clips = frames[rows].to(accumulate)
    flip, down, right, top, left, tall, wide = augmentations.long().unbind(1)
    clips = torch.where(flip.view(-1, 1, 1, 1, 1) != 0, clips.flip(3), clips)
    clips = (clips - clips.new_tensor(mean)) / clips.new_tensor(std)
    y, x = (torch.arange(size, device=frames.device) for size in (height, width))
    from_y, from_x = y + down[:, None], x + right[:, None]
    clip = torch.arange(len(rows), device=frames.device).view(-1, 1, 1)
    # (B, H, W, T, 3): torch puts the axis between the indices last.
    moved = clips[clip, :, from_y.clamp(0, height - 1)[:, :, None], from_x.clamp(0, width - 1)[:, None]]
    inside = ((from_y >= 0) & (from_y < height))[:, :, None] & ((from_x >= 0) & (from_x < width))[:, None]
    below, beside = y - top[:, None], x - left[:, None]
    erased = ((below >= 0) & (below < tall[:, None]))[:, :, None] & ((beside >= 0) & (beside < wide[:, None]))[:, None]
    shown = torch.where((inside & ~erased)[..., None, None], moved, 0.0)
    out.copy_(shown.permute(0, 3, 4, 1, 2))


def _check(frames: Tensor, rows: Tensor, augmentations: Tensor | None, out: Tensor | None) -> None:
    if frames.dim() != 4 or frames.shape[3] != 3 or frames.dtype != torch.uint8:
        raise ValueError(
            f"gather_clips: frames must be (N, H, W, 3) uint8, got {tuple(frames.shape)} {frames.dtype}; "
            "give decoded RGB frames of one size"
        )
    if rows.dim() != 2 or rows.dtype != torch.int64:
        raise ValueError(f"gather_clips: rows must be (B, T) int64, got {tuple(rows.shape)} {rows.dtype}")
    wanted = {"augmentations": (augmentations, (len(rows), 7)), "out": (out, (*rows.shape, 3, *frames.shape[1:3]))}
    for name, (tensor, shape) in wanted.items():
        if tensor is not None and tuple(tensor.shape) != shape:
            raise ValueError(f"gather_clips: {name} must be {shape}, got {tuple(tensor.shape)}")
    if augmentations is not None and augmentations.dtype != torch.int32:
        raise ValueError(f"gather_clips: augmentations must be int32, got {augmentations.dtype}; convert them")
    if out is not None and not (out.is_contiguous() or out.permute(0, 1, 3, 4, 2).is_contiguous()):
        raise ValueError(
            f"gather_clips: out must be contiguous or have the colours innermost, got strides {out.stride()}"
        )
    for name, tensor in {"rows": rows, "augmentations": augmentations, "out": out}.items():
        if tensor is not None and tensor.device != frames.device:
            raise ValueError(
                f"gather_clips: {name} must be on {frames.device} as frames is, got {tensor.device}; move it"
            )


def _run(out, frames, rows, augmentations, mean, std, parallel, backend) -> None:
    if out.numel() == 0:
        return
    if backend == "reference":
        gather_clips_reference(out, frames, rows, augmentations, mean, std)
    elif backend == "cpp":
        load_extension()
        torch.ops.vreid_fast.gather_clips_cpu_(out, frames, rows, augmentations, mean, std, parallel)
    else:
        from .gather_clips_triton import gather

        gather(out, frames, rows, augmentations, mean, std)


_op = register(
    "gather_clips_(Tensor(a!) clips, Tensor frames, Tensor rows, Tensor augmentations, float[] mean, float[] std, "
    "bool parallel, str backend) -> ()",
    _run,
    lambda *arguments: None,
)
