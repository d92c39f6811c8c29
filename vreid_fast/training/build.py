"""The network of a run: as it starts, and as a checkpoint holds it."""

from __future__ import annotations

from pathlib import Path

import torch

from vreid_fast.config import Config
from vreid_fast.errors import InputError
from vreid_fast.models import PROJECTING, CameraStatistics, VideoNetwork, build, load_weights

from .checkpoint import load


def initial_network(config: Config, identities: int) -> tuple[VideoNetwork, list[str]]:
    """The network before training, on the CPU, and notes on the weights that it was given.

    Raises:
        InputError: a network that does not exist or cannot take these frames or this loss; weights that do not fit.
    """
    if config.info_nce and config.network not in PROJECTING:
        raise InputError(
            f"--info_nce {config.info_nce}: network {config.network} has no projection for it; set --info_nce 0, or "
            f"--network to one of {', '.join(PROJECTING)}"
        )
    if config.info_nce and config.frames < 2:
        raise InputError(f"--info_nce {config.info_nce} compares frames of a clip: set --frames 2 or more")
    torch.manual_seed(config.seed)
    network = _build(config, identities)
    notes = load_weights(network, config.network, config.weights, config.drop_classifier) if config.weights else []
    return network, notes


def load_network(path: str | Path, which: str = "student") -> tuple[VideoNetwork, Config, CameraStatistics | None]:
    """The student or the teacher of a checkpoint, on the CPU, the configuration of its run, and the batch-norm
    statistics of the cameras of its target where the run has them.

    Raises:
        InputError: no checkpoint, or one without a teacher.
    """
    state = load(path)
    config = Config(**{**state["config"], "combined_sizes": tuple(state["config"]["combined_sizes"])})
    if which == "teacher" and state["teacher"] is None:
        raise InputError(
            f"checkpoint {path} has no teacher (method {config.method}, step {state['step']}); use --network student"
        )
    network = _build(config, state["identities"])
    network.load_state_dict(state["student"] if which == "student" else state["teacher"]["network"])
    return network.eval(), config, state["statistics"].get(which)


def _build(config: Config, identities: int) -> VideoNetwork:
    size = (config.height, config.width)
    return build(config.network, identities=identities, frames=config.frames, size=size)
