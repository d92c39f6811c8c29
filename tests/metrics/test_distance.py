"""Products in the features' own precision, whatever the libraries are told; features of any length."""

import pytest
import torch

from vreid_fast.metrics import camera_standardise, pairwise_distances
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


@pytest.mark.parametrize("length", [1e-38, 1e-25, 1e-13, 1e20, 1e37])
def test_a_cosine_does_not_depend_on_the_length(length):
    """Beyond float32's range of squares all were equal, and the ranking was that of the gallery's order."""
    features = torch.randn(40, 16, generator=torch.manual_seed(0))
    wanted = pairwise_distances(features, features)
    torch.testing.assert_close(pairwise_distances(features * length, features), wanted, rtol=0, atol=1e-6)
    mixed = torch.where(torch.arange(40)[:, None] % 2 == 0, features, features * length)
    torch.testing.assert_close(pairwise_distances(features, mixed), wanted, rtol=0, atol=1e-6)
    assert pairwise_distances(features[:1] * 0, features).eq(1).all()


def test_distances_beyond_the_dtype_are_refused():
    features = torch.full((2, 4), 1e20)
    for distance in ("euclidean", "dot"):
        with pytest.raises(ValueError, match="distances must be finite, got NaN or infinity; are the features too"):
            pairwise_distances(features, features, distance)
    reference = torch.tensor([[1e200], [-1e200]], dtype=torch.float64).expand(-1, 4)
    with pytest.raises(ValueError, match="the variance of the reference is not finite; are the features too long"):
        camera_standardise(features.double(), None, reference, None)


def test_standardised_features_do_not_depend_on_the_length():
    features = torch.randn(40, 16, generator=torch.manual_seed(0))
    wanted = camera_standardise(features, None, features, None, eps=0)
    found = camera_standardise(features * 1e25, None, features * 1e25, None, eps=0)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, wanted)


def test_features_without_numbers_are_refused():
    with pytest.raises(ValueError, match="must have a width D of at least 1, got 0"):
        pairwise_distances(torch.zeros(2, 0), torch.zeros(3, 0))
