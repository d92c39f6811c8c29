"""The loss of clothes in a run: who tells clothes apart, and what it makes of a batch of the source."""

from __future__ import annotations

import torch
from torch import Tensor

from vreid_fast.config.groups import ClothesKnobs
from vreid_fast.device import wide
from vreid_fast.losses import (
    ClothesClassifier,
    ClothesMemory,
    clothes_adversarial_loss,
    clothes_cosines,
    clothes_cross_entropy,
)

from .checkpoint_checks import check_state
from .optimiser import load_optimiser, make_optimiser, optimiser_state


class Clothes:
    """The classifier of clothes with an optimiser of its own, or the memory in its place (CAL).

    Args:
        knobs: its losses.
        worn: (N,) classes of clothes of the source's tracklets, on the device.
        owners: (C,) the identity that each class is of, on the device.
        width: D, of the features.
        first: the step of the run at which it begins.
        weight_decay: of the classifier.
        recordable: as of `make_optimiser`.
    """

    def __init__(
        self, knobs: ClothesKnobs, worn: Tensor, owners: Tensor, width: int, *, first: int, weight_decay: float,
        recordable: bool,
    ):  # fmt: skip
        self.knobs, self.worn, self.owners, self.first = knobs, worn, owners, first
        self.optimiser: torch.optim.Optimizer | None = None
        self.judge: ClothesClassifier | ClothesMemory
        if knobs.clothes_by == "memory":
            self.judge = ClothesMemory(len(owners), width, knobs.clothes_momentum).to(worn.device)
        else:
            self.judge = ClothesClassifier(len(owners), width).to(worn.device)
            group = {"params": list(self.judge.parameters()), "peak": knobs.clothes_lr}
            self.optimiser = make_optimiser([group], weight_decay, recordable)

    def begun(self, step: int) -> bool:
        """Whether there is a loss at a step of the run."""
        return step >= self.first

    def loss(self, features: Tensor, tracklets: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """The judge learns from features (B, D) of the source's `tracklets`; then what the features are to minimise.

        Returns:
            The loss, and facts to log.
        """
        clothes, scale = self.worn[tracklets], self.knobs.clothes_scale
        features = wide(features)
        seen = features.detach()
        facts, known = {}, None
        if isinstance(self.judge, ClothesMemory):
            self.judge.follow(seen, clothes)
            known = self.judge.known
        else:
            assert self.optimiser is not None
            cosines = clothes_cosines(seen, self.judge.directions)
            told = clothes_cross_entropy(cosines, clothes, scale)
            facts = {"clothes_told": told.detach(), "clothes_accuracy": (cosines.argmax(1) == clothes).float().mean()}
            self.optimiser.zero_grad(set_to_none=True)
            told.backward()
            self.optimiser.step()
        cosines = clothes_cosines(features, self.judge.directions.detach())
        return clothes_adversarial_loss(cosines, clothes, self.owners, scale, self.knobs.clothes_epsilon, known), facts

    def state_dict(self) -> dict:
        return {
            "judge": self.judge.state_dict(),
            "optimiser": None if self.optimiser is None else optimiser_state(self.optimiser),
        }

    def load_state_dict(self, state: dict) -> None:
        """Take a state back; ValueError for one of others."""
        check_state("clothes", state.get("judge"), self.judge.state_dict())
        self.judge.load_state_dict(state["judge"])
        if self.optimiser is not None:
            load_optimiser(self.optimiser, state["optimiser"])
