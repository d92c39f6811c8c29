"""Weights from a file, by name, with an account of every key that does not fit."""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from vreid_fast.errors import InputError

from .convert import convert, is_whole, unwrap
from .network import VideoNetwork

# torchvision's classifier of ImageNet classes, which a Re-ID network has no use for.
IMAGENET_CLASSIFIER = ("fc.weight", "fc.bias")


def load_weights(network: VideoNetwork, name: str, path: str | Path, drop_classifier: bool = False) -> list[str]:
    """Fill `network` from a file, in place: its trunk from ImageNet weights, or all of it from its authors' file.

    Args:
        name: of the network, as in `build`.
        drop_classifier: leave out the classifier of an authors' file.

    Returns:
        One line for each thing that was left out or is not in the file.

    Raises:
        InputError: no such file, not a file of weights, of another network, T, size or number of identities.
    """
    container = _read(path)
    given = unwrap(container)
    if not is_whole(given):
        return _fill_trunk(network.trunk, given, path)
    try:
        converted = convert(name, given)
    except InputError as error:
        raise InputError(f"weights {path}: {error}") from error
    own = network.state_dict()
    notes = []
    if "state_dict" in container and len(container) > 1:
        others = ", ".join(sorted(container.keys() - {"state_dict"}))
        notes.append(f"weights {path}: {others} left out, no part of the network")
    theirs, ours = len(converted["classifier.weight"]), len(own["classifier.weight"])
    if drop_classifier:
        converted = {key: value for key, value in converted.items() if not key.startswith("classifier.")}
        notes.append(f"weights {path}: the classifier of {theirs} identities is left out")
    elif theirs != ours:
        raise InputError(
            f"weights {path}: its classifier is for {theirs} identities, this source has {ours}; "
            "--drop_classifier true leaves it out"
        )
    bad = [_wrong_shape(key, value, own[key]) for key, value in converted.items() if own[key].shape != value.shape]
    if bad:
        raise InputError(
            f"weights {path} are of a {name} for other frames: {_few(bad)}; "
            "set --frames, --height and --width as they were when it was trained"
        )
    network.load_state_dict({**own, **converted})
    return notes


def load_trunk_weights(trunk: nn.Module, path: str | Path) -> list[str]:
    """Fill `trunk` from a file of torchvision-named weights, in place.

    Biases of convolutions, which torchvision has none of, start at zero; plug-ins stay as they are.

    Returns:
        One line for each key that was left out, with the reason, and for each kind that the file lacks.

    Raises:
        InputError: no such file, not a file of weights, or a trunk parameter that the file lacks or has in
            another shape.
    """
    return _fill_trunk(trunk, unwrap(_read(path)), path)


def _fill_trunk(trunk: nn.Module, given: Mapping[str, Tensor], path: str | Path) -> list[str]:
    own = trunk.state_dict()
    notes, bad = [], []
    for name, value in given.items():
        if name in IMAGENET_CLASSIFIER:
            notes.append(f"{name}: left out, the classifier of ImageNet")
        elif name not in own:
            notes.append(f"{name}: left out, this trunk has no such key")
        elif own[name].shape != value.shape:
            bad.append(_wrong_shape(name, value, own[name]))
    absent = [name for name in own if name not in given and not name.endswith("num_batches_tracked")]
    plugins = [name for name in absent if name.startswith("plugins.")]
    biases = [f"{name}.bias" for name, module in trunk.named_modules() if isinstance(module, nn.Conv2d)]
    biases = [name for name in absent if name in set(biases) - set(plugins)]
    bad += [f"{name} is missing" for name in absent if name not in {*plugins, *biases}]
    if bad:
        raise InputError(
            f"weights {path} do not fit this network: {_few(bad)}; "
            "give a file saved from the torchvision ResNet of the same depth, or another --network"
        )
    if biases:
        notes.append(f"weights {path}: no biases of convolutions, {len(biases)} start at zero")
    if plugins:
        notes.append(f"weights {path}: nothing for the {len(trunk.plugins)} plug-ins, they start as initialised")
    zeros = {name: torch.zeros_like(own[name]) for name in biases}
    trunk.load_state_dict({name: given.get(name, own[name]) for name in own} | zeros)
    return notes


def _read(path: str | Path) -> dict:
    """The file's state dict, or the container that holds it under "state_dict"."""
    if not Path(path).is_file():
        raise InputError(f"weights {path}: no such file; give a file of torchvision-named ResNet weights")
    try:
        with torch.serialization.safe_globals(_numpy_scalars()):
            given = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError, KeyError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InputError(f"weights {path}: not a file that torch.load can read safely ({reason})") from error
    state = given.get("state_dict", given) if isinstance(given, dict) else given
    if not isinstance(state, dict) or not all(isinstance(value, Tensor) for value in state.values()):
        raise InputError(f"weights {path}: wanted a state dict of tensors, got {type(given).__name__}")
    return given


def _numpy_scalars() -> list:
    """What the scores beside the authors' weights are pickled as, by the numpy of then and of now."""
    scalar = np.float64(0).__reduce__()[0]
    kinds = [np.dtype, *(type(np.dtype(kind)) for kind in ("float32", "float64", "int64"))]
    return [scalar, (scalar, "numpy.core.multiarray.scalar"), *kinds]


def _wrong_shape(name: str, value: Tensor, wanted: Tensor) -> str:
    return f"{name} has shape {tuple(value.shape)}, wanted {tuple(wanted.shape)}"


def _few(reasons: list[str], most: int = 5) -> str:
    more = f" and {len(reasons) - most} more" if len(reasons) > most else ""
    return ", ".join(reasons[:most]) + more
