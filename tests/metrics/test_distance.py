"""Products in the features' own precision, whatever the libraries are told."""

import pytest
import torch

from vreid_fast.metrics.distance import full_precision, inner_products


@pytest.mark.parametrize("dtype, error", [(torch.float32, 1e-4), (torch.float64, 1e-12)])
def test_inner_products(dtype, error):
    generator = torch.Generator().manual_seed(0)
    rows, columns = (torch.randn(count, 300, generator=generator, dtype=dtype) for count in (7, 40))
    with full_precision("cpu"):
        for chosen in (rows, rows[1:5]):
            found = inner_products(chosen, columns)
            assert found.dtype == dtype and found.shape == (len(chosen), 40)
            torch.testing.assert_close(found.double(), chosen.double() @ columns.double().T, rtol=0, atol=error)


def test_no_library_may_round_and_each_gets_its_word_back():
    libraries = torch.backends.cuda.matmul, torch.backends.mkldnn.matmul
    before = [library.fp32_precision for library in libraries]
    try:
        torch.backends.cuda.matmul.fp32_precision, torch.backends.mkldnn.matmul.fp32_precision = "tf32", "bf16"
        with full_precision("cpu"):
            assert [library.fp32_precision for library in libraries] == ["ieee", "ieee"]
        assert [library.fp32_precision for library in libraries] == ["tf32", "bf16"]
    finally:
        for library, word in zip(libraries, before, strict=True):
            library.fp32_precision = word
