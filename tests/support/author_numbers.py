"""Whole networks against the given numbers of their authors: outputs, maps inside, gradients, running statistics."""

import re
from collections import defaultdict
from contextlib import contextmanager

import numpy as np
import torch
from parity import entries_of, error, fill

from vreid_fast.models import build, convert
from vreid_fast.models.convert import author_names
from vreid_fast.models.convolution_biases import running_mean

EVALUATION, TRAINING, LOSSES, NORMS, FIRST, DOUBLE = 2e-5, 2e-3, 2e-4, 1e-2, 5e-2, 1e-9
"""Gates of parity/README.md, and that of float64 on both sides."""


def given_network(folder, name, frames=4, dtype=torch.float32, identities=37):
    """Our network of this name with the weights that the numbers were computed with."""
    network = build(name, identities=identities, frames=frames).to(dtype)
    state = {
        key: value.to(dtype) if value.is_floating_point() else value for key, value in fill(entries_of(folder)).items()
    }
    network.load_state_dict(convert(name, state))
    return network


def assert_near(found, expected, gate, prefix=""):
    """Our tensors by name against theirs."""
    assert found
    far = {name: error(value, expected[prefix + name]) for name, value in found.items()}
    assert all(distance < gate for distance in far.values()), far


@contextmanager
def watch(network, expected):
    """Within, outputs of our modules by the names of the probes that are given."""
    probes, handles = {}, []
    for name in (key.removeprefix("probe_map.") for key in expected.files if key.startswith("probe_map.")):
        if path := our_module(network, name):

            def keep(_, __, output, name=name):
                maps = output[0] if isinstance(output, tuple) else output  # a block gives its maps twice
                probes[name] = maps.clone()  # what comes behind may write over it

            handles.append(network.get_submodule(path).register_forward_hook(keep))
    yield probes
    for handle in handles:
        handle.remove()


def our_module(network, name):
    """The path of ours whose output is that of theirs; None for what ours has not in one piece.

    A stage's output is that of its last block or plug-in."""
    if name == "maxpool":
        return "trunk.maxpool"
    of = [ours for ours, theirs in author_names(network).items() if theirs.startswith(f"{name}.")]
    if re.fullmatch(r"layer\d", name):
        names = author_names(network)
        of = [max(of, key=lambda ours: int(names[ours].split(".")[1]))]
        return re.match(r"trunk\.(plugins\.layer\d_\d|layer\d\.\d)", of[0])[0]
    found = re.match(r"trunk\.(plugins\.layer\d_\d|layer\d\.\d\.conv2|layer\d\.\d)", of[0]) if of else None
    return None if found is None or "APM" in name or "TSE" in name else found[0]


def assert_probes_near(probes, expected, frames, gate=EVALUATION):
    assert len(probes) >= 5
    for name, maps in probes.items():
        means = maps[:, :64].mean((2, 3)).unflatten(0, (-1, frames)).transpose(1, 2)
        assert error(means, expected[f"probe_mean.{name}"]) < gate, name
        assert error(maps[frames - 1, :2], expected[f"probe_map.{name}"]) < gate, name


def assert_gradients_near(network, folder, expected, gate=NORMS, prefix="", first="conv1.weight"):
    """Norms of the gradients of all parameters, and of which there are any; taps of one kernel have one norm."""
    names, squares = author_names(network), defaultdict(float)
    for ours, parameter in network.named_parameters():
        if parameter.grad is not None:
            squares[names[ours]] += parameter.grad.double().square().sum().item()
    entries = [entry["name"] for entry in entries_of(folder)]
    present = {name for name, has in zip(entries, expected["grad_present"], strict=True) if has == 1}
    present -= _folded(entries).keys()
    assert squares.keys() == present
    rows = [row for row, name in enumerate(entries) if name in present]
    theirs = expected[f"{prefix}grad_norm"][rows]
    norms = torch.tensor([squares[entries[row]] for row in rows], dtype=torch.float64).sqrt()
    assert error(norms, theirs) < gate
    # One by one; what is as good as zero has no gradient but rounding.
    np.testing.assert_allclose(norms.numpy(), theirs, rtol=4 * gate, atol=1e-2 * gate * theirs.max())
    own = next(ours for ours, theirs in names.items() if theirs == first)
    if not prefix:
        assert error(network.get_parameter(own).grad, expected[f"grad.{first}"]) < FIRST * gate / NORMS


def assert_buffers_near(network, folder, expected):
    """Running statistics behind one training forward, and how often each was updated."""
    names = author_names(network)
    position = {entry["name"]: row for row, entry in enumerate(entries_of(folder))}
    given, folded = fill(entries_of(folder)), {mean: bias for bias, mean in _folded(position).items()}
    for ours, buffer in network.named_buffers():
        row = position[names[ours]]
        if ours.endswith("num_batches_tracked"):
            assert buffer.item() == expected["num_batches_after"][row], ours
        else:
            bias = given[folded[names[ours]]].double().sum().item() if names[ours] in folded else 0.0
            np.testing.assert_allclose(
                buffer.double().sum().item() + bias,
                expected["buffer_sum_after"][row],
                rtol=1e-4,
                atol=1e-3,
                err_msg=ours,
            )


def _folded(names):
    """Biases of convolutions among the authors' names that ours have in running means, and the means."""
    return {name: mean for name in names if (mean := running_mean(name)) in names}
