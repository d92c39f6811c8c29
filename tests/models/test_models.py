"""Networks by name: shapes, torchvision's keys, memory formats, pooling."""

import pytest
import torch

from vreid_fast.errors import InputError
from vreid_fast.models import NETWORKS, build


@pytest.mark.parametrize("name", ["small", "resnet18"])
def test_output_shapes_and_embedding(name):
    network = build(name, identities=7, frames=4).eval()
    clips = torch.randn(2, 4, 3, 64, 32)
    output = network(clips)
    width = network.width
    assert output.frames.shape == (2, 4, width) and output.clip.shape == (2, width) and output.logits.shape == (2, 7)
    torch.testing.assert_close(network.embed(clips), output.clip)
    # In evaluation the neck is affine: the mean of the frames is the clip.
    torch.testing.assert_close(output.frames.mean(1), output.clip, rtol=1e-4, atol=1e-4)


def test_resnet50_has_torchvision_s_parameters_and_last_stride_one():
    trunk = build("resnet50", identities=3, frames=2).trunk
    names = set(trunk.state_dict())
    assert {
        "conv1.weight",
        "bn1.running_var",
        "layer1.0.downsample.0.weight",
        "layer4.2.conv3.weight",
    } <= names
    # torchvision's ResNet-50 has 25,557,032 parameters, 2,049,000 of them in the classifier.
    assert sum(parameter.numel() for parameter in trunk.parameters()) == 25_557_032 - 2_049_000
    assert trunk.eval()(torch.zeros(1, 3, 64, 32)).shape == (1, 2048, 4, 2)


def test_resnet18_has_torchvision_s_number_of_parameters():
    trunk = build("resnet18", identities=3, frames=2).trunk
    assert sum(parameter.numel() for parameter in trunk.parameters()) == 11_689_512 - 513_000


def test_a_training_forward_updates_the_neck_twice():
    network = build("small", identities=3, frames=2).train()
    network(torch.randn(2, 2, 3, 64, 32))
    assert network.neck.num_batches_tracked.item() == 2


def test_frames_of_a_clip_are_pooled_apart():
    network = build("small", identities=3, frames=2).eval()
    clips = torch.randn(2, 3, 3, 64, 32)
    frames, _ = network.pool(clips)
    alone, _ = network.pool(clips[1:, 2:])
    torch.testing.assert_close(frames[1, 2], alone[0, 0], rtol=1e-4, atol=1e-5)


def test_wrong_shapes_and_names_are_explained():
    with pytest.raises(InputError, match=r"resnet99: unknown; the networks are small, resnet18, resnet50"):
        build("resnet99", identities=3, frames=4)
    with pytest.raises(ValueError, match=r"clips must be \(B, T, 3, H, W\), got \(2, 3, 64, 32\)"):
        build("small", identities=3, frames=4)(torch.zeros(2, 3, 64, 32))
    assert "small" in NETWORKS
