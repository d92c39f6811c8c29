"""Weights from a file, by name, with an account of every key that does not fit."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from vreid_fast.errors import InputError
from vreid_fast.files import why_no_file

from .cavit import CrossTransformer
from .convert import author_places, check_convertible, is_whole, rename
from .network import VideoNetwork
from .safetensors_files import is_safetensors, read_safetensors
from .state import few, is_counter, misfit, spoiled
from .torch_files import read_torch
from .trunk import ResNetTrunk, added_part
from .weight_search import Place, equals, joined, keys_of, places

Trunk = ResNetTrunk | CrossTransformer


def load_weights(network: VideoNetwork, name: str, path: str | Path, drop_classifier: bool = False) -> list[str]:
    """Fill `network` from a file, in place: its trunk from a ResNet of torchvision's names, of CAViT from a vision
    transformer of timm's, or all of it from its authors' file.

    Where in the file the weights stand is found out: see `places`.

    Args:
        name: of the network, as in `build`.
        drop_classifier: leave out the classifier of an authors' file.

    Returns:
        Lines on where in the file the weights were, what was left out and what is not in the file.

    Raises:
        InputError: no such file, not a file of weights, of another network, T, size or number of identities, or
            with NaN or infinity in it.
    """
    file = joined(_read(path), network.containers)
    found, fit = _look(network.trunk, file)
    whole = author_places(network, file)
    if whole and is_whole(whole[0].tensors) and (fit is None or fit.bad or whole[0].fits > found[0].fits):
        return _fill_whole(network, name, whole, file, path, drop_classifier)
    return _fill_trunk(network.trunk, found, fit, file, path)


def load_trunk_weights(trunk: Trunk, path: str | Path) -> list[str]:
    """Fill `trunk` from a file of torchvision-named weights, in place; where in the file they stand is found out.

    All of the trunk must be there, but for batch-norm counters. Plug-ins may be missing all together: they stay as
    they are.

    Returns:
        Lines on where in the file the weights were, what was left out and what is not in the file.

    Raises:
        InputError: no such file, not a file of weights, or a trunk parameter that the file lacks, or has in another
            shape or with NaN or infinity.
    """
    file = _read(path)
    return _fill_trunk(trunk, *_look(trunk, file), file, path)


class _Fit(NamedTuple):
    """What a trunk can take of some tensors."""

    bad: list[str]
    """A reason for each tensor that it must have and that is missing or of another shape or kind."""
    taken: dict[str, Tensor]
    """What it takes, counters only where they fit."""
    no_plugins: int
    """Plug-ins and the like that the trunk has, where the file has nothing for them."""


def _look(trunk: Trunk, file: object) -> tuple[list[Place], _Fit | None]:
    """The places of a trunk in a file, the best first, and what it can take of that one; None where there is none."""
    wanted = _wanted(trunk)
    found = places(file, wanted, lambda name, value: value.shape == wanted[name].shape)
    return found, _fit(trunk, found[0].tensors) if found else None


def _wanted(trunk: Trunk) -> dict[str, Tensor]:
    """Tensors of a trunk by the names of the plain network that weights come from, then by its own."""
    own, wanted = trunk.state_dict(), {}
    for ours, theirs in trunk.plain_names().items():
        wanted.setdefault(theirs, own[ours])
    return {**wanted, **own}


def _fit(trunk: Trunk, given: Mapping[str, Tensor]) -> _Fit:
    own, names = trunk.state_dict(), trunk.plain_names()
    if not any(ours in given for ours in names):
        copied = {ours: trunk.from_plain(ours, given[theirs]) for ours, theirs in names.items() if theirs in given}
        given = {**given, **copied}
    plugins = [name for name in own if added_part(name) and name not in names]
    if any(name in given for name in plugins):
        plugins = []
    wanted = [name for name in own if not is_counter(name) and name not in plugins]
    taken = {name: given[name] for name in own if name in given and not misfit(name, given[name], own[name])}
    missing = list(dict.fromkeys(f"{names.get(name, name)} is missing" for name in wanted if name not in given))
    unlike = [reason for name in wanted if name in given and (reason := misfit(name, given[name], own[name]))]
    return _Fit(unlike + missing, taken, len({added_part(name) for name in plugins}))


def _fill_trunk(trunk: Trunk, found: list[Place], fit: _Fit | None, file: object, path: str | Path) -> list[str]:
    own, names, wanted = trunk.state_dict(), trunk.plain_names(), _wanted(trunk)
    what = f"give a file saved from {trunk.plain}, or another --network"
    if fit is None:
        raise InputError(
            f"weights {path}: no name in it is one of this network's; it holds {keys_of(file)}; wanted are "
            f"{few([*wanted], 10)}; {what}"
        )
    if fit.bad:
        strange = found[0].fits < len({names.get(name, name) for name in own}) / 2
        both = f"; it holds {keys_of(file)}; wanted are {few([*wanted], 10)}" if strange else ""
        raise InputError(f"weights {path} do not fit this network: {few(fit.bad)}{both}; {what}")
    notes = _account(path, found, wanted, file)
    if fit.no_plugins:
        notes.append(f"weights {path}: nothing for the {fit.no_plugins} plug-ins, they start as initialised")
    _check_numbers(path, fit.taken, own)
    trunk.load_state_dict({**own, **fit.taken})
    return notes + _rounded(path, fit.taken, own)


def _fill_whole(
    network: VideoNetwork, name: str, found: list[Place], file: object, path: str | Path, drop_classifier: bool
) -> list[str]:
    own = network.state_dict()
    try:
        check_convertible(name)
        converted = rename(name, network, found[0].tensors)
    except InputError as error:
        raise InputError(f"weights {path}: {error}") from error
    used = [key for key in found[0].tensors if not key.startswith(network.unused)]
    notes = _account(path, found, used, file)
    theirs = next((len(value) for key, value in converted.items() if key.startswith("classifier.")), None)
    ours = network.identities
    if theirs is None:
        pass  # it has none
    elif drop_classifier:
        converted = {key: value for key, value in converted.items() if not key.startswith("classifier.")}
        notes.append(f"weights {path}: the classifier of {theirs} identities is left out")
    elif theirs != ours:
        raise InputError(
            f"weights {path}: its classifier is for {theirs} identities, this source has {ours}; "
            "--drop_classifier true leaves it out"
        )
    bad = [reason for key, value in converted.items() if (reason := misfit(key, value, own[key]))]
    if bad:
        raise InputError(
            f"weights {path} are of a {name} for other frames: {few(bad)}; "
            "set --frames, --height and --width as they were when it was trained"
        )
    _check_numbers(path, converted, own)
    network.load_state_dict({**own, **converted})
    return notes + _rounded(path, converted, own)


def _check_numbers(path: str | Path, taken: Mapping[str, Tensor], own: Mapping[str, Tensor]) -> None:
    bad = [reason for name, value in taken.items() if (reason := spoiled(name, value, own[name]))]
    if bad:
        raise InputError(
            f"weights {path} cannot be used: {few(bad)}; the training that wrote it went wrong: give an earlier file"
        )


def _account(path: str | Path, found: list[Place], known: Collection[str], file: object) -> list[str]:
    """What was taken, what fits as well, and what is left out, as no part of the network."""
    place, others = found[0], equals(found, known)
    notes = []
    if place.container or place.prefix:
        notes.append(f"weights {path}: taken from {place}")
    if others:
        notes.append(f"weights {path}: {few([str(other) for other in others])} would fit as well and is left out")
    outside = [
        str(key)
        for key in (file if isinstance(file, Mapping) and place.container else ())
        if not f"{place.container}.".startswith(f"{key}.")
    ]
    left = sorted([*outside, *place.beside, *(name for name in place.tensors if name not in known)])
    if left:
        notes.append(f"weights {path}: {few(left)} left out, no part of the network")
    return notes


def _rounded(path: str | Path, taken: Mapping[str, Tensor], own: Mapping[str, Tensor]) -> list[str]:
    lost = [
        name
        for name, value in taken.items()
        if value.dtype == torch.float64 and not torch.equal(value.to(own[name].dtype).double(), value)
    ]
    return [f"weights {path}: {len(lost)} tensors of float64 are rounded to float32 ({few(lost, 2)})"] if lost else []


def _read(path: str | Path) -> object:
    if why := why_no_file(path):
        raise InputError(f"weights {path}: {why}; give a file of torchvision-named ResNet weights")
    file = (read_safetensors if is_safetensors(path) else read_torch)(path, "weights")
    if not isinstance(file, Mapping):
        raise InputError(f"weights {path}: wanted a state dict of tensors, got {type(file).__name__}")
    return file
