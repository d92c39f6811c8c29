"""combined_regression of frames: averaged over time in the launch that averages the groups, and what it launches."""

import pytest
import torch
from cases import make
from interpreted import RUNS, TRITON_RUNS
from providers import graphed
from regression import (
    STRENGTH,
    arguments,
    assert_follows_written_out,
    leaves_of,
    lengths_of,
)

from vreid_fast.kernels.combined_regression import combined_regression, combined_regression_reference
from vreid_fast.kernels.counter_random import as_seed

# (N, D, J, S, hidden), T: single elements; one frame a clip; more than one tile of N and J, of D and hidden.
SIZES = (((1, 1, 1, 1, 1), 3), ((5, 7, 3, 4, 6), 1), ((70, 20, 66, 3, 5), 3), ((5, 150, 18, 4, 33), 4))


@pytest.mark.parametrize("backend, device", RUNS)
@pytest.mark.parametrize("dtype", (torch.float32, torch.bfloat16), ids=str)
@pytest.mark.parametrize("ragged", (False, True))
@pytest.mark.parametrize("size, frames", SIZES, ids=str)
def test_values_and_gradients(size, frames, ragged, dtype, backend, device):
    given = arguments(size, dtype, device, frames)
    lengths = lengths_of(given[0], device) if ragged else None
    assert_follows_written_out(given, dtype, backend, lengths)


@pytest.mark.parametrize("backend, device", RUNS)
@pytest.mark.parametrize("ragged", (False, True))
def test_is_the_regression_of_the_mean_frames(ragged, backend, device):
    frames, clips = (arguments((6, 9, 5, 3, 8), torch.float32, device, 4) for _ in range(2))
    lengths = lengths_of(frames[0], device) if ragged else None
    valid = torch.full((6,), 4, device=device) if lengths is None else lengths
    present = (torch.arange(4, device=device) < valid[:, None])[..., None]
    means = torch.where(present, clips[0], 0.0).sum(1) / valid[:, None]
    options = {"dropout": 0.3, "seed": 5, "backend": backend}
    found = combined_regression(*frames, STRENGTH, lengths=lengths, **options)
    wanted = combined_regression(means, *clips[1:], STRENGTH, **options)
    torch.testing.assert_close(tuple(found), tuple(wanted))
    found.loss.backward()
    wanted.loss.backward()
    for one, other in zip(leaves_of(frames), leaves_of(clips), strict=True):
        torch.testing.assert_close(one.grad, other.grad)


@pytest.mark.parametrize("backend, device", RUNS)
def test_clip_means_are_not_rounded(backend, device):
    given = list(arguments((4, 1, 1, 4, 1), torch.bfloat16, device))
    # The means 257, 257, 257, 261 would become 256, 256, 256, 260, whose mean becomes 256.
    frames = torch.tensor([[256, 258]] * 3 + [[260, 262]], dtype=torch.bfloat16, device=device)
    given[0], given[2] = frames[..., None], torch.arange(4, device=device)[None]
    assert combined_regression(*given, STRENGTH, backend=backend).combined.item() == 258


@pytest.mark.parametrize("backend, device", RUNS)
def test_padding_frames_are_not_read_and_get_no_gradient(backend, device):
    given = arguments((5, 7, 3, 4, 6), torch.float32, device, 4)
    lengths = lengths_of(given[0], device)
    padding = torch.arange(4, device=device) >= lengths[:, None]
    with torch.no_grad():
        given[0][padding] = float("nan")
    found = combined_regression(*given, STRENGTH, lengths=lengths, backend=backend)
    assert found.loss.isfinite()
    (found.loss + found.combined.sum()).backward()
    assert given[0].grad.isfinite().all() and not given[0].grad[padding].any()


def test_gradcheck_of_the_reference():
    clips, domains, groups, *head = arguments((4, 3, 3, 2, 4), frames=3)
    rest = torch.tensor(-1.0), 0.5, as_seed("combined_regression", 3, clips.device), lengths_of(clips)

    def outputs(clips, *head):
        return tuple(combined_regression_reference(clips, domains, groups, *head, *rest))

    assert torch.autograd.gradcheck(outputs, (clips, *head))


