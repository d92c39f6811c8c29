"""What learns: student, teacher, domain heads, loss weights, consistency, optimiser; and its state on disk."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

import torch

from vreid_fast.data.sampling.graph import GraphSampler
from vreid_fast.losses import LossWeights
from vreid_fast.models import CameraStatistics, DomainHeads, DomainNorms, VideoNetwork
from vreid_fast.models.state import shown

from .checkpoint_checks import check_state, check_statistics
from .clothes import Clothes
from .consistency import Consistency
from .optimiser import learning_rate_factor, load_optimiser, make_optimiser, optimiser_state, set_rate
from .teacher import MeanTeacher


@dataclass(frozen=True)
class Adaptation:
    """What the second stage adds to the student."""

    heads: DomainHeads
    weights: LossWeights
    teacher: MeanTeacher
    consistency: Consistency
    source_norms: DomainNorms | None = None
    """Batch norms of the source, where it has its own; the student's are then the target's."""


class Learner:
    """The student of the first stage and, from `start_adaptation` on, all that the second stage adds.

    Args:
        student: the network, on its device.
        learning_rate: its highest in the first stage.
        weight_decay: of the student.
        optimiser, momentum: what takes the steps, see `make_optimiser`.
        trunk_rate: part of the learning rate that the student's trunk has.
        recordable: whether the optimiser reads its learning rates from the device and steps in one launch, as a CUDA
            graph wants it; None = on a GPU.
    """

    def __init__(
        self,
        student: VideoNetwork,
        *,
        learning_rate: float,
        weight_decay: float,
        optimiser: Literal["adam", "sgd", "nesterov"] = "adam",
        momentum: float = 0.9,
        trunk_rate: float = 1.0,
        recordable: bool | None = None,
    ):
        self.student = student
        self.device = next(student.parameters()).device
        self.weight_decay, self.kind, self.momentum, self.trunk_rate = weight_decay, optimiser, momentum, trunk_rate
        self.recordable = self.device.type == "cuda" if recordable is None else recordable
        self.step = 0
        self.clothes: Clothes | None = None
        """The loss of clothes, where there is one."""
        self.neighbours: GraphSampler | None = None
        """The sampler that asks the student, where there is one."""
        self.adaptation: Adaptation | None = None
        self.statistics: dict[str, CameraStatistics] = {}
        """Batch-norm statistics of the target's cameras, by name of the network, once they are measured."""
        # A 0-d device tensor, so that a schedule recompiles and re-captures nothing.
        self.reversal = torch.zeros((), device=self.device)
        self.restart_optimiser(learning_rate)

    def start_adaptation(
        self,
        consistency: Consistency,
        *,
        learning_rate: float,
        head_learning_rate: float,
        domain_width: int = 128,
        domain_dropout: float = 0.5,
        loss_weights: str = "fixed",
        ema_decay: float = 0.99,
        domain_norms: bool = False,
    ) -> None:
        """Add teacher (a copy of the student as it is), domain heads, loss weights; start the optimiser anew.

        Args:
            domain_norms: whether the source has batch norms of its own from now on.
        """
        student = self.student
        heads = DomainHeads(student.width, domain_width, domain_dropout, student.frame_width).to(self.device)
        weights = LossWeights(loss_weights).to(self.device)
        source_norms = DomainNorms(student) if domain_norms else None
        self.adaptation = Adaptation(heads, weights, MeanTeacher(student, ema_decay), consistency, source_norms)
        self.restart_optimiser(learning_rate, head_learning_rate)

    def restart_optimiser(self, learning_rate: float, head_learning_rate: float = 0.0) -> None:
        """A fresh one over all that there is to learn; trunk, heads and loss weights may have rates of their own."""
        student = dict(self.student.named_parameters())
        trunk = [one for name, one in student.items() if name.startswith("trunk.") and self.trunk_rate != 1]
        rest = [one for name, one in student.items() if not (trunk and name.startswith("trunk."))]
        groups: list[dict[str, Any]] = [{"params": rest, "peak": learning_rate}]
        if trunk:
            groups.append({"params": trunk, "peak": learning_rate * self.trunk_rate})
        groups += [{"params": list(module.parameters()), "peak": learning_rate} for module in self._with_it()]
        for module in (self.adaptation.heads, self.adaptation.weights) if self.adaptation else ():
            groups.append({"params": list(module.parameters()), "peak": head_learning_rate, "weight_decay": 0.0})
        self.optimiser = make_optimiser(groups, self.weight_decay, self.recordable, self.kind, self.momentum)

    def _with_it(self) -> list[torch.nn.Module]:
        """What learns as the student does: batch norms of the source, and what the consistency has."""
        if self.adaptation is None:
            return []
        modules = (self.adaptation.source_norms, self.adaptation.consistency.learns)
        return [module for module in modules if module is not None]

    def set_learning_rate(self, step: int, steps: int, warmup: int, schedule: str = "cosine", **drops: Any) -> float:
        """Each group's peak times `learning_rate_factor`; returns the student's rate."""
        factor = learning_rate_factor(step, steps, warmup, schedule, **drops)
        groups = self.optimiser.param_groups
        for group in groups:
            set_rate(group, group["peak"] * factor)
        return groups[0]["peak"] * factor

    def networks(self) -> dict[str, VideoNetwork]:
        """Student and, where there is one, teacher."""
        return {"student": self.student, **({"teacher": self.adaptation.teacher.network} if self.adaptation else {})}

    def normed(self) -> Iterator[torch.nn.Module]:
        """What has batch norms that training moves: student, teacher, and those of the source."""
        yield from self.networks().values()
        if self.adaptation is not None and self.adaptation.source_norms is not None:
            yield self.adaptation.source_norms

    def tensors(self) -> Iterator[tuple[str, torch.Tensor]]:
        """All that learns, and the buffers of the networks, by name."""
        modules: dict[str, torch.nn.Module] = dict(self.networks())
        if self.adaptation is not None:
            modules |= {"heads": self.adaptation.heads, "weights": self.adaptation.weights}
            modules |= {f"with it {number}": module for number, module in enumerate(self._with_it())}
        if self.clothes is not None:
            modules["clothes"] = self.clothes.judge
        for name, module in modules.items():
            yield from ((f"{name}.{key}", tensor) for key, tensor in module.state_dict().items())

    def _parts(self) -> dict[str, Any]:
        """What learns or remembers beside the student, by its name in a checkpoint."""
        parts, first = self.adaptation, {"clothes": self.clothes, "neighbours": self.neighbours}
        if parts is None:
            return {**first, **dict.fromkeys(("heads", "weights", "teacher", "memory", "source_norms"))}
        return {
            **first, "heads": parts.heads, "weights": parts.weights, "teacher": parts.teacher,
            "memory": parts.consistency, "source_norms": parts.source_norms,
        }  # fmt: skip

    def state_dict(self) -> dict:
        return {
            "step": self.step,
            "student": self.student.state_dict(),
            "optimiser": optimiser_state(self.optimiser),
            "statistics": self.statistics,
            **{name: None if part is None else part.state_dict() for name, part in self._parts().items()},
        }

    def load_state_dict(self, state: dict) -> None:
        """Take a state back; call `start_adaptation` before where the state is of the second stage.

        Raises:
            ValueError: parts that are missing, of another network, or not finite.
        """
        check_state("student", state["student"], self.student.state_dict())
        self.student.load_state_dict(state["student"])
        for name, part in self._parts().items():
            given = state.get(name)  # a checkpoint that is older than a part has none
            if (part is None) != (given is None) and name != "memory":
                raise ValueError(
                    f"{name}: {'there is one' if part is None else 'there is none'} at step {state['step']}"
                )
            if isinstance(part, torch.nn.Module):
                check_state(name, given, part.state_dict())
            if part is not None and given is not None:
                part.load_state_dict(given)
        load_optimiser(self.optimiser, state["optimiser"])
        networks = self.networks()
        for name, given in state["statistics"].items():
            if name not in networks:
                raise ValueError(f"statistics of {shown(name)}: there is no such network")
            check_statistics(name, given, networks[name])
        self.step, self.statistics = state["step"], state["statistics"]
