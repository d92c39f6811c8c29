"""What a call launches on a GPU: its Triton kernels, and the torch operators that are more than a view or memory."""

import sys

import torch
from torch.profiler import ProfilerActivity, profile

from vreid_fast.kernels import values

# These allocate, look at the same memory in another way, or only call another operator.
FREE = {
    "empty",
    "empty_like",
    "empty_strided",
    "new_empty",
    "view",
    "as_strided",
    "t",
    "transpose",
    "numpy_T",
    "permute",
    "detach",
}
FREE |= {
    "expand",
    "unsqueeze",
    "select",
    "slice",
    "contiguous",
    "to",
    "promote_types",
    "reshape",
    "alias",
    "resolve_conj",
}


def launches_of(function, monkeypatch) -> list[str]:
    """Names in no particular order; the kernels of vreid_fast are counted instead of run."""
    found = []

    class Counted:
        def __init__(self, name):
            self.name = name

        def __getitem__(self, grid):
            return lambda *positional, **named: found.append(self.name)

    with monkeypatch.context() as patch:
        patch.setattr(torch.utils.deterministic, "fill_uninitialized_memory", False)
        patch.setattr(values, "may_be_read", lambda tensor: False)  # as on a GPU
        for module in [module for name, module in sys.modules.items() if name.startswith("vreid_fast.kernels.")]:
            for name in [name for name in vars(module) if name.endswith("_kernel")]:
                patch.setattr(module, name, Counted(name))
        with profile(activities=[ProfilerActivity.CPU]) as recorded:
            function()
    for event in recorded.events():
        if _launches(event) and not any(_launches(child) for child in event.cpu_children):
            found.append(event.name.removeprefix("aten::"))
    return found


def _launches(event) -> bool:
    return event.name.startswith("aten::") and event.name.removeprefix("aten::") not in FREE
