"""Ops for which the host waits, where the device is a GPU."""

import traceback

import torch
from torch.utils._python_dispatch import TorchDispatchMode

aten = torch.ops.aten
WAITING = {
    aten._local_scalar_dense, aten.nonzero, aten.bincount, aten.masked_select, aten._unique2, aten.unique_dim,
    aten.is_nonzero, aten.equal, aten.lift_fresh,
}  # fmt: skip
"""Ops whose result the host needs before it goes on, and lift_fresh, which brings numbers of the host to the device."""


def of_cpu_alone():
    """Whether an op is of a kernel's check of its arguments, which looks into tensors on a CPU only."""
    frames = (frame for frame, _ in traceback.walk_stack(None))
    return any(frame.f_code.co_name == "_check" and "kernels" in frame.f_code.co_filename for frame in frames)


class NoWaits(TorchDispatchMode):
    """Fails at an op that would make the host wait for a GPU."""

    def __torch_dispatch__(self, op, types, args=(), kwargs=None):
        assert op.overloadpacket not in WAITING or of_cpu_alone(), f"{op} waits for the device"
        if op.overloadpacket in (aten.index, aten.index_put, aten.index_put_):
            assert not any(place is not None and place.dtype == torch.bool for place in args[1]), f"{op} by a mask"
        return op(*args, **(kwargs or {}))
