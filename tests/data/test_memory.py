"""Host memory comes back when nothing looks at it any more, and no earlier."""

import gc

import torch

from vreid_fast.data.reading.memory import HostMemory


def test_memory_is_used_again_and_not_while_a_view_lives():
    memory = HostMemory()
    first = memory.empty((3, 5), torch.bfloat16)
    assert first.shape == (3, 5) and first.dtype == torch.bfloat16 and first.is_contiguous()
    where, view = first.data_ptr(), first[1:].t()
    del first
    gc.collect()
    second = memory.empty((3, 5), torch.bfloat16)
    assert second.data_ptr() != where
    del view
    gc.collect()
    # Of the same size in bytes, whatever the shape and type.
    assert memory.empty((30,), torch.uint8).data_ptr() == where


def test_a_tensor_outlives_the_pool():
    memory = HostMemory()
    kept = memory.empty((1000,), torch.float32).fill_(7)
    del memory
    gc.collect()
    assert (kept == 7).all()


def test_nothing_takes_nothing():
    assert HostMemory().empty((0, 3), torch.float32).shape == (0, 3)
