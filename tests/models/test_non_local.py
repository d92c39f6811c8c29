"""The non-local block and the statistic attention block: their authors' numbers, and direct formulations."""

import pytest
import torch
from parity import check_module, to_clips, to_frames
from torch.nn import functional as F

from vreid_fast.models.non_local import NonLocal
from vreid_fast.models.statistic_attention import StatisticAttention


def over_time(module, x):
    module.frames = x.shape[2]
    return to_clips(module(to_frames(x).contiguous(memory_format=torch.channels_last)), x.shape[2])


@pytest.mark.parametrize(
    ("make", "case"), [(lambda: NonLocal(16), "nonlocal3d"), (lambda: StatisticAttention(32), "statistic_attention")]
)
def test_equals_the_authors(shared, make, case):
    check_module(make(), shared("parity/modules"), case, over_time)


def random_module(kind):
    torch.manual_seed(0)
    module = kind(16).double()
    for parameter in module.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return module


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("frames", [1, 3, 8])
def test_non_local_equals_a_softmax_over_all_places(frames, training):
    module = random_module(NonLocal).train(training)
    x = torch.randn(2, 16, frames, 5, 4, dtype=torch.float64)  # an odd height: the last row has no keys
    found = over_time(module, x)
    query = F.conv3d(x, module.query.weight[..., None], module.query.bias).flatten(2)
    keys, values = (
        F.max_pool3d(F.conv3d(x, layer.weight[..., None], layer.bias), (1, 2, 2)).flatten(2)
        for layer in (module.key, module.value)
    )
    mixed = (values @ torch.softmax(query.transpose(1, 2) @ keys, 2).transpose(1, 2)).view(2, 8, frames, 5, 4)
    answer = F.conv3d(mixed, module.expand.weight[..., None], module.expand.bias)
    norm = module.expand_norm
    mean, variance = norm.running_mean, norm.running_var
    if training:
        mean, variance = answer.mean((0, 2, 3, 4)), answer.var((0, 2, 3, 4), unbiased=False)
    else:
        assert norm.num_batches_tracked == 0
    shape = (1, -1, 1, 1, 1)
    scaled = (answer - mean.view(shape)) / (variance.view(shape) + norm.eps).sqrt()
    torch.testing.assert_close(
        found, x + scaled * norm.weight.view(shape) + norm.bias.view(shape), rtol=1e-9, atol=1e-9
    )


def test_statistics_are_of_the_whole_clip_and_of_no_other():
    module = random_module(StatisticAttention).eval()
    x = torch.rand(2, 16, 3, 4, 2, dtype=torch.float64)
    found = over_time(module, x)
    torch.testing.assert_close(over_time(module, x[1:]), found[1:])
    shuffled = x.flatten(2)[:, :, torch.randperm(24)]
    torch.testing.assert_close(
        over_time(module, shuffled.view(x.shape)).flatten(2).sum(2), found.flatten(2).sum(2)
    )  # they do not know places


def test_statistic_attention_of_a_constant_clip_is_finite():
    module = StatisticAttention(16)
    x = torch.ones(4, 16, 2, 2, requires_grad=True)
    module.frames = 2
    module(x).sum().backward()
    assert x.grad.isfinite().all()


@pytest.mark.parametrize("kind", [NonLocal, StatisticAttention])
def test_the_start_is_the_identity(kind):
    module, x = kind(16), torch.rand(4, 16, 4, 2)
    module.frames = 2
    assert torch.equal(module(x), x)
