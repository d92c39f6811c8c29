"""Writing a folder of features: vectors that float16 does not hold, tables that Parquet does not."""

import pytest
import torch

from vreid_fast.errors import InputError
from vreid_fast.extraction.features import read_features
from vreid_fast.extraction.table import Row
from vreid_fast.extraction.writer import FeatureWriter


def writer(folder, dtype="float16", table="tracklets.csv", path="a"):
    facts = {
        "version": 1, "rows": 2, "width": 4, "shard": 2, "sha256": "0" * 64, "data": "folder:/x", "network": "small",
        "distance": "cosine", "statistics": "of the whole target", "format": "safetensors", "dtype": dtype,
    }  # fmt: skip
    return FeatureWriter(folder, facts, [Row(0, path), Row(1, "b")], table)


@pytest.mark.parametrize("length, how", [(1e5, "long"), (1e-9, "short"), (1e-7, "short")])
def test_vectors_that_float16_does_not_hold_are_named(tmp_path, length, how):
    """The short ones became zeros, or lost most of their digits."""
    vectors = torch.stack([torch.ones(4), torch.rand(4, generator=torch.manual_seed(0)) * length])
    whole = writer(tmp_path / "whole", "float32")
    whole.begin()
    whole.write(range(2), vectors)
    assert (read_features(tmp_path / "whole").vectors() == vectors.numpy()).all()
    half = writer(tmp_path / "half")
    (rows,) = half.begin()
    with pytest.raises(InputError, match=f"--dtype float16: the vector of b is too {how} for it; take float32"):
        half.write(rows, vectors)
    half.write(rows, torch.tensor([[1e-3, 0, 3, 4], [0, 0, 0, 0]]))


def test_a_name_that_parquet_does_not_hold(tmp_path):
    pytest.importorskip("pyarrow")
    with pytest.raises(InputError, match="--table parquet: walk.* is no UTF-8, which Parquet wants; take csv"):
        writer(tmp_path / "out", table="tracklets.parquet", path="walk\udcff").begin()
    writer(tmp_path / "out", path="walk\udcff").begin()
