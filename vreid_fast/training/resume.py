"""What a run goes on from: its checkpoint, if knobs and data are still those that it was made with; or the student of
another's."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from torch import nn

from vreid_fast.data.fingerprint import differences
from vreid_fast.errors import InputError
from vreid_fast.models.convolution_biases import fold_biases

from . import checkpoint
from .checkpoint_checks import check_state, check_there, reading

DATA = "data"
"""Key of the fingerprint in a checkpoint."""


def read_state(folder: Path, knobs: Mapping, defaults: Mapping, on_resume: Mapping[str, str]) -> dict:
    """The state in FOLDER/last.pt.

    Args:
        knobs: that the run is to go on with.
        defaults: of all knobs; that of one which is newer than the checkpoint is what it was made with.
        on_resume: of each knob "fixed", "free" or "same_data".

    Raises:
        InputError: no checkpoint yet, a damaged one, or one that was made with other knobs.
    """
    last = folder / "last.pt"
    if not last.exists():
        raise InputError(
            f"--resume {folder}: no checkpoint there yet, so there is nothing to go on from; begin anew with "
            f"--config {folder / 'config.yaml'} --run {folder} (checkpoints come every --checkpoint_every steps)"
        )
    state = checkpoint.load(last)
    before = {**defaults, **state["config"]}
    # Where the checkpoint knows no data, another path may be other data.
    kinds = {"fixed"} if DATA in state else {"fixed", "same_data"}
    changed = [
        f"--{name} {_plain(value)} (it has {_plain(before[name])})"
        for name, value in knobs.items()
        if on_resume[name] in kinds and before[name] != value
    ]
    if changed:
        raise InputError(
            f"--resume {folder}: its result would be neither the old nor the new one with {', '.join(changed)}; leave "
            f"them as they were, here and in config.yaml, or give them to a new --run, whose second stage may have "
            f"--start {last}"
        )
    return state


def check_data(folder: Path, state: Mapping, data: str) -> str | None:
    """Refuse a checkpoint of other data; returns a note where it does not know its data.

    Args:
        data: fingerprint of the data that the run is to go on with.

    Raises:
        InputError: what was added, removed, changed.
    """
    if DATA not in state:
        return (
            f"{folder / 'last.pt'} does not know its data, as it is of an earlier version: see that they are the same"
        )
    with reading(folder / "last.pt"):
        found = differences(state[DATA], data)
    if found:
        raise InputError(
            f"--resume {folder}: the data have changed since the checkpoint: {'. '.join(found)}. Put them back as they "
            f"were, or give a new --run, whose second stage may have --start {folder / 'last.pt'}"
        )
    return None


def take_student(path: str, network: nn.Module, signature: Mapping, drop_classifier: bool) -> None:
    """Give a network the weights of the student in another run's checkpoint.

    Args:
        signature: what that run must share with this one.
        drop_classifier: the network keeps its own classifier, as for another number of identities.

    Raises:
        InputError: no checkpoint, a damaged one, or one of another network or number of identities.
    """
    state = checkpoint.load(path)
    wanted = {name: value for name, value in signature.items() if not (drop_classifier and name == "identities")}
    checkpoint.check_same(path, state, **wanted)
    check_there(path, state, "student")
    own = network.state_dict()
    student = fold_biases(state["student"], own)
    if drop_classifier:
        student = student | {name: value for name, value in own.items() if name.startswith("classifier.")}
    with reading(path):
        check_state("student", student, own)
    network.load_state_dict(student)


def _plain(value: object) -> object:
    return list(value) if isinstance(value, tuple) else value
