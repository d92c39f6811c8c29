"""Domain regression of combined clips (L3S), forward and backward: ours against eager torch and torch.compile.

From clip features, from frame features, and, as "pooling + regression", from feature maps (temporal_pool, then
the regression of its clips) to the loss and all gradients.
"""

from __future__ import annotations

import sys
from functools import partial

import torch
from failures import exit_status
from providers import make_maps, providers
from timing import arguments, compare
from torch import Tensor
from torch.nn import functional as F

from vreid_fast.kernels import combined_regression, gradient_reversal, temporal_pool

STRENGTH, SLOTS = 0.5, 4


def main(argv: list[str] | None = None) -> int:
    options = arguments(argv, __doc__)
    on_gpu = options.device == "cuda"
    half = torch.bfloat16 if on_gpu else torch.float32
    clips, pooled = [(64, 2048, 256)], [(32, 8), (64, 8)]
    if options.full:
        clips, pooled = [*clips, (128, 2048, 256), (64, 2048, 1024)], [*pooled, (32, 4), (64, 4)]
    width = 2048
    if options.quick or not on_gpu:
        clips, pooled, width = [(16, 256, 64)], [(4, 4)], 256
    for samples, features, hidden in clips:
        x = normal(samples, features, seed=5, dtype=torch.float32, device=options.device)
        measure(options, f"clips N{samples}", x, 1, hidden)
    for samples, frames in pooled:
        x = normal(samples, frames, width, seed=5, dtype=half, device=options.device)
        measure(options, f"frames B{samples} T{frames}", x, frames, 256)
        maps = make_maps(samples * frames, width, half, options.device)
        measure(options, f"pooling + regression B{samples} T{frames}", maps, frames, 256)
    return exit_status()


def measure(options, name: str, x: Tensor, frames: int, hidden: int) -> None:
    """x: clips (N, D), frames (N, T, D) or maps (N*T, D, 16, 8), a leaf; J = N groups."""
    samples, width = (x.shape[0] // frames, x.shape[1]) if x.dim() == 4 else (x.shape[0], x.shape[-1])
    made = partial(normal, dtype=x.dtype, device=options.device)
    bias1 = made(hidden, seed=2).detach()
    # No hidden unit is so near to zero that rounding decides about it.
    bias1 = (bias1 + 4 * bias1.sign()).requires_grad_()
    weight1, weight2 = made(hidden, width, seed=1, scale=width**-0.5), made(2, hidden, seed=3, scale=hidden**-0.5)
    parameters = [x, weight1, bias1, weight2, made(2, seed=4)]
    domains = (torch.arange(samples) >= samples // 2).long().to(options.device)
    random = torch.Generator().manual_seed(0)
    groups = torch.rand(samples, samples, generator=random).argsort(1)[:, :SLOTS].to(options.device)

    def run(function, parameters=parameters):
        loss = function(*parameters, domains, groups, frames)
        return loss.detach(), *torch.autograd.grad(loss, parameters)

    expected = run(eager, [tensor.detach().float().requires_grad_() for tensor in parameters])
    # On the device, where as numbers they would be written there by a launch each.
    strength, seed = torch.tensor(STRENGTH, device=options.device), torch.tensor(0, device=options.device)
    compared = providers(options, partial(ours, strength=strength, seed=seed), eager, run)
    relative = 2e-2 if x.dtype == torch.bfloat16 else 1e-3

    def check(found):
        for one, other in zip(found, expected, strict=True):
            # Of the largest element, since the gradients differ in size by a factor of 10 000.
            tolerance = relative * other.abs().max().item()
            torch.testing.assert_close(one.float(), other, rtol=0, atol=tolerance)

    size = f"J{samples} S{SLOTS} D{width} hidden {hidden} {str(x.dtype).removeprefix('torch.')}"
    compare(
        "combined_regression", f"{name} {size}", compared, None, device=options.device, quick=options.quick, check=check
    )


def normal(*shape: int, seed: int, dtype: torch.dtype, device: str, scale: float = 1.0) -> Tensor:
    """A leaf of normal values."""
    values = torch.randn(shape, generator=torch.Generator().manual_seed(seed))
    return (scale * values).to(device, dtype).requires_grad_()


def ours(x, weight1, bias1, weight2, bias2, domains, groups, frames, *, strength, seed) -> Tensor:
    if x.dim() == 4:
        _, x = temporal_pool(x, frames)
    return combined_regression(x, domains, groups, weight1, bias1, weight2, bias2, strength, seed=seed).loss


def eager(x, weight1, bias1, weight2, bias2, domains, groups, frames) -> Tensor:
    """The same in plain torch, for groups without padding."""
    if x.dim() == 4:
        x = x.amax((2, 3)).unflatten(0, (-1, frames))
    if x.dim() == 3:
        x = x.mean(1)
    combined = gradient_reversal(x[groups].mean(1), STRENGTH, backend="reference")
    hidden = F.relu(F.linear(combined, weight1, bias1))
    predictions = F.linear(hidden, weight2, bias2).float().softmax(1)
    target = domains[groups].float().mean(1)
    return F.mse_loss(predictions, torch.stack([1 - target, target], 1))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
