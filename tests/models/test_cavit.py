"""CAViT: its authors' numbers, a loop over frames and heads, its weights, what it takes and what it refuses."""

import json

import numpy as np
import pytest
import torch
from author_numbers import DOUBLE, EVALUATION, assert_near, given_network
from parity import draw, error, fill_module
from torch.nn import functional as F

from vreid_fast.errors import InputError
from vreid_fast.kernels.gather_clips import IMAGENET_MEAN, IMAGENET_STD
from vreid_fast.losses import cross_entropy
from vreid_fast.models import build
from vreid_fast.models.cavit import GRIDS, CAViT
from vreid_fast.models.convert import author_names
from vreid_fast.models.vision_transformer import CrossBlock

PRECISIONS = pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["float32", "float64"])


def theirs(network, clips):
    """Clips (B, T, 3, H, W) that are normalised as the authors' as those that ours takes."""
    return (clips - network.shift) / network.factor


@torch.no_grad()
@PRECISIONS
def test_evaluation_equals_the_authors(shared, dtype):
    folder = shared("parity/cavit")
    network = given_network(folder, "cavit", dtype=dtype).eval()
    expected = np.load(folder / "eval.npz")
    clips = theirs(network, draw((1, 4, 3, 256, 128), 1).to(dtype))
    probes, names = {}, author_names(network)
    for path, module in network.named_modules():
        name = next((theirs for ours, theirs in names.items() if path and ours.startswith(f"{path}.")), "")
        for key in (f"backbone.{part}" for part in name.removeprefix("backbone.").split(".proj")[:1]):
            if f"probe_map.{key}" in expected.files:
                module.register_forward_hook(lambda _, __, output, key=key: probes.setdefault(key, output.clone()))
        block = ".".join(name.split(".")[:3])
        if isinstance(module, CrossBlock) and f"probe_map.{block}" in expected.files:
            module.register_forward_hook(lambda _, __, output, key=block: probes.setdefault(key, output.clone()))
    output = network(clips)
    labels = torch.from_numpy(expected["targets"])
    found = {
        "frame_feat": network.pool(clips)[0], "pooled_feature": network.pool(clips)[1], "frame_bn": output.frames,
        "clip_embedding": network.embed(clips), "scaled_cosine_logits": output.logits,
        "circle_logits": network.with_margin(output.logits, labels),
    }  # fmt: skip
    if dtype == torch.float64:
        assert_near(found, expected, DOUBLE, "f64.")
        return
    assert_near(found, expected, EVALUATION)
    assert len(probes) == 15
    for name, tokens in probes.items():
        tokens = tokens.flatten(2).transpose(1, 2) if tokens.dim() == 4 else tokens
        assert error(tokens[..., :64].mean(1), expected[f"probe_mean.{name}"]) < EVALUATION, name
        assert error(tokens[-1, :, :4], expected[f"probe_map.{name}"]) < EVALUATION, name


def test_a_block_equals_the_authors(shared):
    folder = shared("parity/modules")
    about, expected = (
        json.loads((folder / "keys.json").read_text())["cavit_cross_block"],
        np.load(folder / "cavit_cross_block.npz"),
    )
    block = CrossBlock(48, 4)
    names = fill_module(block, about["entries"])
    query, memory = (draw(given["shape"], given["seed"]).requires_grad_() for given in about["inputs"])
    asked, _, _ = block.project(query)
    _, keys, values = block.project(memory)
    output = block.update(query, asked, keys, values)
    assert error(output, expected["output"]) < 1e-5
    (output * draw(tuple(output.shape), 77)).sum().backward()
    for at, given in enumerate((query, memory)):
        assert error(given.grad[:, :8], expected[f"grad_input_{at}"]) < 5e-5
    norms = dict(zip((entry["name"] for entry in about["entries"]), expected["grad_norm"], strict=True))
    for ours, parameter in block.named_parameters():
        np.testing.assert_allclose(parameter.grad.norm().item(), norms[names[ours]], rtol=1e-4, err_msg=ours)


