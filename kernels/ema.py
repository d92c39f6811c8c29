"""The exponential moving average of a student network's state: the mean teacher (arXiv 1703.01780).

Update k = 0, 1, 2, ... is theta_teacher = a * theta_teacher + (1 - a) * theta_student with
a = min(1 - 1 / (k + 1), decay) (arXiv 2402.02108, eq. 11) or, without warm-up, a = decay.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from .backends import choose


class EmaUpdater:
    """Makes `teacher` the moving average of `student`, one step at each `update()`.

    The state is the parameters and the persistent buffers. Floating-point tensors (float16, bfloat16,
    float32, float64, in any mix) are averaged in float32 or better, everything else is copied. Keep the
    teacher in float32: at a decay of 0.99 most steps are smaller than half a bfloat16 digit. With
    warm-up the first update has a = 0: the teacher becomes the student.

    `update()` never waits for the device and can be captured in a CUDA graph: the schedule lives in 0-d
    tensors on the networks' device. `steps` (int64) counts the updates, `decay` (float64) is the ceiling
    and may be changed in place between updates, `decay_now` (float64) is the `a` of the last update.
    Tensors are looked up by name at every update, so a parameter may be replaced.

    decay: in [0, 1]. buffers: "ema" averages floating-point buffers, "copy" takes the student's.

    Raises:
        ValueError: the networks hold different names, shapes, devices or kinds of numbers, or share a
            tensor, or a knob is out of its range.
    """

    def __init__(
        self,
        teacher: nn.Module,
        student: nn.Module,
        decay: float = 0.99,
        *,
        warmup: bool = True,
        buffers: str = "ema",
        backend: str | None = None,
    ):
        if not 0 <= decay <= 1:
            raise ValueError(f"ema: decay must be in [0, 1], got {decay}; 0.99 is usual")
        if buffers not in ("ema", "copy"):
            raise ValueError(f'ema: buffers must be "ema" or "copy", got {buffers!r}; choose one')
        pairs = _pairs(_slots(teacher), _slots(student))
        # The averaged tensors first, then the copied ones.
        pairs.sort(key=lambda pair: _is_copied(pair, buffers))
        self._teacher = [(holder, name) for (_, holder, name), _ in pairs]
        self._student = [(holder, name) for _, (_, holder, name) in pairs]
        self._averaged = sum(not _is_copied(pair, buffers) for pair in pairs)
        device = self._tensors(self._teacher)[0].device
        chosen = choose("ema", backend, device)
        self._update = ema_update_reference if chosen == "reference" else torch.ops.vreid_fast.ema_update_
        self.warmup = warmup
        self.steps = torch.zeros((), dtype=torch.int64, device=device)
        self.decay = torch.full((), decay, dtype=torch.float64, device=device)
        self.decay_now = torch.zeros((), dtype=torch.float64, device=device)
        self._one = torch.ones((), dtype=torch.float64, device=device)

    @torch.no_grad()
    def update(self) -> None:
        """One step of the average, from the student as it is now."""
        self.steps.add_(1)
        if self.warmup:
            torch.addcdiv(self._one, self._one, self.steps, value=-1, out=self.decay_now)
            torch.minimum(self.decay_now, self.decay, out=self.decay_now)
        else:
            self.decay_now.copy_(self.decay)
        teacher, student = self._tensors(self._teacher), self._tensors(self._student)
        self._update(teacher, student, self.decay_now, self._averaged)

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

    @staticmethod
    def _tensors(slots) -> list[Tensor]:
        return [holder[name] for holder, name in slots]


def ema_update_reference(teacher: list[Tensor], student: list[Tensor], decay: Tensor, averaged: int) -> None:
    """``torch.ops.vreid_fast.ema_update_`` in plain torch.

    teacher[i] = decay * teacher[i] + (1 - decay) * student[i] for i < averaged, computed in float64, and
    teacher[i] = student[i] for the others.
    """
    for index, (mine, other) in enumerate(zip(teacher, student, strict=True)):
        if index < averaged:
            mean = torch.where(decay == 0, other.double(), decay * mine.double() + (1 - decay) * other.double())
            mine.copy_(mean)
        else:
            mine.copy_(other)


def _slots(network: nn.Module) -> dict[str, tuple[str, dict, str]]:
    """Full name -> (kind, the dict that holds the tensor, its key there), as in ``network.state_dict()``."""
    slots = {}
    for prefix, module in network.named_modules(remove_duplicate=False):
        kinds = {"parameter": module._parameters, "buffer": module._buffers}
        for kind, holder in kinds.items():
            for name, tensor in holder.items():
                if tensor is not None and name not in module._non_persistent_buffers_set:
                    slots[f"{prefix}.{name}" if prefix else name] = (kind, holder, name)
    return slots


def _pairs(teacher: dict, student: dict) -> list[tuple]:
    """The corresponding slots of both networks; a teacher tensor with several names (tied) comes once."""
    for here, there, owner in ((teacher, student, "teacher"), (student, teacher, "student")):
        alone = [name for name in here if name not in there]
        if alone:
            raise ValueError(
                f"ema: teacher and student must hold the same names, got {_first(alone)} in the {owner} "
                "only; pass two networks of one architecture, neither of them wrapped or compiled"
            )
    if not teacher:
        raise ValueError("ema: teacher must hold parameters, got none; pass a network with state")
    wrong, shared, seen, pairs = [], [], set(), []
    for name, (kind, holder, key) in teacher.items():
        mine, other = holder[key], student[name][1][student[name][2]]
        if mine is other:
            shared.append(name)
        elif not _match(mine, other):
            wrong.append(f"{name} {_described(other)} for {_described(mine)}")
        if id(mine) not in seen:
            seen.add(id(mine))
            pairs.append(((kind, holder, key), student[name]))
    if shared:
        raise ValueError(
            f"ema: teacher must be a network of its own, got one that shares {_first(shared)} "
            "with the student; pass copy.deepcopy(student)"
        )
    if wrong:
        raise ValueError(
            f"ema: student tensors must be like the teacher's, got {_first(wrong)}; "
            "pass two networks of one architecture"
        )
    return pairs


def _is_copied(pair: tuple, buffers: str) -> bool:
    kind, holder, name = pair[0]
    return not holder[name].is_floating_point() or (kind == "buffer" and buffers == "copy")


def _match(mine: Tensor, other: Tensor) -> bool:
    both_floating = mine.is_floating_point() and other.is_floating_point()
    same_kind = both_floating or mine.dtype == other.dtype
    return same_kind and mine.shape == other.shape and mine.device == other.device


def _described(tensor: Tensor) -> str:
    return f"{str(tensor.dtype).removeprefix('torch.')} {tuple(tensor.shape)} on {tensor.device}"


def _first(names: list[str], shown: int = 3) -> str:
    more = f" and {len(names) - shown} more" if len(names) > shown else ""
    return ", ".join(names[:shown]) + more
