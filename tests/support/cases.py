"""Devices, dtypes, shapes and memory layouts that hurt, shared by the tests of all ops."""

import pytest
import torch

DEVICES = ("cpu", pytest.param("cuda", marks=pytest.mark.gpu))
DTYPES = (torch.float64, torch.float32, torch.bfloat16, torch.float16)
SHAPES = ((), (0,), (1,), (7,), (0, 5), (3, 1), (5, 17), (2, 3, 5), (3, 8, 5, 2))
LAYOUTS = ("contiguous", "channels_last", "reversed", "strided", "offset")

# Largest accepted relative and absolute difference from a float64 reference, for values of order one.
TOLERANCE = {
    torch.float64: {"rtol": 1e-10, "atol": 1e-12},
    torch.float32: {"rtol": 2e-5, "atol": 1e-6},
    torch.bfloat16: {"rtol": 1.6e-2, "atol": 1e-2},
    torch.float16: {"rtol": 2e-3, "atol": 1e-3},
}


def relaid(values: torch.Tensor, layout: str) -> torch.Tensor:
    """A new tensor equal to `values` whose memory is arranged as `layout` says.

    contiguous: row-major; channels_last: axis 1 innermost (from 3 axes on); reversed: axes stored in
    reverse order; strided: every second element of memory that holds NaN (or -1) between;
    offset: row-major but starting one element in, so that nothing is aligned to 16 bytes.
    """
    row_major = torch.contiguous_format
    if layout == "contiguous" or (layout == "channels_last" and values.ndim < 3):
        return values.clone(memory_format=row_major)
    if layout == "channels_last":
        return values.movedim(1, -1).clone(memory_format=row_major).movedim(-1, 1)
    if layout == "reversed":
        axes = tuple(reversed(range(values.ndim)))
        return values.permute(axes).clone(memory_format=row_major).permute(axes)
    filler = float("nan") if values.is_floating_point() else -1
    if layout == "strided":
        memory = values.new_full((*values.shape, 2), filler)
        laid = memory[..., 0]
    elif layout == "offset":
        memory = values.new_full((values.numel() + 1,), filler)
        laid = memory[1:].view(values.shape)
    else:
        raise ValueError(f"layout must be one of {', '.join(LAYOUTS)}, got {layout!r}")
    return laid.copy_(values)


def make(shape, *, dtype=torch.float64, device="cpu", layout="contiguous", seed=0) -> torch.Tensor:
    """Standard normal values of `shape`, the same for every dtype, device and layout of one seed."""
    values = torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return relaid(values.to(device=device, dtype=dtype), layout)
