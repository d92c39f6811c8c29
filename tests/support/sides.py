"""Where tensors would be on a machine with a GPU, told on one without: on the host or on the device.

"cpu:0" stands for the GPU. What is made or moved there is of the device, what is made without a word of the host, and
what an op gives is of the side of its arguments. An op between both fails, as on a GPU.
"""

import torch
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from vreid_fast.data.reading.loader import Loader

DEVICE = torch.device("cpu:0")
aten = torch.ops.aten
MOVES = {aten.copy_, aten._to_copy}
INDEXES = {aten.index, aten.index_put, aten.index_put_}
"""Ops that take indices of the host too."""
MAKES = {
    torch.arange, torch.as_tensor, torch.empty, torch.eye, torch.full, torch.linspace, torch.ones,
    torch.rand, torch.randint, torch.randn, torch.randperm, torch.tensor, torch.zeros,
}  # fmt: skip


class Sides(TorchDispatchMode):
    """Fails at an op between host and device; `with Sides(): ...` around all that a run is made of."""

    def __init__(self):
        super().__init__()
        self.sides = {}
        self._places = _Places(self)

    def __enter__(self):
        self._next, self._from_numpy, sides = Loader.__next__, torch.from_numpy, self

        def batches(loader):
            found = self._next(loader)
            for batch in found:
                for tensor in (*batch.views, batch.tracklets):
                    sides.put(tensor, "device")
            return found

        def from_numpy(array):
            found = self._from_numpy(array)
            sides.put(found, "host")
            return found

        Loader.__next__, torch.from_numpy = batches, from_numpy
        self._places.__enter__()
        return super().__enter__()

    def __exit__(self, *error):
        super().__exit__(*error)
        self._places.__exit__(*error)
        Loader.__next__, torch.from_numpy = self._next, self._from_numpy

    def side(self, tensor):
        """None where nothing is known of it."""
        found = self.sides.get(tensor.untyped_storage()._cdata)
        return found and found[0]

    def put(self, tensor, side):
        storage = tensor.untyped_storage()  # kept, so that no other is given its number
        self.sides[storage._cdata] = side, storage

    def __torch_dispatch__(self, op, types, args=(), kwargs=None):
        kwargs, kind = kwargs or {}, op.overloadpacket
        given = [leaf for leaf in tree_leaves((args, kwargs)) if _plain(leaf)]
        anywhere = [id(place) for place in args[1] if place is not None] if kind in INDEXES else []
        looked = [tensor for tensor in given if tensor.dim() and id(tensor) not in anywhere]
        sides = {self.side(tensor) for tensor in looked} | {"device" for one in given if self.side(one) == "device"}
        sides -= {None}
        assert len(sides) < 2 or kind in MOVES, f"{op} between host and device: {_words(self, given)}"
        found, device = op(*args, **kwargs), kwargs.get("device")
        known = {tensor.untyped_storage()._cdata for tensor in given}
        for tensor in (leaf for leaf in tree_leaves(found) if _plain(leaf)):
            if tensor.untyped_storage()._cdata in known:
                continue
            if device is not None and device.index is not None:
                self.put(tensor, "device")
            elif len(sides) == 1:  # what goes to the host, `_Places` sees
                self.put(tensor, *sides)
        return found


class _Places(TorchFunctionMode):
    """Tensors say "cpu:0" of themselves where they are on the device; what Python makes elsewhere is of the host."""

    def __init__(self, sides):
        super().__init__()
        self._sides = sides

    def __torch_function__(self, function, types, args=(), kwargs=None):
        on_device = bool(args) and _plain(args[0]) and self._sides.side(args[0]) == "device"
        assert not (on_device and function is torch.Tensor.numpy), "numpy() of a tensor on the device"
        found = function(*args, **(kwargs or {}))
        if on_device and (function is torch.Tensor.cpu or (function is torch.Tensor.to and "cpu" in _to(args, kwargs))):
            found = found.detach().clone()
            self._sides.put(found, "host")
        if function == torch.Tensor.device.__get__:
            return DEVICE if self._sides.side(args[0]) == "device" else found
        if function is torch.Tensor.__deepcopy__ and self._sides.side(args[0]):
            self._sides.put(found, self._sides.side(args[0]))  # it copies the memory itself
        if function in MAKES and _plain(found) and self._sides.side(found) is None:
            self._sides.put(found, "host")
        return found


def _to(args, kwargs):
    """What `Tensor.to` is given, as text."""
    return [str(one) for one in (*args[1:], *(kwargs or {}).values()) if isinstance(one, str | torch.device)]


def _plain(leaf):
    return isinstance(leaf, torch.Tensor) and leaf.layout == torch.strided


def _words(sides, tensors):
    return ", ".join(f"{tuple(tensor.shape)} {sides.side(tensor)}" for tensor in tensors)
