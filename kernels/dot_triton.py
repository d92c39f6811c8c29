"""How the Triton launchers take matrix products: the operands' type and the precision of float32."""

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
    """tl.dot's float32 precision as torch is set: exact for "highest", tensor cores otherwise."""
    return "ieee" if torch.get_float32_matmul_precision() == "highest" else "tf32"
