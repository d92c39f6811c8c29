"""Domain regression of combined sequences (L3S, Eq. 9 of arXiv 2402.02108) with its gradient reversal.

The definition is in combined_regression_reference.py; the Triton kernels are in combined_regression_triton.py.
"""

from __future__ import annotations

import torch
from torch import Tensor

from . import values
from .backends import choose
from .combined_regression_reference import CombinedRegression, combined_regression_reference
from .counter_random import as_seed
from .registration import register
from .temporal_pool import check_lengths


def combined_regression(
    clips: Tensor,
    domains: Tensor,
    groups: Tensor,
    weight1: Tensor,
    bias1: Tensor,
    weight2: Tensor,
    bias2: Tensor,
    strength: float | Tensor,
    *,
    lengths: Tensor | None = None,
    dropout: float = 0.0,
    seed: int | Tensor = 0,
    backend: str | None = None,
) -> CombinedRegression:
    """Mean squared error between the predicted and the true domain shares of groups of clips.

    combined_j = mean of the clips of group j, a clip given as frames being the mean of its valid frames
    (not rounded to their type in between); predictions_j = softmax(weight2 dropout(relu(weight1
    combined_j + bias1)) + bias2); loss = mean over j and the two components of
    (predictions_j - (share of source, share of target))^2. Between `combined` and the head sits a
    gradient reversal: the head's parameters get the plain gradient, and what reaches `clips` through
    the head is multiplied by -strength. Sums are taken in float32 or better; loss and predictions are
    of that type, `combined` of the clips'.

    Args:
        clips: (N, D) clip features, or (N, T, D) frame features.
        domains: (N,) integers, 0 source, 1 target.
        groups: (J, S) int64 indices into clips; -1 pads groups of fewer than S clips.
        weight1, bias1: (hidden, D), (hidden,).
        weight2, bias2: (2, hidden), (2,).
        strength: reversal, float or 0-d tensor (no gradient); a tensor may change without recompiling.
        lengths: (N,) integers in 1..T, the valid frames of each clip; None means all T. The others
            (padding) are not read and get zero gradient. Only with frame features.
        dropout: probability in [0, 1) that a hidden unit is zeroed; the rest is scaled by 1/(1-dropout).
        seed: int or 0-d int64 tensor; the dropout mask is a function of (seed, group, unit) alone, the
            same on every backend.
        backend: "reference", "triton" or None for the best present (float64: "reference").

    A float strength and an int seed are each written to the device by a launch of its own. A tensor that lies
    there already is passed on as it is, without a copy.

    Raises:
        ValueError: a wrong shape, device or probability; on the CPU also an index outside -1..N-1 or a group
            without clips, or a length outside 1..T. A GPU is not waited for: there an index outside counts
            as padding, an empty group as zero features with shares (0, 0), and lengths are clamped to 0..T.
        TypeError: a dtype that is wrong, or that the backend does not take.
    """
    padded = _check(clips, domains, groups, weight1, bias1, weight2, bias2, dropout, lengths)
    if backend is None and torch.float64 in (clips.dtype, weight1.dtype):
        backend = "reference"
    chosen = choose("combined_regression", backend, clips.device)
    if isinstance(strength, Tensor):
        if strength.numel() != 1 or strength.requires_grad:
            raise ValueError(
                f"combined_regression: strength must hold one element without gradient, got shape "
                f"{list(strength.shape)}, requires_grad {strength.requires_grad}; pass a 0-d tensor, detached"
            )
        if strength.dim() or strength.device != clips.device:
            strength = strength.to(clips.device).reshape(())
    else:
        strength = torch.full((), strength, dtype=torch.float32, device=clips.device)
    seed = as_seed("combined_regression", seed, clips.device)
    arguments = clips, domains, groups, weight1, bias1, weight2, bias2, strength, dropout, seed, lengths
    if chosen == "reference":
        return combined_regression_reference(*arguments, padded)
    for name, tensor in (("clips", clips), ("weight1", weight1)):
        if tensor.dtype not in (torch.float32, torch.bfloat16, torch.float16):
            raise TypeError(
                f"combined_regression: {name} must be float32, bfloat16 or float16 on backend 'triton', "
                f"got {tensor.dtype}; use backend='reference'"
            )
    return CombinedRegression(*_forward_op(*arguments)[:3])


