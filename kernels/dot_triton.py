"""How the Triton launchers take matrix products: the operands' type and the precision of float32."""

import torch
import triton
import triton.language as tl

_HALF = {torch.bfloat16: tl.bfloat16, torch.float16: tl.float16}


def operand_type(*tensors: torch.Tensor) -> tl.dtype:
    """The half type that all `tensors` share, otherwise float32.

    Interpreted, always float32: the interpreter would multiply the bit patterns of bfloat16.
    """
    dtypes = {tensor.dtype for tensor in tensors}
    if len(dtypes) > 1 or triton.knobs.runtime.interpret:
        return tl.float32
    return _HALF.get(dtypes.pop(), tl.float32)


def precision() -> str:
    """tl.dot's float32 precision as torch is set: exact for "highest", tensor cores otherwise."""
    return "ieee" if torch.get_float32_matmul_precision() == "highest" else "tf32"
