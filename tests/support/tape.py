"""What a CUDA graph does, on the CPU: ops are recorded with their tensors and numbers, and replayed into their memory.

As in a graph, no Python runs in a replay: a number of the host is what it was, a tensor is where it was.
"""

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from waits import WAITING, of_cpu_alone


class Tape(TorchDispatchMode):
    """Records the ops within."""

    def __init__(self):
        super().__init__()
        self.calls = []

    def __torch_dispatch__(self, op, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        if op.overloadpacket in WAITING and not of_cpu_alone():
            raise RuntimeError(f"operation not permitted when stream is capturing: {op}")
        found = op(*args, **kwargs)
        known = {place(tensor) for tensor in tensors((args, kwargs))}
        fresh = [tensor for tensor in tensors(found) if place(tensor) not in known]
        self.calls.append((op, args, kwargs, found, fresh))
        return found

    def replay(self):
        with torch.no_grad():
            for op, args, kwargs, found, fresh in self.calls:
                again = op(*args, **kwargs)
                for old, new in zip(tensors(found), tensors(again), strict=True):
                    if any(old is tensor for tensor in fresh):
                        old.copy_(new)


class TapeRecorder:
    """A `vreid_fast.training.graph.Recorder` without a GPU; recording computes nothing that stays, as with a graph.

    Args:
        state: gives the tensors that what is recorded may change.
    """

    def __init__(self, state):
        self.state, self.recorded, self.replayed = state, 0, 0

    def run(self, function):
        return function()

    def record(self, function):
        kept, random = [(tensor, tensor.detach().clone()) for tensor in self.state()], torch.get_rng_state()
        tape = Tape()
        with tape:
            result = function()
        for tensor, value in kept:
            tensor.data.copy_(value)
        torch.set_rng_state(random)
        self.recorded += 1

        def replay():
            self.replayed += 1
            tape.replay()

        return result, replay


def tensors(tree):
    return [leaf for leaf in tree_leaves(tree) if isinstance(leaf, torch.Tensor)]


def place(tensor):
    return tensor.untyped_storage()._cdata
