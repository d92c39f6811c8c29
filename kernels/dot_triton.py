"""How Triton kernels take matrix products: the operands' type and the precision of float32."""

import torch
import triton
import triton.language as tl

_HALF = {torch.bfloat16: tl.bfloat16, torch.float16: tl.float16}


def operand_type(*tensors: torch.Tensor) -> tl.dtype:
    """The half type that all `tensors` share, otherwise float32."""
    dtypes = {tensor.dtype for tensor in tensors}
    if triton.knobs.runtime.interpret and torch.bfloat16 in dtypes:
        return tl.float32  # the interpreter would multiply bit patterns
    return _HALF.get(dtypes.pop(), tl.float32) if len(dtypes) == 1 else tl.float32


def precision() -> str:
    """tl.dot's float32 precision as `torch.backends.cuda.matmul` is set: tensor cores' for "tf32", otherwise its own.

    Its own: as the sum of three products of tensor cores (tf32x3), good to about 2^-21 and some three times
    as fast on an H100 as the ordinary cores.
    """
    # Not torch.get_float32_matmul_precision, which raises where this was set by its own name.
    return "tf32" if torch.backends.cuda.matmul.fp32_precision == "tf32" else "tf32x3"


@triton.jit
def dot_of_bits(bits, value, total, TYPE: tl.constexpr):
    """total + bits @ value for float32 `value` and `bits` of 0 and 1, exact but for the sum.

    Three bfloat16 hold all 24 bits of a float32, so that tensor cores multiply without rounding.
    """
    for _ in tl.static_range(3):
        part = value.to(TYPE)
        total = tl.dot(bits, part, total, input_precision="ieee")
        value -= part.to(tl.float32)
    return total