def _check(clips, domains, groups, weight1, bias1, weight2, bias2, dropout, lengths) -> bool:
    """Raises what combined_regression does. Whether `groups` may have padding, which a GPU is not asked."""
    if clips.dim() not in (2, 3) or 0 in clips.shape:
        raise ValueError(
            f"combined_regression: clips must be (N, D), or frames (N, T, D), got {tuple(clips.shape)}; pool maps first"
        )
    if clips.dim() == 3:
        check_lengths("combined_regression", lengths, clips.shape[0], clips.shape[1], clips.device)
    elif lengths is not None:
        raise ValueError(
            f"combined_regression: lengths must be None for clips {tuple(clips.shape)}, got a tensor; "
            "give frames (N, T, D) or leave it out"
        )
    if groups.dim() != 2 or 0 in groups.shape or groups.dtype != torch.int64:
        raise ValueError(
            f"combined_regression: groups must be (J, S) int64, got {tuple(groups.shape)} {groups.dtype}; "
            "give one row of clip indices for each combination, padded with -1"
        )
    samples, width = clips.shape[0], clips.shape[-1]
    if weight1.dim() != 2:
        raise ValueError(
            f"combined_regression: weight1 must be (hidden, {width}), got {tuple(weight1.shape)}; pass nn.Linear's"
        )
    hidden = weight1.shape[0]
    wanted = (
        ("domains", domains, (samples,), False),
        ("groups", groups, groups.shape, False),
        ("clips", clips, clips.shape, True),
        ("weight1", weight1, (hidden, width), True),
        ("bias1", bias1, (hidden,), True),
        ("weight2", weight2, (2, hidden), True),
        ("bias2", bias2, (2,), True),
    )
    device = clips.device
    for name, tensor, shape, floats in wanted:
        if tensor.shape != shape:
            raise ValueError(
                f"combined_regression: {name} must be {shape}, got {tuple(tensor.shape)}; "
                "check it against clips and weight1"
            )
        if tensor.device != device:
            raise ValueError(
                f"combined_regression: {name} must be on {device} as clips is, got {tensor.device}; move it"
            )
        if tensor.is_floating_point() != floats:
            kind = "floats" if floats else "integers"
            raise TypeError(f"combined_regression: {name} must be {kind}, got {tensor.dtype}; convert it")
    if not 0 <= dropout < 1:
        raise ValueError(f"combined_regression: dropout must be in [0, 1), got {dropout}; it is a probability")
    if not values.may_be_read(groups):
        return True
    least, most = (value.item() for value in groups.aminmax())
    if least < -1 or most >= samples:
        raise ValueError(
            f"combined_regression: groups must hold -1..{samples - 1}, got {least}..{most}; index the {samples} clips"
        )
    if least >= 0:
        return False
    empty = (groups < 0).all(1)
    if empty.any():
        raise ValueError(
            f"combined_regression: groups must not be empty, got row {int(empty.nonzero()[0])} all -1; drop it"
        )
    return True


def _forward(
    clips: Tensor, domains: Tensor, groups: Tensor, weight1: Tensor, bias1: Tensor, weight2: Tensor,
    bias2: Tensor, strength: Tensor, dropout: float, seed: Tensor, lengths: Tensor | None,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:  # fmt: skip
    """loss (), predictions (J, 2), combined (J, D), hidden (J, hidden), and tallies (J, 3): shares and size."""
    from .combined_regression_triton import forward

    return forward(clips, domains, groups, weight1, bias1, weight2, bias2, dropout, seed, lengths)


def _forward_fake(clips, domains, groups, weight1, bias1, weight2, bias2, strength, dropout, seed, lengths):
    rows = groups.shape[0]
    loss, predictions, hidden, tallies = (
        clips.new_empty(shape, dtype=torch.float32) for shape in ((), (rows, 2), (rows, weight1.shape[0]), (rows, 3))
    )
    return loss, predictions, clips.new_empty(rows, clips.shape[-1]), hidden, tallies


def _backward(
    grad_loss: Tensor | None, grad_predictions: Tensor | None, grad_combined: Tensor | None, clips: Tensor,
    groups: Tensor, weight1: Tensor, bias1: Tensor, weight2: Tensor, bias2: Tensor, strength: Tensor,
    dropout: float, lengths: Tensor | None, predictions: Tensor, combined: Tensor, hidden: Tensor, tallies: Tensor,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:  # fmt: skip
    """Gradients of clips, weight1, bias1, weight2, bias2, each in its dtype; gradients that came in may be None."""
    from .combined_regression_triton import backward

    return backward(
        grad_loss, grad_predictions, grad_combined, clips, groups, weight1, bias1, weight2, bias2, strength,
        dropout, lengths, predictions, combined, hidden, tallies,
    )  # fmt: skip


def _backward_fake(
    grad_loss, grad_predictions, grad_combined, clips, groups, weight1, bias1, weight2, bias2, *_
):  # fmt: skip
    return tuple(tensor.new_empty(tensor.shape) for tensor in (clips, weight1, bias1, weight2, bias2))


def _save(ctx, inputs, output):
    clips, _, groups, weight1, bias1, weight2, bias2, strength, ctx.dropout, _, lengths = inputs
    _, predictions, combined, hidden, tallies = output
    ctx.mark_non_differentiable(hidden, tallies)
    ctx.save_for_backward(
        clips, groups, weight1, bias1, weight2, bias2, strength, lengths, predictions, combined, hidden, tallies
    )


def _differentiate(ctx, grad_loss, grad_predictions, grad_combined, *_):
    if grad_loss is None and grad_predictions is None and grad_combined is None:
        return (None,) * 11
    *inputs, lengths, predictions, combined, hidden, tallies = ctx.saved_tensors
    grad_clips, *grads = _backward_op(
        grad_loss,
        grad_predictions,
        grad_combined,
        *inputs,
        ctx.dropout,
        lengths,
        predictions,
        combined,
        hidden,
        tallies,
    )
    return grad_clips, None, None, *grads, None, None, None, None


_forward_op = register(
    "combined_regression(Tensor clips, Tensor domains, Tensor groups, Tensor weight1, Tensor bias1, Tensor weight2, "
    "Tensor bias2, Tensor strength, float dropout, Tensor seed, Tensor? lengths) "
    "-> (Tensor, Tensor, Tensor, Tensor, Tensor)",
    _forward,
    _forward_fake,
    _save,
    _differentiate,
)
_backward_op = register(
    "combined_regression_backward(Tensor? grad_loss, Tensor? grad_predictions, Tensor? grad_combined, Tensor clips, "
    "Tensor groups, Tensor weight1, Tensor bias1, Tensor weight2, Tensor bias2, Tensor strength, float dropout, "
    "Tensor? lengths, Tensor predictions, Tensor combined, Tensor hidden, Tensor tallies) "
    "-> (Tensor, Tensor, Tensor, Tensor, Tensor)",
    _backward,
    _backward_fake,
)
