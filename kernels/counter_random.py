"""Random numbers as a function of (seed, row, column): the same on every backend, no generator state.

The bits are those of ``counter_random_triton.random_bits``; the torch generators are never touched.
"""

from __future__ import annotations

import torch

_LOW = 0xFFFFFFFF
_NONZERO = 0x9E3779B9  # _mix(0) is 0; without this seed 0 would start with zeros


def _multiply(x: torch.Tensor, factor: int) -> torch.Tensor:
    """x * factor modulo 2**32 for 0 <= x < 2**32, in halves so that int64 never overflows."""
    high = (x * (factor >> 16)) & 0xFFFF
    return ((high << 16) + x * (factor & 0xFFFF)) & _LOW


def _mix(x: torch.Tensor) -> torch.Tensor:
    """The 32-bit finaliser "lowbias32" (https://github.com/skeeto/hash-prospector)."""
    x = _multiply(x ^ (x >> 16), 0x7FEB352D)
    x = _multiply(x ^ (x >> 15), 0x846CA68B)
    return x ^ (x >> 16)


def random_bits(seed: torch.Tensor, row: torch.Tensor, column: torch.Tensor) -> torch.Tensor:
    """Uniform integers in [0, 2**32) as int64, broadcast over 0-d `seed`, `row`, `column`."""
    key = _mix((seed & _LOW) ^ _mix(((seed >> 32) & _LOW) ^ _NONZERO))
    return _mix(_mix((key + row) & _LOW) ^ _mix(column))


def uniform(seed: torch.Tensor, row: torch.Tensor, column: torch.Tensor) -> torch.Tensor:
    """Float32 numbers in [0, 1) from the upper 24 of `random_bits`."""
    return (random_bits(seed, row, column) >> 8).to(torch.float32) * 2.0**-24


def as_seed(op: str, seed: int | torch.Tensor, device: torch.device) -> torch.Tensor:
    """`seed` as a 0-d int64 tensor on `device`; a tensor that is one already is passed on without a copy.

    Raises:
        TypeError, ValueError: in the name of `op`, when it is not one integer.
    """
    if isinstance(seed, torch.Tensor):
        if seed.is_floating_point() or seed.is_complex():
            raise TypeError(f"{op}: seed must be an integer, got a tensor of {seed.dtype}; convert it")
        if seed.numel() != 1:
            raise ValueError(f"{op}: seed must hold one element, got shape {list(seed.shape)}; pass a 0-d tensor")
        if seed.dim() or seed.dtype != torch.int64 or seed.device != device:
            seed = seed.to(device=device, dtype=torch.int64).reshape(())
        return seed
    if isinstance(seed, float):
        raise TypeError(f"{op}: seed must be an integer, got {seed}; convert it")
    return torch.full((), seed, dtype=torch.int64, device=device)
