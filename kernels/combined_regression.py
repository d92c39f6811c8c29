"""Domain regression of combined sequences (L3S, Eq. 9 of arXiv 2402.02108) with its gradient reversal.

The definition is :func:`combined_regression_reference`; the Triton kernels are in
combined_regression_triton.py.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from .backends import choose
from .counter_random import as_seed, random_bits


class CombinedRegression(NamedTuple):
    """loss: 0-d; predictions: (J, 2) shares of source and target; combined: (J, D). All differentiable."""

    loss: Tensor
    predictions: Tensor
    combined: Tensor


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
    dropout: float = 0.0,
    seed: int | Tensor = 0,
    backend: str | None = None,
) -> CombinedRegression:
    """Mean squared error between the predicted and the true domain shares of groups of clips.

    combined_j = mean of the clips of group j; predictions_j = softmax(weight2 dropout(relu(weight1
    combined_j + bias1)) + bias2); loss = mean over j and the two components of
    (predictions_j - (share of source, share of target))^2. Between `combined` and the head sits a
    gradient reversal: the head's parameters get the plain gradient, and what reaches `clips` through
    the head is multiplied by -strength. Sums are taken in float32 or better; loss and predictions are
    of that type, `combined` of the clips'.

    Args:
        clips: (N, D) clip features.
        domains: (N,) integers, 0 source, 1 target.
        groups: (J, S) int64 indices into clips; -1 pads groups of fewer than S clips.
        weight1, bias1: (hidden, D), (hidden,).
        weight2, bias2: (2, hidden), (2,).
        strength: reversal, float or 0-d tensor (no gradient); a tensor may change without recompiling.
        dropout: probability in [0, 1) that a hidden unit is zeroed; the rest is scaled by 1/(1-dropout).
        seed: int or 0-d int64 tensor; the dropout mask is a function of (seed, group, unit) alone, the
            same on every backend.
        backend: "reference", "triton" or None for the best present (float64: "reference").

    Raises:
        ValueError: a wrong shape or probability; on the CPU also an index outside -1..N-1 or a group
            without clips. A GPU is not waited for: there an index outside counts as padding, and an
            empty group as zero features with shares (0, 0).
        TypeError: a dtype that the backend does not take.
    """
    _check(clips, domains, groups, weight1, bias1, weight2, bias2, dropout)
    if backend is None and torch.float64 in (clips.dtype, weight1.dtype):
        backend = "reference"
    chosen = choose("combined_regression", backend, clips.device)
    if not isinstance(strength, Tensor):
        strength = torch.full((), strength, dtype=torch.float32, device=clips.device)
    seed = as_seed(seed, clips.device)
    arguments = clips, domains, groups, weight1, bias1, weight2, bias2, strength.detach(), dropout, seed
    if chosen == "reference":
        return combined_regression_reference(*arguments)
    for name, tensor in (("clips", clips), ("weight1", weight1)):
        if tensor.dtype not in (torch.float32, torch.bfloat16, torch.float16):
            raise TypeError(
                f"combined_regression: {name} must be float32, bfloat16 or float16 on backend 'triton', "
                f"got {tensor.dtype}; use backend='reference'"
            )
    loss, predictions, combined, *_ = torch.ops.vreid_fast.combined_regression(*arguments)
    return CombinedRegression(loss, predictions, combined)


def combined_regression_reference(
    clips: Tensor,
    domains: Tensor,
    groups: Tensor,
    weight1: Tensor,
    bias1: Tensor,
    weight2: Tensor,
    bias2: Tensor,
    strength: Tensor,
    dropout: float,
    seed: Tensor,
) -> CombinedRegression:
    """:func:`combined_regression` in plain torch; `strength` and `seed` are 0-d tensors."""
    accumulate = torch.promote_types(torch.promote_types(clips.dtype, weight1.dtype), torch.float32)
    present = (groups >= 0) & (groups < clips.shape[0])
    index = torch.where(present, groups, 0)
    sizes = present.sum(1, keepdim=True).clamp(min=1)
    members = clips.to(accumulate).index_select(0, index.flatten()).unflatten(0, groups.shape)
    combined = (torch.where(present[..., None], members, 0.0).sum(1) / sizes).to(clips.dtype)
    of_target = (present & (domains[index] == 1)).sum(1, keepdim=True)
    of_source = (present & (domains[index] == 0)).sum(1, keepdim=True)
    shares = torch.cat([of_source, of_target], 1).to(accumulate) / sizes

    features = combined.to(accumulate)
    # The value of features with the gradient -strength: the bracket is zero with gradient -1.
    features = features + (strength + 1) * (features.detach() - features)
    hidden = F.relu(F.linear(features, weight1.to(accumulate), bias1.to(accumulate)))
    if dropout:
        unit = torch.arange(hidden.shape[1], device=clips.device)
        group = torch.arange(hidden.shape[0], device=clips.device)[:, None]
        kept = random_bits(seed, group, unit) >= dropped_below(dropout)
        hidden = torch.where(kept, hidden / (1 - dropout), 0.0)
    predictions = F.linear(hidden, weight2.to(accumulate), bias2.to(accumulate)).softmax(1)
    return CombinedRegression((predictions - shares).square().mean(), predictions, combined)


def dropped_below(dropout: float) -> int:
    """Random bits below this drop a unit."""
    return int(dropout * 2**32)


def _check(clips, domains, groups, weight1, bias1, weight2, bias2, dropout) -> None:
    if clips.dim() != 2 or 0 in clips.shape:
        raise ValueError(f"combined_regression: clips must be (N, D), got {tuple(clips.shape)}; pool the frames first")
    if groups.dim() != 2 or 0 in groups.shape or groups.dtype != torch.int64:
        raise ValueError(
            f"combined_regression: groups must be (J, S) int64, got {tuple(groups.shape)} {groups.dtype}; "
            "give one row of clip indices for each combination, padded with -1"
        )
    samples, width = clips.shape
    hidden = weight1.shape[0]
    wanted = {
        "domains": (domains, (samples,)),
        "weight1": (weight1, (hidden, width)),
        "bias1": (bias1, (hidden,)),
        "weight2": (weight2, (2, hidden)),
        "bias2": (bias2, (2,)),
    }
    for name, (tensor, shape) in wanted.items():
        if tuple(tensor.shape) != shape:
            raise ValueError(
                f"combined_regression: {name} must be {shape}, got {tuple(tensor.shape)}; "
                "check it against clips and weight1"
            )
    if not 0 <= dropout < 1:
        raise ValueError(f"combined_regression: dropout must be in [0, 1), got {dropout}; it is a probability")
    if groups.device.type == "cpu" and not torch.compiler.is_compiling():
        if groups.min() < -1 or groups.max() >= samples:
            raise ValueError(
                f"combined_regression: groups must hold -1..{samples - 1}, got {int(groups.min())}.."
                f"{int(groups.max())}; index the {samples} clips"
            )
        if (groups < 0).all(1).any():
            row = int((groups < 0).all(1).nonzero()[0])
            raise ValueError(f"combined_regression: groups must not be empty, got row {row} all -1; drop it")


@torch.library.custom_op("vreid_fast::combined_regression", mutates_args=())
def _forward(
    clips: Tensor, domains: Tensor, groups: Tensor, weight1: Tensor, bias1: Tensor, weight2: Tensor,
    bias2: Tensor, strength: Tensor, dropout: float, seed: Tensor,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:  # fmt: skip
    """loss (), predictions (J, 2), combined (J, D), hidden (J, hidden), shares (J, 2), sizes (J,)."""
    from .combined_regression_triton import forward

    return forward(clips, domains, groups, weight1, bias1, weight2, bias2, dropout, seed)


@_forward.register_fake
def _(clips, domains, groups, weight1, bias1, weight2, bias2, strength, dropout, seed):
    rows = groups.shape[0]

    def float32(*shape):
        return clips.new_empty(shape, dtype=torch.float32)

    combined = clips.new_empty(rows, clips.shape[1])
    return (
        float32(),
        float32(rows, 2),
        combined,
        float32(rows, weight1.shape[0]),
        float32(rows, 2),
        float32(rows),
    )


@torch.library.custom_op("vreid_fast::combined_regression_backward", mutates_args=())
def _backward(
    grad_loss: Tensor, grad_predictions: Tensor, grad_combined: Tensor, clips: Tensor, groups: Tensor,
    weight1: Tensor, weight2: Tensor, strength: Tensor, dropout: float,
    predictions: Tensor, combined: Tensor, hidden: Tensor, shares: Tensor, sizes: Tensor,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:  # fmt: skip
    """Gradients of clips, weight1 (in their dtypes), bias1, weight2, bias2 (float32)."""
    from .combined_regression_triton import backward

    return backward(
        grad_loss, grad_predictions, grad_combined, clips, groups, weight1, weight2, strength, dropout,
        predictions, combined, hidden, shares, sizes,
    )  # fmt: skip


@_backward.register_fake
def _(grad_loss, grad_predictions, grad_combined, clips, groups, weight1, weight2, *_):
    hidden = weight1.shape[0]
    grads = [clips.new_empty(shape, dtype=torch.float32) for shape in ((hidden,), (2, hidden), (2,))]
    return clips.new_empty(clips.shape), weight1.new_empty(weight1.shape), *grads


def _save(ctx, inputs, output):
    clips, _, groups, weight1, bias1, weight2, bias2, strength, ctx.dropout, _ = inputs
    _, predictions, combined, hidden, shares, sizes = output
    ctx.mark_non_differentiable(hidden, shares, sizes)
    ctx.dtypes = bias1.dtype, weight2.dtype, bias2.dtype
    ctx.save_for_backward(clips, groups, weight1, weight2, strength, predictions, combined, hidden, shares, sizes)


def _differentiate(ctx, grad_loss, grad_predictions, grad_combined, *_):
    clips, groups, weight1, weight2, strength, *saved = ctx.saved_tensors
    grad_clips, grad_weight1, *small = torch.ops.vreid_fast.combined_regression_backward(
        grad_loss,
        grad_predictions,
        grad_combined,
        clips,
        groups,
        weight1,
        weight2,
        strength,
        ctx.dropout,
        *saved,
    )
    small = (grad.to(dtype) for grad, dtype in zip(small, ctx.dtypes, strict=True))
    return grad_clips, None, None, grad_weight1, *small, None, None, None


_forward.register_autograd(_differentiate, setup_context=_save)
