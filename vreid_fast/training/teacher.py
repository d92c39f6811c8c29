"""The mean teacher: a copy of the student that follows it by EMA (eq. 11; Tarvainen and Valpola, 2017)."""

from __future__ import annotations

import copy

import torch
from torch import Tensor

from vreid_fast.kernels import EmaUpdater
from vreid_fast.models import VideoNetwork
from vreid_fast.models.stochastic_depth import settle

from .checkpoint_checks import check_state


class MeanTeacher:
    """A teacher that starts as a copy of `student`.

    Its forward uses the batch statistics of the target clips it is given, as the student's does; its
    buffers follow the student's by the same average. It has its whole depth where the student's is stochastic.

    Args:
        student: the network to follow.
        decay: highest decay; it is min(1 - 1/(k+1), decay) at step k since the teacher's start.
    """

    def __init__(self, student: VideoNetwork, decay: float = 0.99):
        self.network = copy.deepcopy(student).train().requires_grad_(False)
        settle(self.network)
        self.updater = EmaUpdater(self.network, student, decay)

    @torch.no_grad()
    def __call__(self, clips: Tensor) -> Tensor:
        """Clips (B, T, 3, H, W) -> clip features (B, D)."""
        return self.network(clips).clip

    def follow(self) -> None:
        """One step of the average, after the student's own step."""
        self.updater.update()

    def state_dict(self) -> dict:
        return {"network": self.network.state_dict(), "updater": self.updater.state_dict()}

    def load_state_dict(self, state: dict) -> None:
        check_state("teacher", state.get("network"), self.network.state_dict())
        if not isinstance(state.get("updater"), dict):
            raise ValueError("teacher: its updater is missing")
        self.network.load_state_dict(state["network"])
        self.updater.load_state_dict(state["updater"])
