"""Pooling of a clip's feature maps over space and time: frame features and their mean, in one read.

The definition is :func:`temporal_pool_reference`; the Triton kernels are in temporal_pool_triton.py.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from . import values
from .backends import choose
from .outputs import empty_maps
from .registration import register


def temporal_pool(
    x: Tensor,
    frames: int | None = None,
    lengths: Tensor | None = None,
    *,
    spatial: str = "max",
    backend: str | None = None,
) -> tuple[Tensor, Tensor]:
    """Frame features (B, T, D) and clip features (B, D), both differentiable and of x's dtype.

    A frame feature is the maximum or mean of the frame's map over H x W; a clip feature is the mean of
    the clip's valid frame features. Sums are taken in float32 or better. Of equal maxima the first
    (row by row) takes the whole gradient.

    Args:
        x: feature maps (B*T, D, H, W), contiguous or channels_last, with `frames` = T; or frame
            features (B, T, D), which are pooled over time only.
        frames: T; needed with feature maps.
        lengths: (B,) integers in 1..T, the valid frames of each clip; None means all T. The others
            (padding) give zero frame features, take no part in the mean and get zero gradient.
        spatial: "max" or "mean".
        backend: "reference", "triton" or None for the best present (float64: "reference").

    Raises:
        ValueError: a wrong shape or `spatial`; a length outside 1..T (looked at on the CPU only, since
            on a GPU the look would wait for the device; there lengths are clamped to 0..T).
        TypeError: a dtype that the backend does not take.
    """
    clips, frames = _check(x, frames, lengths, spatial)
    if backend is None and x.dtype == torch.float64:
        backend = "reference"
    if choose("temporal_pool", backend, x.device) == "reference":
        return temporal_pool_reference(x, frames, lengths, spatial=spatial)
    if x.dtype not in (torch.float32, torch.bfloat16, torch.float16):
        raise TypeError(
            f"temporal_pool: x must be float32, bfloat16 or float16 on backend 'triton', got {x.dtype}; "
            "use backend='reference'"
        )
    maps = x if x.dim() == 4 else x.reshape(clips * frames, x.shape[2], 1, 1)
    maximum = spatial == "max" and x.dim() == 4
    frame_features, clip_features, _ = _forward_op(maps, frames, lengths, maximum)
    return frame_features, clip_features


def temporal_pool_reference(
    x: Tensor, frames: int | None = None, lengths: Tensor | None = None, *, spatial: str = "max"
) -> tuple[Tensor, Tensor]:
    """:func:`temporal_pool` in plain torch, any device and float type."""
    accumulate = torch.promote_types(x.dtype, torch.float32)
    if x.dim() == 4:
        assert frames is not None, "feature maps need frames"
        if spatial == "max":
            # Unlike amax, whose gradient is split among equal maxima, this gives it to the first.
            x_pooled = F.adaptive_max_pool2d(x, 1)
        else:
            x_pooled = x.mean((2, 3), keepdim=True, dtype=accumulate)
        features = x_pooled.reshape(x.shape[0] // frames, frames, x.shape[1]).to(accumulate)
    else:
        features = x.to(accumulate)
    features, clip_features = mean_over_frames(features, lengths)
    return features.to(x.dtype), clip_features.to(x.dtype)


def mean_over_frames(features: Tensor, lengths: Tensor | None) -> tuple[Tensor, Tensor]:
    """Features (B, T, D) with padding frames zero, and the mean (B, D) of the `lengths` (B,) valid ones."""
    if lengths is None:
        return features, features.mean(1)
    frames = features.shape[1]
    valid = torch.arange(frames, device=features.device) < lengths[:, None]
    features = torch.where(valid[..., None], features, 0.0)
    return features, features.sum(1) / lengths[:, None].clamp(1, frames)


def _check(x: Tensor, frames: int | None, lengths: Tensor | None, spatial: str) -> tuple[int, int]:
    """(B, T) of valid arguments; raises otherwise."""
    shape = tuple(x.shape)
    if spatial not in ("max", "mean"):
        raise ValueError(f"temporal_pool: spatial must be 'max' or 'mean', got {spatial!r}")
    if x.dim() == 3:
        if frames is not None and frames != shape[1]:
            raise ValueError(
                f"temporal_pool: frames must be {shape[1]} for features {shape}, got {frames}; leave it out"
            )
        clips, frames = shape[:2]
    elif x.dim() == 4:
        if frames is None or frames < 1:
            raise ValueError(
                f"temporal_pool: frames must be the frames T of a clip for maps {shape}, got {frames}; pass frames=T"
            )
        if shape[0] % frames:
            raise ValueError(
                f"temporal_pool: x must hold B*T maps, got {shape[0]} with frames={frames}; "
                "pass whole clips (pad them and give lengths)"
            )
        clips = shape[0] // frames
    elif x.dim() == 2:
        raise ValueError(f"temporal_pool: frames must be (B, T, D), got {shape}; add a T axis of 1 for images")
    else:
        raise ValueError(f"temporal_pool: x must be (B*T, C, H, W) or (B, T, D), got {shape}; reshape it")
    if not x.is_floating_point():
        raise TypeError(f"temporal_pool: x must be of a float type, got {x.dtype}; convert it")
    if 0 in shape[1:]:
        raise ValueError(f"temporal_pool: x must have frames, channels and positions, got {shape}")
    check_lengths("temporal_pool", lengths, clips, frames, x.device)
    return clips, frames


def check_lengths(op: str, lengths: Tensor | None, clips: int, frames: int, device: torch.device) -> None:
    """ValueError unless `lengths` is None or (clips,) integers in 1..frames, whose values only a CPU looks at."""
    if lengths is None:
        return
    if tuple(lengths.shape) != (clips,) or lengths.is_floating_point() or lengths.dtype == torch.bool:
        raise ValueError(
            f"{op}: lengths must be ({clips},) integers, got {tuple(lengths.shape)} {lengths.dtype}; "
            "give one for each clip"
        )
    if lengths.device != device:
        raise ValueError(f"{op}: lengths must be on {device} as the features are, got {lengths.device}; move it")
    if values.may_be_read(lengths) and ((lengths < 1) | (lengths > frames)).any():
        raise ValueError(f"{op}: lengths must be in 1..{frames}, got {lengths.tolist()}; drop empty clips")


def _forward(maps: Tensor, frames: int, lengths: Tensor | None, maximum: bool) -> tuple[Tensor, Tensor, Tensor]:
    """Frame features (B, T, C), clip features (B, C) and, for the maximum, its position (B*T, C) int32."""
    from .temporal_pool_triton import forward

    return forward(maps, frames, lengths, maximum)


def _forward_fake(maps, frames, lengths, maximum):
    rows, channels = maps.shape[:2]
    return (
        maps.new_empty(rows // frames, frames, channels),
        maps.new_empty(rows // frames, channels),
        maps.new_empty((rows if maximum else 0, channels), dtype=torch.int32),
    )


def _backward(
    grad_frames: Tensor | None, grad_clips: Tensor | None, lengths: Tensor | None, index: Tensor,
    frames: int, height: int, width: int, channels_last: bool, maximum: bool,
) -> Tensor:  # fmt: skip
    """Gradient (B*T, C, H, W) of the maps, each element written once; one of the two gradients may be None."""
    from .temporal_pool_triton import backward

    return backward(grad_frames, grad_clips, lengths, index, frames, height, width, channels_last, maximum)


def _backward_fake(grad_frames, grad_clips, lengths, index, frames, height, width, channels_last, maximum):
    return empty_maps(grad_frames, grad_clips, frames, height, width, channels_last)


def _save(ctx, inputs, output):
    maps, ctx.frames, lengths, ctx.maximum = inputs
    ctx.save_for_backward(lengths, output[2])
    ctx.mark_non_differentiable(output[2])
    ctx.height, ctx.width = maps.shape[2:]
    ctx.channels_last = not maps.is_contiguous() and maps.is_contiguous(memory_format=torch.channels_last)


def _differentiate(ctx, grad_frames, grad_clips, _):
    if grad_frames is None and grad_clips is None:
        return None, None, None, None
    lengths, index = ctx.saved_tensors
    grad = _backward_op(
        grad_frames, grad_clips, lengths, index, ctx.frames, ctx.height, ctx.width, ctx.channels_last, ctx.maximum
    )
    return grad, None, None, None


_forward_op = register(
    "temporal_pool(Tensor maps, SymInt frames, Tensor? lengths, bool maximum) -> (Tensor, Tensor, Tensor)",
    _forward,
    _forward_fake,
    _save,
    _differentiate,
)
_backward_op = register(
    "temporal_pool_backward(Tensor? grad_frames, Tensor? grad_clips, Tensor? lengths, Tensor index, "
    "SymInt frames, SymInt height, SymInt width, bool channels_last, bool maximum) -> Tensor",
    _backward,
    _backward_fake,
)
