"""Triton twin of counter_random.py: the same bits from the same (seed, row, column)."""

import triton
import triton.language as tl


@triton.jit
def _mix(x):
    x = (x ^ (x >> 16)) * tl.full((), 0x7FEB352D, tl.uint32)
    x = (x ^ (x >> 15)) * tl.full((), 0x846CA68B, tl.uint32)
    return x ^ (x >> 16)


@triton.jit
def random_bits(seed, row, column):
    """Uniform uint32 of an int64 scalar `seed` and integer tensors `row`, `column`, broadcast."""
    nonzero = tl.full((), 0x9E3779B9, tl.uint32)
    key = _mix(seed.to(tl.uint32) ^ _mix((seed >> 32).to(tl.uint32) ^ nonzero))
    return _mix(_mix(key + row.to(tl.uint32)) ^ _mix(column.to(tl.uint32)))


@triton.jit
def uniform(seed, row, column):
    """Float32 in [0, 1) from the upper 24 of `random_bits`."""
    return (random_bits(seed, row, column) >> 8).to(tl.float32) * (1.0 / 16777216.0)
