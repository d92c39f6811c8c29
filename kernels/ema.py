"""The exponential moving average of a student network's state: the mean teacher (arXiv 1703.01780).

Update k = 0, 1, 2, ... is theta_teacher = a * theta_teacher + (1 - a) * theta_student with
a = min(1 - 1 / (k + 1), decay) (arXiv 2402.02108, eq. 11) or, without warm-up, a = decay.
"""

from __future__ import annotations

from operator import is_
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from .backends import choose


class EmaUpdater:
    """Makes `teacher` the moving average of `student`, one step at each `update()`.

    The state is the parameters and the persistent buffers. Floating-point tensors (float16, bfloat16,
    float32, float64, in any mix) are averaged in float32 or better, everything else is copied. Keep the
    teacher in float32: at a decay of 0.99 most steps are smaller than half a bfloat16 digit. With
    warm-up the first update has a = 0: the teacher becomes the student.

    `update()` is one pass over the memory, on CUDA in one launch for up to 736 tensors. It never waits for
    the device and can be captured in a CUDA graph: the schedule lives in 0-d tensors on the networks'
    device. `steps` (int64) counts the updates, `decay` (float64) is the ceiling and may be changed in
    place between updates, `decay_now` (float64) is the `a` of the last update. Tensors are looked up by
    name at every update, so a parameter may be replaced.

    Args:
        teacher, student: networks of one architecture.
        decay: in [0, 1].
        warmup: see above.
        buffers: "ema" averages floating-point buffers, "copy" takes the student's.
        half: a third one, usually ``copy.deepcopy(teacher).bfloat16()``, into which the same pass writes
            the teacher's new state, so that a forward in half precision needs no casts.
        backend: "reference", "cpp" or None for the best present.

    Raises:
        ValueError: the networks hold different names, shapes, devices or kinds of numbers, or share a
            tensor, or a knob is out of its range; `update()`: a tensor is not dense in memory, or one of
            `half` lies in another memory format than the teacher's.
    """

    def __init__(
        self,
        teacher: nn.Module,
        student: nn.Module,
        decay: float = 0.99,
        *,
        warmup: bool = True,
        buffers: str = "ema",
        half: nn.Module | None = None,
        backend: str | None = None,
    ):
        if not 0 <= decay <= 1:
            raise ValueError(f"ema: decay must be in [0, 1], got {decay}; 0.99 is usual")
        if buffers not in ("ema", "copy"):
            raise ValueError(f'ema: buffers must be "ema" or "copy", got {buffers!r}; choose one')
        slots = {"teacher": _slots(teacher), "student": _slots(student)}
        if half is not None:
            slots["half"] = _slots(half)
        _check_alike(slots)
        names = _distinct(slots["teacher"])
        # The averaged tensors first, then the copied ones.
        names.sort(key=lambda name: _is_copied(slots["teacher"][name], buffers))
        self._averaged = sum(not _is_copied(slots["teacher"][name], buffers) for name in names)
        # All of the teacher's, then all of the student's, then all of half's.
        self._where = [(of[name].holder, of[name].key) for of in slots.values() for name in names]
        self._count = len(names)
        device = slots["teacher"][names[0]].tensor.device
        self._backend = choose("ema", backend, device)
        self._plan: Any = None
        self._planned: list[Tensor] = []
        self.warmup = warmup
        # The second counter is scratch of the CUDA kernel.
        self._counters = torch.zeros(2, dtype=torch.int64, device=device)
        self._rates = torch.tensor([decay, 0.0], dtype=torch.float64, device=device)
        self._name_schedule()

    def _name_schedule(self) -> None:
        self.steps = self._counters[0]
        self.decay, self.decay_now = self._rates[0], self._rates[1]

    @torch.no_grad()
    def update(self) -> None:
        """One step of the average, from the student as it is now."""
        tensors = [holder[key] for holder, key in self._where]
        schedule = self._counters, self._rates
        if self._backend == "reference":
            ema_update_reference(*self._lists(tensors), *schedule, self._averaged, self.warmup)
        elif torch.compiler.is_compiling():
            torch.ops.vreid_fast.ema_update_(*self._lists(tensors), *schedule, self._averaged, self.warmup)
        else:
            if self._plan is None or not all(map(is_, tensors, self._planned)):
                self._plan = torch.classes.vreid_fast.EmaPlan(*self._lists(tensors), self._averaged)
                self._planned = tensors
            self._plan.update(*schedule, self.warmup)

    def _lists(self, tensors: list[Tensor]) -> tuple[list[Tensor], list[Tensor], list[Tensor]]:
        """Those of the teacher, the student and half."""
        n = self._count
        return tensors[:n], tensors[n : 2 * n], tensors[2 * n :]

    def state_dict(self) -> dict[str, Tensor]:
        """The schedule (`steps`, `decay`, `decay_now`); the networks' own state is not part of it."""
        return {name: getattr(self, name).clone() for name in ("steps", "decay", "decay_now")}

    @torch.no_grad()
    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Resumes a schedule, in place (a captured graph stays valid).

        Raises:
            ValueError: `state` is not what `state_dict` returned.
        """
        if sorted(state) != ["decay", "decay_now", "steps"]:
            raise ValueError(
                f"ema: state must hold steps, decay, decay_now, got {', '.join(sorted(state)) or 'nothing'}; "
                "pass what state_dict() returned"
            )
        for name, value in state.items():
            getattr(self, name).copy_(value)

    def __getstate__(self) -> dict:
        # A copy looks its tensors up anew.
        return self.__dict__ | {"_plan": None, "_planned": []}

    def __setstate__(self, state: dict) -> None:
        self.__dict__.update(state)
        self._name_schedule()


def ema_update_reference(
    teacher: list[Tensor],
    student: list[Tensor],
    copies: list[Tensor],
    counters: Tensor,
    rates: Tensor,
    averaged: int,
    warmup: bool,
) -> None:
    """``torch.ops.vreid_fast.ema_update_`` in plain torch.

    With a = min(1 - 1 / (counters[0] + 1), rates[0]), or rates[0] without warm-up: teacher[i] = a *
    teacher[i] + (1 - a) * student[i] for i < averaged, computed in float64, teacher[i] = student[i] for the
    others; copies[i] = teacher[i], unless `copies` is empty; rates[1] = a; counters[0] grows by 1.
    """
    decay = torch.minimum(1 - 1 / (counters[0] + 1).double(), rates[0]) if warmup else rates[0]
    for index, (mine, other) in enumerate(zip(teacher, student, strict=True)):
        if index < averaged:
            mean = decay * mine.double() + (1 - decay) * other.double()
            mine.copy_(torch.where(decay == 0, other.double(), mean))
        else:
            mine.copy_(other)
    for copied, mine in zip(copies, teacher, strict=False):
        copied.copy_(mine)
    rates[1] = decay
    counters[0] += 1


class _Slot(NamedTuple):
    """Where a network keeps a tensor: `holder` is the dict of parameters or of buffers of one module."""

    kind: str
    holder: dict
    key: str

    @property
    def tensor(self) -> Tensor:
        return self.holder[self.key]


def _slots(network: nn.Module) -> dict[str, _Slot]:
    """By full name, as in ``network.state_dict()``."""
    slots = {}
    for prefix, module in network.named_modules(remove_duplicate=False):
        for kind, holder in (("parameter", module._parameters), ("buffer", module._buffers)):
            for key, tensor in holder.items():
                if tensor is not None and key not in module._non_persistent_buffers_set:
                    slots[f"{prefix}.{key}" if prefix else key] = _Slot(kind, holder, key)
    return slots


def _distinct(slots: dict[str, _Slot]) -> list[str]:
    """The names of `slots`, of a tensor with several names (tied) the first."""
    return list({id(slot.tensor): name for name, slot in reversed(slots.items())}.values())[::-1]


def _check_alike(slots: dict[str, dict[str, _Slot]]) -> None:
    """Raises unless all networks correspond to the teacher, tensor by tensor, and share none."""
    teacher = slots["teacher"]
    if not teacher:
        raise ValueError("ema: teacher must hold parameters, got none; pass a network with parameters")
    owner: dict[int, str] = {}
    for role, theirs in slots.items():
        for here, there, only in ((teacher, theirs, "teacher"), (theirs, teacher, role)):
            alone = [name for name in here if name not in there]
            if alone:
                raise ValueError(
                    f"ema: teacher and {role} must hold the same names, got {_first(alone)} in the {only} only; "
                    "pass two networks of one architecture, neither of them wrapped or compiled"
                )
        shared = [name for name, slot in theirs.items() if owner.setdefault(id(slot.tensor), role) != role]
        if shared:
            raise ValueError(
                f"ema: {role} must be a network of its own, got one that shares {_first(shared)} "
                f"with the {owner[id(theirs[shared[0]].tensor)]}; pass copy.deepcopy of it"
            )
        wrong = [
            f"{name} {_described(theirs[name].tensor)} for {_described(slot.tensor)}"
            for name, slot in teacher.items()
            if not _match(slot.tensor, theirs[name].tensor)
        ]
        if wrong:
            raise ValueError(
                f"ema: {role} tensors must be like the teacher's, got {_first(wrong)}; "
                "pass two networks of one architecture"
            )


def _is_copied(slot: _Slot, buffers: str) -> bool:
    return not slot.tensor.is_floating_point() or (slot.kind == "buffer" and buffers == "copy")


def _match(mine: Tensor, other: Tensor) -> bool:
    both_floating = mine.is_floating_point() and other.is_floating_point()
    same_kind = both_floating or mine.dtype == other.dtype
    return same_kind and mine.shape == other.shape and mine.device == other.device


def _described(tensor: Tensor) -> str:
    return f"{str(tensor.dtype).removeprefix('torch.')} {tuple(tensor.shape)} on {tensor.device}"


def _first(names: list[str], shown: int = 3) -> str:
    more = f" and {len(names) - shown} more" if len(names) > shown else ""
    return ", ".join(names[:shown]) + more