@torch.no_grad()
def test_a_branch_equals_a_loop_over_frames_and_heads():
    """K and V of the next frame from its own tokens, as the authors have them, not rolled."""
    torch.manual_seed(0)
    network = CAViT(5, frames=3, size=(64, 48), width=24, heads=2, depth=2).double().eval()
    clips = torch.randn(2, 3, 3, 64, 48, dtype=torch.float64)
    images = clips * network.factor + network.shift
    found = network.maps(clips).unflatten(0, (2, 3))
    before = 0
    for branch, (patch, stride) in zip(network.trunk.branches, GRIDS, strict=True):
        for clip in range(2):
            tokens = []
            for frame in range(3):
                less = images[clip, frame - 1] - images[clip, frame] if frame else torch.zeros_like(images[clip, 0])
                less = torch.softmax(less.flatten(1), 1).view(3, 64, 48)
                rows, columns = branch.grid
                of_frame = torch.zeros(rows * columns, 24, dtype=torch.float64)
                for row in range(rows):
                    for column in range(columns):
                        here = (
                            slice(None), slice(row * stride[0], row * stride[0] + patch[0]),
                            slice(column * stride[1], column * stride[1] + patch[1]),
                        )  # fmt: skip
                        changed = torch.tensordot(branch.changes.weight, less[here], 3) + branch.changes.bias
                        seen = torch.tensordot(branch.patches.weight, images[clip, frame][here], 3)
                        of_frame[row * columns + column] = seen + branch.patches.bias + torch.softmax(changed, 0)
                tokens.append(of_frame + branch.positions[0])
            for block in branch.blocks:
                tokens = [step(block, tokens[frame], tokens[(frame + 1) % 3]) for frame in range(3)]
            wanted = torch.stack([network.trunk.norm(of_frame) for of_frame in tokens])
            after = before + wanted.shape[1]
            torch.testing.assert_close(found[clip][:, before:after], wanted, rtol=1e-10, atol=1e-10)
        before = after
    assert before == found.shape[2]


def step(block, tokens, following):
    memory = block.norm1(torch.cat([tokens, following]))
    (wq, wk, wv), (bq, bk, bv) = block.qkv.weight.chunk(3), block.qkv.bias.chunk(3)
    query, key, value = block.norm1(tokens) @ wq.T + bq, memory @ wk.T + bk, memory @ wv.T + bv
    heads = []
    for head in range(2):
        part = slice(12 * head, 12 * head + 12)
        heads.append(torch.softmax(query[:, part] @ key[:, part].T / 12**0.5, 1) @ value[:, part])
    tokens = tokens + block.proj(torch.cat(heads, 1))
    return tokens + block.fc2(F.gelu(block.fc1(block.norm2(tokens))))


def test_gradients_equal_finite_differences():
    torch.manual_seed(0)
    network = CAViT(3, frames=2, size=(32, 40), width=8, heads=2, depth=1).double().eval()
    torch.nn.init.normal_(network.trunk.branches[0].changes.weight, std=30)  # so that changes count
    labels = torch.tensor([0, 2])

    def loss(clips):
        output = network(clips)
        return cross_entropy(network.with_margin(output.logits, labels), labels, 0.1) + output.frames.square().mean()

    clips = torch.randn(2, 2, 3, 32, 40, dtype=torch.float64, requires_grad=True)
    # Without the margin, whose weights count as constants: a difference quotient would see them change.
    with_margin, network.with_margin = network.with_margin, lambda logits, _: logits
    assert torch.autograd.gradcheck(loss, clips, fast_mode=True, atol=1e-6)
    network.with_margin = with_margin
    loss(clips).backward()
    assert all(parameter.grad.abs().sum() > 0 for parameter in network.parameters() if parameter.requires_grad)


def test_circle_softmax_is_that_of_its_paper():
    network = CAViT(4, size=(32, 32), width=8, heads=2, depth=1)
    cosines = torch.tensor([[0.9, 0.1, -0.5, 0.3], [0.2, -0.1, 0.95, 0.0]], requires_grad=True)
    labels = torch.tensor([0, 1])
    found = network.with_margin(64 * cosines, labels)
    for row, label in enumerate(labels):
        for at in range(4):
            cosine = cosines[row, at].item()
            own = max(1.3 - cosine, 0) * (cosine - 0.7)
            other = max(cosine + 0.3, 0) * (cosine - 0.3)
            assert found[row, at].item() == pytest.approx(64 * (own if at == label else other), rel=1e-5, abs=1e-5)
    found.sum().backward()  # the weights are no part of what is learned from
    assert cosines.grad[0].tolist() == pytest.approx([64 * 0.4, 64 * 0.4, 0, 64 * 0.6], rel=1e-5)


