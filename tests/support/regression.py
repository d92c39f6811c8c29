"""Problems for combined_regression, and Eq. 9 of arXiv 2402.02108 written out group by group."""

import torch
from cases import TOLERANCE, make

from vreid_fast.kernels import combined_regression

NAMES = ("clips", "weight1", "bias1", "weight2", "bias2")
STRENGTH = 0.7


def arguments(size, dtype=torch.float64, device="cpu", frames=None):
    """(clips, domains, groups, weight1, bias1, weight2, bias2), the floats being leaves.

    size: (N, D, J, S, hidden). frames: T of clips (N, T, D), None for (N, D).
    """
    samples, width, rows, slots, hidden = size
    random = torch.Generator().manual_seed(sum(size))
    groups = torch.randint(samples, (rows, slots), generator=random)
    lengths = torch.randint(1, slots + 1, (rows,), generator=random)
    groups[torch.arange(slots) >= lengths[:, None]] = -1
    domains = torch.randint(2, (samples,), generator=random)
    shape = (samples, width) if frames is None else (samples, frames, width)
    clips = make(shape, dtype=dtype, device=device, layout="reversed")
    weight1 = make((hidden, width), dtype=dtype, device=device, seed=1) / width**0.5
    # Far from zero, so that rounding takes no unit across the kink of ReLU.
    bias1 = make((hidden,), dtype=dtype, device=device, seed=2)
    bias1 = bias1 + 3 * bias1.sign()
    weight2 = make((2, hidden), dtype=dtype, device=device, seed=3) / (3 * hidden**0.5)
    bias2 = make((2,), dtype=dtype, device=device, seed=4)
    leaves = [tensor.requires_grad_() for tensor in (clips, weight1, bias1, weight2, bias2)]
    return leaves[0], domains.to(device), groups.to(device), *leaves[1:]


def leaves_of(given):
    return given[0], *given[3:]


def lengths_of(clips, device="cpu"):
    """From 1 to T in turn."""
    return (torch.arange(clips.shape[0]) % clips.shape[1] + 1).to(device)


def written_out(given, kept=1.0, lengths=None):
    """loss, predictions, combined of Eq. 9 without reversal; `kept` multiplies the hidden units."""
    clips, domains, groups, weight1, bias1, weight2, bias2 = given
    if clips.dim() == 3:
        valid = [clips.shape[1]] * len(clips) if lengths is None else lengths.tolist()
        clips = torch.stack([clip[:count].mean(0) for clip, count in zip(clips, valid, strict=True)])
    combined, predictions, shares = [], [], []
    for row in groups:
        members = row[row >= 0]
        combined.append(clips[members].mean(0))
        target = domains[members].double().mean()
        shares.append(torch.stack([1 - target, target]))
    combined = torch.stack(combined)
    hidden = (combined @ weight1.T + bias1).clamp(min=0) * kept
    predictions = (hidden @ weight2.T + bias2).softmax(1)
    loss = ((predictions - torch.stack(shares)) ** 2).mean(1).mean()
    return loss, predictions, combined


def in_float64(given):
    return [t.detach().cpu().double().requires_grad_() if t.is_floating_point() else t.cpu() for t in given]


def assert_close(name, found, wanted, tolerance):
    torch.testing.assert_close(
        found.double().cpu(), wanted, **tolerance, msg=lambda difference: f"{name}: {difference}"
    )


def assert_gradients(given, exact, tolerance):
    """The gradients of `given` are those of `exact`, which was differentiated without reversal."""
    exact[0].grad *= -STRENGTH
    for name, one, other in zip(NAMES, leaves_of(given), leaves_of(exact), strict=True):
        assert_close(f"gradient of {name}", one.grad, other.grad, tolerance)


def assert_follows_written_out(given, dtype, backend, lengths=None):
    """combined_regression of `given`: all outputs and gradients are those of `written_out` in float64."""
    exact = in_float64(given)
    found = combined_regression(*given, STRENGTH, lengths=lengths, backend=backend)
    assert found.combined.dtype == dtype and found.loss.dtype == torch.float32
    wanted = written_out(exact, lengths=lengths)
    for name, one, other in zip(found._fields, found, wanted, strict=True):
        assert_close(name, one, other, TOLERANCE[dtype])
    found.loss.backward()
    wanted[0].backward()
    assert all(leaf.grad.dtype == dtype for leaf in leaves_of(given))
    assert_gradients(given, exact, TOLERANCE[dtype])
