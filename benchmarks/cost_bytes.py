"""Bytes that the kernels of a case ask for, counted in Triton's interpreter: `TRITON_INTERPRET=1 python cost_bytes.py`.

Each load and store counts, whether a cache has it or not. Prints JSON: case -> kernel -> bytes over the fewest of the
whole case.
"""

from __future__ import annotations

import json
from collections import Counter

import numpy as np
import torch
from cost_cases import CASES
from triton.runtime.interpreter import InterpretedFunction, InterpreterBuilder

_asked: Counter[str] = Counter()
_kernel = [""]


def count_bytes() -> None:
    """From now on, for good."""
    load, store = InterpreterBuilder.create_masked_load, InterpreterBuilder.create_masked_store
    run = InterpretedFunction.run

    def size(pointers, mask) -> int:
        return int(np.sum(mask.data)) * max(pointers.get_element_ty().primitive_bitwidth, 8) // 8

    def loaded(self, pointers, mask, *others, **named):
        _asked[_kernel[0]] += size(pointers, mask)
        return load(self, pointers, mask, *others, **named)

    def stored(self, pointers, value, mask, *others):
        _asked[_kernel[0]] += size(pointers, mask)
        return store(self, pointers, value, mask, *others)

    def ran(self, *positional, **named):
        _kernel[0] = self.fn.__name__
        return run(self, *positional, **named)

    InterpreterBuilder.create_masked_load, InterpreterBuilder.create_masked_store = loaded, stored
    InterpretedFunction.run = ran


def make(*shape: int, dtype: torch.dtype = torch.bfloat16) -> torch.Tensor:
    if dtype.is_floating_point:
        return torch.randn(shape, generator=torch.Generator().manual_seed(0)).to(dtype)
    return torch.zeros(shape, dtype=dtype)


def main() -> None:
    count_bytes()
    counted: dict[tuple, dict[str, float]] = {}
    found = {}
    for case in CASES:
        if not case.small:
            continue
        key = (case.op, case.small)
        if key not in counted:
            _asked.clear()
            case.launch(make, *case.small)
            counted[key] = {kernel: asked / case.fewest(*case.small) for kernel, asked in _asked.items()}
        found[f"{case.op} {case.name}"] = counted[key]
    print(json.dumps(found))


if __name__ == "__main__":
    main()
