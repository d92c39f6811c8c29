"""The exponential moving average of a student network's state: the mean teacher (arXiv 1703.01780).

Update k = 0, 1, 2, ... is theta_teacher = a * theta_teacher + (1 - a) * theta_student with
a = min(1 - 1 / (k + 1), decay) (arXiv 2402.02108, eq. 11) or, without warm-up, a = decay.
"""

from __future__ import annotations

import warnings
from typing import Any

import torch
from torch import Tensor, nn

from .backends import choose
from .ema_foreach import ema_update_foreach
from .ema_reference import ema_update_reference
from .ema_tensors import Slot, Snapshot, check_alike, distinct, dtype_name, first_few, is_copied, slots_of


class EmaUpdater:
    """Makes `teacher` the moving average of `student`, one step at each `update()`.

    The state is the parameters and the persistent buffers. Floating-point tensors (float16, bfloat16,
    float32, float64, in any mix) are averaged in float32 or better, everything else is copied. Keep the
    teacher in float32: at a decay of 0.99 most steps are smaller than half a bfloat16 digit. With
    warm-up the first update has a = 0: the teacher becomes the student.

    `update()` is one pass over the memory, on CUDA in one launch for up to 736 tensors. It never waits for
    the device and can be captured in a CUDA graph, which needs this object alive as long as it is replayed:
    the schedule lives in 0-d tensors on the networks' device. `steps` (int64) counts the updates, `decay`
    (float64) is the ceiling and may be changed in place between updates, `decay_now` (float64) is the `a` of
    the last update.

    The networks may change between updates: a parameter, buffer or module that was replaced is followed by
    its name. What no longer corresponds is a ValueError, and no tensor is touched. A graph that was captured
    before holds the old tensors: capture anew. A compiled `update` follows, but checks shapes only.

    Args:
        teacher, student: networks of one architecture.
        decay: in [0, 1].
        warmup: see above.
        buffers: "ema" averages floating-point buffers, "copy" takes the student's.
        half: a third one, usually ``copy.deepcopy(teacher).bfloat16()``, into which the same pass writes
            the teacher's new state, so that a forward in half precision needs no casts.
        backend: "reference", "foreach", "cpp" or None for the best present.

    Raises:
        ValueError: a knob is out of its range; also at `update()`: the networks hold different names, shapes,
            devices or kinds of numbers, tie (share) other tensors within themselves, or share one between
            them, a tensor is not dense in memory, or one of `half` lies in another memory format than the
            teacher's.

    Warns:
        UserWarning, once: the teacher is averaged in float16 or bfloat16.
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
        self._networks = {"teacher": teacher, "student": student}
        if half is not None:
            self._networks["half"] = half
        self._buffers = buffers
        self._warned = False
        self._plan: Any = None
        self._follow("pass two networks of one architecture, neither of them wrapped or compiled")
        device = self._tensors[0].device
        self._backend = choose("ema", backend, device)
        self.warmup = warmup
        # The second counter is scratch of the CUDA kernel.
        self._counters = torch.zeros(2, dtype=torch.int64, device=device)
        self._rates = torch.tensor([decay, 0.0], dtype=torch.float64, device=device)
        self._name_schedule()

    def _name_schedule(self) -> None:
        self.steps = self._counters[0]
        self.decay, self.decay_now = self._rates[0], self._rates[1]

    def update(self) -> None:
        """One step of the average, from the student as it is now."""
        if torch.compiler.is_compiling():
            self._run(self._walk())
            return
        if (self._snapshot is None or not self._snapshot.is_current()) and not self._follow_tensors():
            self._follow(_AGAIN)
        try:
            if self._backend != "cpp":
                self._run(self._tensors)
            else:
                if self._plan is None:
                    self._plan = torch.classes.vreid_fast.EmaPlan(*self._lists(self._tensors), self._averaged)
                self._plan.update(self._counters, self._rates, self.warmup)
        except (RuntimeError, ValueError):
            self._follow(_AGAIN)  # names the tensor, where `tensor.data` was set to what does not correspond
            raise

    @torch.no_grad()
    def _run(self, tensors: list[Tensor]) -> None:
        plain = {"reference": ema_update_reference, "foreach": ema_update_foreach}
        op = plain.get(self._backend) or torch.ops.vreid_fast.ema_update_
        op(*self._lists(tensors), self._counters, self._rates, self._averaged, self.warmup)

    def _follow(self, advice: str) -> None:
        """Look all tensors up by name; `advice` is what an error says to do."""
        slots = {role: slots_of(network) for role, network in self._networks.items()}
        check_alike(slots, advice)
        teacher = slots["teacher"]
        names = distinct(teacher)
        # The averaged tensors first, then the copied ones.
        names.sort(key=lambda name: is_copied(teacher[name], self._buffers))
        self._averaged = sum(not is_copied(teacher[name], self._buffers) for name in names)
        self._count = len(names)
        self._warn_of_half(teacher, names[: self._averaged])
        # All of the teacher's, then all of the student's, then all of half's.
        self._tensors = [of[name].tensor for of in slots.values() for name in names]
        self._where = [
            (role, of[name].path, of[name].kind, of[name].key) for role, of in slots.items() for name in names
        ]
        self._snapshot: Snapshot | None = Snapshot(self._networks.values())
        self._plan = None

    def _follow_tensors(self) -> bool:
        """Cheaper than `_follow`, for tensors replaced by others like them (buffers that every forward sets anew)."""
        new = self._snapshot.replaced() if self._snapshot else None
        if new is None:
            return False
        self._tensors = [new.get(id(tensor), tensor) for tensor in self._tensors]
        self._plan = None
        return True

    def _warn_of_half(self, teacher: dict[str, Slot], averaged: list[str]) -> None:
        half = [name for name in averaged if teacher[name].tensor.dtype in (torch.float16, torch.bfloat16)]
        if half and not self._warned:
            self._warned = True
            found = first_few([f"{name} {dtype_name(teacher[name].tensor)}" for name in half])
            warnings.warn(
                f"ema: teacher should be float32, got {found}: most steps are smaller than half a digit of it, so its "
                "average stands still; keep the teacher in float32 and pass half= for a copy in half precision",
                stacklevel=4,
            )

    def _walk(self) -> list[Tensor]:
        """`_tensors` looked up through the modules, so that torch.compile guards them all."""
        modules: dict[tuple[str, tuple[str, ...]], Any] = {}
        tensors = []
        for role, path, kind, key in self._where:
            if (role, path) not in modules:
                module: Any = self._networks[role]
                for name in path:
                    module = module._modules[name]
                modules[role, path] = module
            holder = modules[role, path]._parameters if kind == "parameter" else modules[role, path]._buffers
            tensors.append(holder[key])
        return tensors

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
            ValueError: `state` is not what `state_dict` returned: other names or shapes, a decay outside [0, 1].
        """
        if sorted(state) != ["decay", "decay_now", "steps"]:
            raise ValueError(
                f"ema: state must hold steps, decay, decay_now, got {', '.join(sorted(state)) or 'nothing'}; "
                "pass what state_dict() returned"
            )
        for name, value in state.items():
            if not isinstance(value, Tensor) or value.dim() or not 0 <= value < torch.inf:
                raise ValueError(f"ema: {name} must be one number from 0, got {value!r:.60}")
        if state["decay"] > 1:
            raise ValueError(f"ema: decay must be in [0, 1], got {state['decay'].item()}")
        for name, value in state.items():
            getattr(self, name).copy_(value)

    def __getstate__(self) -> dict:
        # A copy looks its tensors up anew.
        return self.__dict__ | {"_plan": None, "_tensors": [], "_snapshot": None}

    def __setstate__(self, state: dict) -> None:
        self.__dict__.update(state)
        self._name_schedule()


_AGAIN = (
    "change the networks alike, or make a new EmaUpdater of networks that correspond; "
    "load_state_dict keeps the schedule"
)
