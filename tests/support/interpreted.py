"""Where the backends of the Triton ops are tested: interpreted on a machine without a GPU, compiled on one.

conftest.py sets TRITON_INTERPRET=1 where there is no GPU, before anything imports triton.
"""

import pytest
import torch

_interpreted = pytest.mark.skipif(torch.cuda.is_available(), reason="Triton is compiled on this machine")

# (backend, device); the gpu-marked ones are skipped where there is no GPU.
TRITON_RUNS = (
    pytest.param("triton", "cpu", marks=_interpreted, id="interpreted"),
    pytest.param("triton", "cuda", marks=pytest.mark.gpu, id="triton"),
)
RUNS = (
    pytest.param("reference", "cpu", id="reference"),
    pytest.param("reference", "cuda", marks=pytest.mark.gpu, id="reference-cuda"),
    *TRITON_RUNS,
)
