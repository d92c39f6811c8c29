"""Temporal convolutions: AP3D's nine blocks against their authors' numbers, and against kernels over time as such."""

import pytest
import torch
from parity import check_module, to_clips, to_frames
from torch import nn
from torch.nn import functional as F

from vreid_fast.models.appearance import AppearancePreserving
from vreid_fast.models.temporal_convolution import TemporalConvolution

KINDS = {"i3d": "full", "p3da": "serial", "p3db": "parallel", "p3dc": "residual"}
ALIGNED = {"api3d": "full", "app3da": "serial", "app3db": "parallel", "app3dc": "residual"}
BLOCKS = ["c2d", *KINDS, *ALIGNED, "i3d_s2", "p3db_s2", "api3d_s2", "app3da_s2", "app3dc_s2"]


def block_of(name, inside, outside):
    """Ours of this name, weights not yet filled."""
    kind, _, stride = name.partition("_")
    convolution = nn.Conv2d(inside, outside, 3, 2 if stride else 1, 1, bias=False)
    if kind == "c2d":
        convolution.authors = {"": "conv3d."}
        return convolution
    return TemporalConvolution(convolution, (KINDS | ALIGNED)[kind], align=kind in ALIGNED)


def over_time(module, x):
    """Maps (B, C, T, h, w) through a module over frames."""
    module.frames = x.shape[2]
    return to_clips(module(to_frames(x).contiguous(memory_format=torch.channels_last)), x.shape[2])


@pytest.mark.parametrize("name", BLOCKS)
def test_blocks_equal_the_authors(shared, name):
    block = block_of(name, 32, 48 if name.endswith("_s2") else 32)
    check_module(block, shared("parity/modules"), f"ap3d_{name}", over_time)


@pytest.mark.parametrize("contrast", [True, False])
def test_registration_equals_the_authors(shared, contrast):
    """Theirs gives three frames for each, with zeros beyond the ends; ours the neighbours that there are."""

    def interleaved(module, x):
        clips = x.permute(0, 2, 3, 4, 1)
        before, after = module(clips)
        zero = torch.zeros_like(clips[:, :1])
        three = torch.stack([torch.cat([zero, before], 1), clips, torch.cat([after, zero], 1)], 2)
        return three.flatten(1, 2).permute(0, 4, 1, 2, 3)

    module = AppearancePreserving(32, contrast=contrast)
    check_module(module, shared("parity/modules"), "ap3d_apm" if contrast else "ap3d_apm_noatt", interleaved)


@pytest.mark.parametrize("frames", [1, 2, 3, 6])
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("name", ["i3d", "p3da", "p3db", "p3dc"])
def test_equals_a_convolution_over_time(name, stride, frames):
    torch.manual_seed(frames)
    block = block_of(name if stride == 1 else f"{name}_s2", 4, 6).double()
    for parameter in block.parameters():
        torch.nn.init.normal_(parameter)
    x = torch.randn(2, 4, frames, 6, 4, dtype=torch.float64)
    space = F.conv3d(x, block.weight[:, :, None], stride=(1, stride, stride), padding=(0, 1, 1))
    if name == "i3d":
        kernel = torch.stack([block.before, block.weight, block.after], 2)
        expected = F.conv3d(x, kernel, stride=(1, stride, stride), padding=1)
    else:
        kernel, by = torch.stack([block.before, block.now, block.after], 2), stride if name == "p3db" else 1
        time = F.conv3d(x if name == "p3db" else space, kernel, stride=(1, by, by), padding=(1, 0, 0))
        expected = time if name == "p3da" else space + time
    torch.testing.assert_close(over_time(block, x), expected, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("frames", [2, 5])
def test_registration_equals_softmax_of_cosines_place_by_place(frames):
    torch.manual_seed(frames)
    module = AppearancePreserving(32).double()
    clips = torch.randn(2, frames, 3, 2, 32, dtype=torch.float64)
    before, after = module(clips)
    for found, near, steps in ((before, -1, range(1, frames)), (after, 1, range(frames - 1))):
        for row, t in enumerate(steps):
            own, other = clips[:, t].flatten(1, 2), clips[:, t + near].flatten(1, 2)
            cosines = F.cosine_similarity(module.semantic(own)[:, :, None], module.semantic(other)[:, None], dim=-1)
            moved = torch.softmax(4 * cosines, 2) @ other
            gate = torch.sigmoid(module.attend(module.own(own) * module.other(moved)))
            torch.testing.assert_close(found[:, row].flatten(1, 2), gate * moved, rtol=1e-10, atol=1e-10)


def test_agreement_teaches_its_own_layers_alone():
    module = AppearancePreserving(32)
    clips = torch.randn(1, 2, 3, 2, 32, requires_grad=True)
    before, _ = module(clips)
    gradient = torch.autograd.grad(before.sum(), module.own.weight, retain_graph=True)[0]
    assert gradient.abs().max() > 0
    with torch.no_grad():
        module.attend.weight.zero_()  # then the gate is a half everywhere, whatever the layers before it do
    through_half = torch.autograd.grad(module(clips)[0].sum(), clips)[0]
    module.contrast = False
    torch.testing.assert_close(through_half, 0.5 * torch.autograd.grad(module(clips)[0].sum(), clips)[0])


@pytest.mark.parametrize("kind", ["full", "serial", "parallel", "residual"])
def test_the_start_is_the_spatial_convolution(kind):
    convolution = nn.Conv2d(16, 16, 3, padding=1, bias=False)
    block = TemporalConvolution(convolution, kind, align=True)
    x = torch.randn(6, 16, 4, 2)
    block.frames = 3
    assert torch.equal(block(x), convolution(x)) or kind == "serial"
    torch.testing.assert_close(block(x), convolution(x))
