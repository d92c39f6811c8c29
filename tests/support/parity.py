"""The given reference networks rebuilt: weights and inputs by the rule of parity/README.md."""

import json
import zlib
from collections import defaultdict
from pathlib import Path

import numpy as np
import torch

from vreid_fast.models.convert import TAPS, part_names


def entries_of(folder: Path, module: str | None = None) -> list[dict]:
    """The ordered entries of a network's state dict, or of one of the single modules'."""
    keys = json.loads((folder / "keys.json").read_text())
    return (keys[module] if module else keys)["entries"]


def fill(entries: list[dict], seed: int = 1) -> dict[str, torch.Tensor]:
    """The author's state dict with the weights that the numbers were computed with, checked by their sums."""
    state = {}
    for entry in entries:
        values = _values(entry, seed)
        assert abs(float(values.sum(dtype=np.float64)) - entry["sum"]) <= 1e-9 * max(1, values.size), entry["name"]
        state[entry["name"]] = torch.from_numpy(values)
    return state


def _values(entry: dict, seed: int) -> np.ndarray:
    name, shape = entry["name"], entry["shape"]
    rng = np.random.default_rng(zlib.crc32(f"{name}:{seed}".encode()))
    if not entry["dtype"].startswith("float"):
        return np.zeros(shape, entry["dtype"])
    if name.endswith("running_var"):
        values = rng.uniform(0.5, 1.5, size=shape)
    elif name.endswith("running_mean"):
        values = rng.normal(0, 0.1, size=shape)
    elif name.endswith("weight") and len(shape) == 1:
        values = rng.uniform(0.8, 1.2, size=shape)
    elif name.endswith("bias"):
        values = rng.normal(0, 0.05, size=shape)
    else:
        values = rng.normal(0, np.sqrt(2 / np.prod(shape[1:])), size=shape)
    return (values * entry.get("scale", 1.0)).astype(np.float32)


def draw(shape: tuple[int, ...], seed: int) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(seed).normal(size=shape).astype(np.float32))


def error(ours: torch.Tensor, theirs) -> float:
    """Largest difference over the largest value of theirs, as the tolerances of parity/README.md are given."""
    theirs = torch.as_tensor(np.asarray(theirs), dtype=torch.float64)
    ours = ours.detach().double().reshape(theirs.shape)
    return float((ours - theirs).abs().max() / theirs.abs().max())


def fill_module(module: torch.nn.Module, entries: list[dict]) -> dict[str, str]:
    """Weights of a single module, in place; returns the authors' names by ours. Kernels over three frames of theirs are
    cut into ours."""
    state, own = fill(entries), module.state_dict()
    names = part_names(module)
    assert set(names.values()) == set(state)
    for key, value in own.items():
        theirs, tap = state[names[key]], TAPS.get(key.rsplit(".", 1)[-1])
        cut = theirs.dim() == 5 and theirs.shape[2] == 3
        value.copy_((theirs[:, :, tap] if cut else theirs).reshape(value.shape))
    return names


def check_module(module: torch.nn.Module, folder: Path, case: str, run) -> None:
    """A single module in evaluation mode against its authors': output, input gradient, norms of all gradients.

    Args:
        run: (module, the author's input) -> the output, laid out as theirs.
    """
    about, expected = json.loads((folder / "keys.json").read_text())[case], np.load(folder / f"{case}.npz")
    names = fill_module(module.eval(), about["entries"])
    (given,) = about["inputs"]
    x = draw(given["shape"], given["seed"])
    x = (x.clamp_min(0) if given["transform"].startswith("max") else x).requires_grad_()
    output = run(module, x)
    assert error(output, expected["output"]) < 1e-5
    (output * draw(tuple(output.shape), 77)).sum().backward()
    channels = (slice(None),) * (2 if case == "stam" else 1) + (slice(8),)
    assert error(x.grad[channels], expected["grad_input_0"]) < 5e-5
    squares: dict[str, float] = defaultdict(float)
    for ours, parameter in module.named_parameters():
        if parameter.grad is not None:
            squares[names[ours]] += parameter.grad.double().square().sum().item()
    theirs = dict(zip((entry["name"] for entry in about["entries"]), expected["grad_norm"], strict=True))
    theirs = {name: norm for name, norm in theirs.items() if not np.isnan(norm)}
    assert squares.keys() == theirs.keys()
    for name, norm in theirs.items():
        np.testing.assert_allclose(np.sqrt(squares[name]), norm, rtol=1e-4, atol=1e-5, err_msg=name)


def to_frames(maps: torch.Tensor) -> torch.Tensor:
    """(B, C, T, h, w) -> (B*T, C, h, w)."""
    return maps.transpose(1, 2).flatten(0, 1)


def to_clips(maps: torch.Tensor, frames: int) -> torch.Tensor:
    """(B*T, C, h, w) -> (B, C, T, h, w)."""
    return maps.unflatten(0, (-1, frames)).transpose(1, 2)