@pytest.mark.parametrize("backend, device", TRITON_RUNS)
def test_opcheck(backend, device):
    given = arguments((5, 4, 3, 4, 6), torch.float32, device, 3)
    lengths, strength = lengths_of(given[0], device), torch.tensor(STRENGTH, device=device)
    rest = strength, 0.25, as_seed("combined_regression", 3, torch.device(device)), lengths
    forward = torch.ops.vreid_fast.combined_regression.default
    torch.library.opcheck(forward, (*given, *rest))
    clips, _, groups, *head = given = [tensor.detach() for tensor in given]
    loss, predictions, combined, *saved = forward(*given, *rest)
    torch.library.opcheck(
        torch.ops.vreid_fast.combined_regression_backward.default,
        (loss, None, None, clips, groups, *head, strength, 0.25, lengths, predictions, combined, *saved),
    )


@pytest.mark.parametrize("backend, device", RUNS)
def test_compiles_once_whatever_the_strength(backend, device):
    def loss(*given, lengths):
        return combined_regression(*given, lengths=lengths, dropout=0.5, seed=1, backend=backend).loss

    counter = torch._dynamo.testing.CompileCounterWithBackend("aot_eager")
    compiled = torch.compile(loss, fullgraph=True, backend=counter)
    for strength in (0.1, 0.9, -0.5):
        one, other = (arguments((5, 4, 3, 4, 6), torch.float32, device, 3) for _ in range(2))
        lengths, strength = lengths_of(one[0], device), torch.tensor(strength, device=device)
        loss(*one, strength, lengths=lengths).backward()
        compiled(*other, strength, lengths=lengths).backward()
        for left, right in zip(leaves_of(one), leaves_of(other), strict=True):
            torch.testing.assert_close(left.grad, right.grad)
    assert counter.frame_count == 1


@pytest.mark.gpu
def test_replays_from_a_cuda_graph():
    given = arguments((32, 64, 32, 4, 48), torch.bfloat16, "cuda", 4)
    lengths = lengths_of(given[0], "cuda")
    strength, seed = torch.tensor(0.5, device="cuda"), torch.tensor(1, device="cuda")

    def step():
        loss = combined_regression(*given, strength, lengths=lengths, dropout=0.5, seed=seed, backend="triton").loss
        return loss.detach(), *torch.autograd.grad(loss, leaves_of(given))

    replay = graphed(step)
    with torch.no_grad():
        given[0].copy_(make(given[0].shape, seed=9))
        given[2].copy_(given[2].flip(0))
        given[3].mul_(0.5)
    lengths.copy_(lengths.flip(0))
    strength.fill_(0.25)
    seed.fill_(2)
    for one, other in zip(replay(), step(), strict=True):
        torch.testing.assert_close(one, other)


def test_lengths_errors():
    clips, frames = arguments((5, 4, 3, 4, 6)), arguments((5, 4, 3, 4, 6), frames=3)
    for given, lengths, message in (
        (clips, torch.ones(5, dtype=torch.int64), r"lengths must be None for clips \(5, 4\)"),
        (frames, torch.ones(4, dtype=torch.int64), r"combined_regression: lengths must be \(5,\) integers, got \(4,\)"),
        (frames, torch.ones(5), r"lengths must be \(5,\) integers, got \(5,\) torch.float32"),
        (frames, torch.ones(5, dtype=torch.bool), r"lengths must be \(5,\) integers"),
        (
            frames,
            torch.ones(5, dtype=torch.int64, device="meta"),
            "lengths must be on cpu as the features are, got meta",
        ),
        (frames, torch.tensor([1, 2, 3, 4, 1]), r"lengths must be in 1..3, got \[1, 2, 3, 4, 1\]"),
        (frames, torch.tensor([1, 2, 3, 0, 1]), r"lengths must be in 1..3"),
    ):
        with pytest.raises(ValueError, match=message):
            combined_regression(*given, STRENGTH, lengths=lengths)
    frames[2][0, 0] = 5
    with pytest.raises(ValueError, match=r"groups must hold -1..4, got -1..5"):
        combined_regression(*frames, STRENGTH)
