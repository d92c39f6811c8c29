"""The least of some numbers in a Triton kernel, and where it is."""

import triton
import triton.language as tl


@triton.jit
def least(values, axis: tl.constexpr):
    """Minimum along `axis` and the lowest index that has it. NaN counts as infinity; of infinities alone index 0.

    What tl.min and tl.argmin make of NaN differs between versions of Triton, and between compiler and interpreter.
    """
    return tl.min(tl.where(values == values, values, float("inf")), axis=axis, return_indices=True)