@pytest.mark.parametrize(("frames", "size"), [(1, (64, 32)), (5, (96, 48))])
def test_a_bf16_training_step_reaches_every_weight_at_any_t(frames, size):
    torch.manual_seed(0)
    network = build("cavit", identities=5, frames=8, size=size, trunk="narrow")
    with torch.autocast("cpu", torch.bfloat16):
        output = network(torch.randn(3, frames, 3, *size))
    assert output.frames.shape == (3, frames, 96) and output.clip.shape == (3, 96)
    assert output.logits.dtype == torch.float32
    assert network.neck.num_batches_tracked == 1
    labels = torch.tensor([0, 1, 1])
    cross_entropy(network.with_margin(output.logits, labels), labels, 0.1).backward()
    for name, parameter in network.named_parameters():
        assert (parameter.grad is None) == (name == "neck.bias") and parameter.requires_grad != (name == "neck.bias")
        assert name == "neck.bias" or parameter.grad.isfinite().all()
    assert output.logits.abs().max() <= 64.01


def test_clips_are_means_of_frames_behind_the_neck():
    torch.manual_seed(0)
    network = build("cavit", identities=5, frames=4, size=(64, 32), trunk="narrow")
    output = network(torch.randn(3, 4, 3, 64, 32))
    frames = output.frames.flatten(0, 1)
    torch.testing.assert_close(frames.mean(0), network.neck.bias, rtol=0, atol=1e-5)
    torch.testing.assert_close(frames.std(0, correction=0), network.neck.weight.abs(), rtol=1e-2, atol=0)
    torch.testing.assert_close(output.clip, output.frames.mean(1))


def test_pixels_become_what_the_authors_have():
    network = build("cavit", identities=2, frames=2, size=(32, 32), trunk="narrow").eval()
    pixels = torch.tensor([0.0, 127.5, 255.0]).view(3, 1, 1, 1).expand(3, 3, 1, 1)
    clips = (pixels - torch.tensor(IMAGENET_MEAN).view(3, 1, 1)) / torch.tensor(IMAGENET_STD).view(3, 1, 1)
    wanted = torch.tensor([-1.0, 0.0, 1.0]).view(3, 1, 1, 1).expand_as(pixels)
    torch.testing.assert_close(clips * network.factor + network.shift, wanted)


def test_recomputed_blocks_give_the_same_gradients():
    found = []
    for recompute in (False, True):
        torch.manual_seed(0)
        network = build("cavit", identities=5, frames=4, size=(64, 32), trunk="narrow").double()
        network.trunk.recompute = recompute
        sizes = []

        def keep(tensor, sizes=sizes):
            sizes.append(tensor.numel())
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            loss = network(torch.randn(2, 4, 3, 64, 32, dtype=torch.float64)).clip.square().sum()
        loss.backward()
        found.append(([parameter.grad for parameter in network.parameters() if parameter.grad is not None], sum(sizes)))
    (plain, all_of_it), (again, less) = found
    assert len(plain) == len(again) == sum(1 for _ in network.parameters()) - 2
    assert all(torch.equal(one, other) for one, other in zip(plain, again, strict=True))
    assert less < all_of_it / 2


def test_parameters_are_as_many_as_the_authors():
    with torch.device("meta"):
        network = build("cavit", identities=37, frames=8)
    assert sum(parameter.numel() for parameter in network.parameters()) == 218865408


def test_other_sizes_than_built_for_are_refused():
    network = build("cavit", identities=5, frames=8, size=(64, 32), trunk="narrow").eval()
    wanted = "built for clips of 8 frames of 64 x 32 pixels, got 4 frames of 32 x 64; .*--height 32 --width 64"
    with pytest.raises(InputError, match=wanted):
        network.embed(torch.zeros(1, 4, 3, 32, 64))


@pytest.mark.parametrize("size", [(31, 64), (64, 31), (16, 8)])
def test_frames_smaller_than_a_patch_are_refused(size):
    wanted = f"cavit: frames of {size[0]} x {size[1]} pixels, wanted at least 32 x 32.*--height 256 --width 128"
    with pytest.raises(InputError, match=wanted):
        build("cavit", identities=5, frames=8, size=size, trunk="narrow")
