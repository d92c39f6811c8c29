"""Domain regression of combined clips (L3S), forward and backward: ours against eager torch and torch.compile."""

from __future__ import annotations

import sys

import torch
from timing import arguments, compare
from torch import Tensor
from torch.nn import functional as F

from vreid_fast.kernels import combined_regression, gradient_reversal

STRENGTH = 0.5


def main(argv: list[str] | None = None) -> int:
    options = arguments(argv, __doc__)
    cases = [(16, 256, 64)] if options.quick else [(64, 2048, 256), (128, 2048, 256), (64, 2048, 1024)]
    for clips, width, hidden in cases:
        generator = torch.Generator().manual_seed(0)

        def normal(*shape, scale=1.0, generator=generator):
            values = scale * torch.randn(*shape, generator=generator)
            return values.to(options.device).requires_grad_()

        parameters = [normal(clips, width), normal(hidden, width, scale=width**-0.5), normal(hidden)]
        parameters += [normal(2, hidden, scale=hidden**-0.5), normal(2)]
        domains = (torch.arange(clips) >= clips // 2).long().to(options.device)
        groups = torch.rand(clips, clips, generator=generator).argsort(1)[:, :4].to(options.device)
        providers = {
            "vreid_fast": forward_backward(ours, parameters, domains, groups),
            "eager": forward_backward(eager, parameters, domains, groups),
        }
        if options.device == "cuda":
            for name, mode in (("torch.compile", None), ("torch.compile, reduce-overhead", "reduce-overhead")):
                providers[name] = forward_backward(torch.compile(eager, mode=mode), parameters, domains, groups)
        compare(
            "combined_regression", f"N{clips} J{clips} S4 D{width} hidden {hidden}", providers, providers["eager"](),
            device=options.device, quick=options.quick, rtol=1e-3, atol=1e-5,
        )  # fmt: skip
    return 0


def ours(clips, weight1, bias1, weight2, bias2, domains, groups) -> Tensor:
    return combined_regression(clips, domains, groups, weight1, bias1, weight2, bias2, STRENGTH).loss


def eager(clips, weight1, bias1, weight2, bias2, domains, groups) -> Tensor:
    """The same in plain torch, for groups without padding."""
    combined = gradient_reversal(clips[groups].mean(1), STRENGTH, backend="reference")
    predictions = F.linear(F.relu(F.linear(combined, weight1, bias1)), weight2, bias2).softmax(1)
    target = domains[groups].float().mean(1)
    return F.mse_loss(predictions, torch.stack([1 - target, target], 1))


def forward_backward(function, parameters: list[Tensor], domains: Tensor, groups: Tensor):
    """The loss and all gradients."""

    def run():
        loss = function(*parameters, domains, groups)
        return loss.detach(), torch.autograd.grad(loss, parameters)

    return run


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
