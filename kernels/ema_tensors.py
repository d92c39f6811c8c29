"""Which tensors of some networks correspond: looked up by name, checked, and watched for being replaced."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from itertools import chain
from typing import Any, NamedTuple

from torch import Tensor, nn


class Snapshot:
    """What the modules of some networks hold, to see in one pass over it whether anything was replaced."""

    def __init__(self, networks: Iterable[nn.Module]):
        modules = list(dict.fromkeys(module for network in networks for module in network.modules()))
        persistent = [
            (holder, key, tensor)
            for module in modules
            for holder in (module._parameters, module._buffers)
            for key, tensor in holder.items()
            if key not in module._non_persistent_buffers_set
        ]
        self.tensors: list[tuple[dict, str, Tensor | None]] = persistent
        self.children = [module._modules.values() for module in modules if module._modules]  # views, always as it is
        self.modules = [*chain.from_iterable(self.children)]
        holders = [holder for module in modules for holder in (module._parameters, module._buffers)]
        self.filled = [holder for holder in holders if holder]
        self.count = sum(map(len, self.filled))
        self.empty: list[dict] = [holder for holder in holders if not holder]
        self.empty += [module._modules for module in modules if not module._modules]
        self.places = {memory_of(tensor) for *_, tensor in persistent if tensor is not None}

    def is_current(self) -> bool:
        return self._is_like() and self._is_same()

    def _is_like(self) -> bool:
        """The modules are the same and hold as many tensors."""
        found = [*chain.from_iterable(self.children)]
        return found == self.modules and sum(map(len, self.filled)) == self.count and not any(self.empty)

    def _is_same(self) -> bool:
        try:
            for holder, key, tensor in self.tensors:
                if holder[key] is not tensor:
                    return False
        except KeyError:
            return False
        return True

    def replaced(self) -> dict[int, Tensor] | None:
        """Makes it current and returns each new tensor by the id of what it replaces.

        None, and nothing done, where more is new than tensors like those before in a place of their own.
        """
        if not self._is_like() or not all(key in holder for holder, key, _ in self.tensors):
            return None
        pairs: list[Any] = [(old, holder[key]) for holder, key, old in self.tensors if holder[key] is not old]
        if any(old is None or new is None or old.dtype != new.dtype or not match(old, new) for old, new in pairs):
            return None
        times = Counter(id(old) for *_, old in self.tensors)
        left, taken = ({memory_of(pair[side]) for pair in pairs} for side in (0, 1))
        others = self.places - left
        if len(taken) < len(pairs) or taken & others or any(times[id(old)] > 1 for old, _ in pairs):
            return None
        found = {id(old): new for old, new in pairs}
        self.tensors = [(holder, key, found.get(id(old), old)) for holder, key, old in self.tensors]
        self.places = others | taken
        return found


class Slot(NamedTuple):
    """Where a network keeps a tensor: names of modules down to the one that has it, and its own in there."""

    path: tuple[str, ...]
    kind: str
    key: str
    tensor: Tensor


def slots_of(network: nn.Module) -> dict[str, Slot]:
    """By full name, as in ``network.state_dict()``."""
    slots = {}
    for prefix, module in network.named_modules(remove_duplicate=False):
        path = tuple(prefix.split(".")) if prefix else ()
        for kind, holder in (("parameter", module._parameters), ("buffer", module._buffers)):
            for key, tensor in holder.items():
                if tensor is not None and key not in module._non_persistent_buffers_set:
                    slots[f"{prefix}.{key}" if prefix else key] = Slot(path, kind, key, tensor)
    return slots


def memory_of(tensor: Tensor) -> object:
    """The same for two tensors in one place, as tied weights are after ``load_state_dict(assign=True)``."""
    place = tensor.data_ptr()
    return (place, tensor.shape) if place else id(tensor)


def first_names(slots: dict[str, Slot]) -> dict[str, str]:
    """For each name the first name of the same tensor: another one where weights are tied."""
    first: dict[object, str] = {}
    return {name: first.setdefault(memory_of(slot.tensor), name) for name, slot in slots.items()}


def distinct(slots: dict[str, Slot]) -> list[str]:
    """The names of `slots`, of a tensor with several names (tied) the first."""
    return list(dict.fromkeys(first_names(slots).values()))


def check_alike(slots: dict[str, dict[str, Slot]], advice: str) -> None:
    """Raises unless all networks correspond to the teacher, tensor by tensor, and share none."""
    teacher = slots["teacher"]
    if not teacher:
        raise ValueError("ema: teacher must hold parameters, got none; pass a network with parameters")
    owner: dict[object, str] = {}
    ties = first_names(teacher)
    for role, theirs in slots.items():
        for here, there, only in ((teacher, theirs, "teacher"), (theirs, teacher, role)):
            alone = [name for name in here if name not in there]
            if alone:
                raise ValueError(
                    f"ema: teacher and {role} must hold the same names, got {first_few(alone)} in the {only} only; "
                    f"{advice}"
                )
        shared = [name for name, slot in theirs.items() if owner.setdefault(memory_of(slot.tensor), role) != role]
        if shared:
            raise ValueError(
                f"ema: {role} must be a network of its own, got one that shares {first_few(shared)} "
                f"with the {owner[memory_of(theirs[shared[0]].tensor)]}; pass copy.deepcopy of it"
            )
        wrong = [
            f"{name} {described(theirs[name].tensor)} for {described(slot.tensor)}"
            for name, slot in teacher.items()
            if not match(slot.tensor, theirs[name].tensor)
        ]
        if wrong:
            raise ValueError(f"ema: {role} tensors must be like the teacher's, got {first_few(wrong)}; {advice}")
        for name, first in first_names({name: theirs[name] for name in teacher}).items():
            if first != ties[name]:
                only, tied = ("teacher", ties[name]) if first == name else (role, first)
                raise ValueError(
                    f"ema: teacher and {role} must tie the same tensors, got {name} tied to {tied} in the {only} only; "
                    "tie them in both or in neither"
                )


def is_copied(slot: Slot, buffers: str) -> bool:
    return not slot.tensor.is_floating_point() or (slot.kind == "buffer" and buffers == "copy")


def match(mine: Tensor, other: Tensor) -> bool:
    both_floating = mine.is_floating_point() and other.is_floating_point()
    same_kind = both_floating or mine.dtype == other.dtype
    return same_kind and mine.shape == other.shape and mine.device == other.device


def described(tensor: Tensor) -> str:
    return f"{dtype_name(tensor)} {tuple(tensor.shape)} on {tensor.device}"


def dtype_name(tensor: Tensor) -> str:
    return str(tensor.dtype).removeprefix("torch.")


def first_few(names: list[str], shown: int = 3) -> str:
    more = f" and {len(names) - shown} more" if len(names) > shown else ""
    return ", ".join(names[:shown]) + more
