"""Biases in front of batch norms go into running means: the network stays the same."""

import torch
from torch import nn

from vreid_fast.models.convolution_biases import fold_biases, running_mean


class Block(nn.Module):
    """Two convolutions and a shortcut, under a ResNet's names."""

    def __init__(self, bias):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(3, 4, 3, bias=bias), nn.BatchNorm2d(4)
        self.conv2, self.bn2 = nn.Conv2d(4, 5, 1, bias=bias), nn.BatchNorm2d(5)
        self.downsample = nn.Sequential(nn.Conv2d(3, 5, 3, bias=bias), nn.BatchNorm2d(5))

    def forward(self, x):
        return torch.relu(self.bn2(self.conv2(torch.relu(self.bn1(self.conv1(x)))))) + self.downsample(x)


def test_a_network_without_them_is_the_same():
    torch.manual_seed(0)
    given, own = Block(True).double(), Block(False).double()
    x = torch.randn(6, 3, 8, 8, dtype=torch.float64)
    for _ in range(3):
        given(x + 1)  # running statistics of their own
    own.load_state_dict(fold_biases(given.state_dict(), own.state_dict()))
    torch.testing.assert_close(own.eval()(x), given.eval()(x), rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(own.train()(x), given.train()(x), rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(own.eval()(x), given.eval()(x), rtol=1e-12, atol=1e-12)  # the means moved alike


def test_biases_elsewhere():
    given = Block(True).state_dict()
    means = {name: value for name, value in given.items() if name.endswith("running_mean")}
    folded = fold_biases(means, {}, given)
    assert folded.keys() == means.keys()
    assert torch.equal(folded["downsample.1.running_mean"], -given["downsample.0.bias"])


def test_what_has_no_batch_norm_behind_it_or_is_wanted_stays():
    given = Block(True).state_dict()
    assert fold_biases(given, given).keys() == given.keys()
    assert torch.equal(fold_biases(given, given)["bn1.running_mean"], given["bn1.running_mean"])
    alone = {"conv1.bias": torch.ones(4), "bn1.running_mean": torch.zeros(3), "conv2.bias": torch.ones(2)}
    assert fold_biases(alone, {}) == alone


def test_names():
    assert running_mean("trunk.layer1.0.conv3.bias") == "trunk.layer1.0.bn3.running_mean"
    assert running_mean("downsample.0.bias") == "downsample.1.running_mean"
    assert running_mean("conv1.bias") == "bn1.running_mean"
    assert running_mean("bn1.bias") is None and running_mean("xconv1.bias") is None and running_mean("fc.bias") is None
