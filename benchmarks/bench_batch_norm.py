"""Batch norm, addition and ReLU of a training step, forward and backward: ours against eager torch and torch.compile.

The sizes are those of ResNet-50 at 256 frames of 256 x 128 pixels. The provider "copy of the fewest bytes" copies as
many bytes as have to be moved: the forward reads the maps twice and what is added once, and writes once; the backward
reads gradient and maps twice, and the ReLU's mask where something was added. Its ratio is the share of the copy's
bandwidth that we reach. The last case is a whole trunk.
"""

from __future__ import annotations

import sys
from collections.abc import Callable

import torch
import torch.nn.functional as F
from failures import exit_status
from providers import graphed, providers
from timing import arguments, compare
from torch import Tensor

from vreid_fast.kernels import FusedBatchNorm, batch_norm
from vreid_fast.models.trunk import BasicBlock, Bottleneck, ResNetTrunk

# N, C, H, W, whether a residual is added: the stem; inside and at the end of blocks.
CASES = (
    (256, 64, 128, 64, False), (256, 64, 64, 32, False), (256, 256, 64, 32, True), (256, 512, 32, 16, True),
    (256, 512, 16, 8, False), (256, 2048, 16, 8, True),
)  # fmt: skip


def main(argv: list[str] | None = None) -> int:
    options = arguments(argv, __doc__)
    on_gpu = options.device == "cuda"
    small = options.quick or not on_gpu
    dtype = torch.bfloat16 if on_gpu else torch.float32
    for case in [(16, 64, 16, 8, True)] if small else CASES if options.full else CASES[::2] + CASES[-1:]:
        bench(options, *case, dtype)
    bench_trunk(options, small)
    return exit_status()


def bench(options, samples: int, channels: int, height: int, width: int, residual: bool, dtype: torch.dtype) -> None:
    def maps(seed: int) -> Tensor:
        generator = torch.Generator(options.device).manual_seed(seed)
        values = torch.randn(samples, height, width, channels, generator=generator, device=options.device)
        return values.to(dtype).permute(0, 3, 1, 2)

    x, grad = maps(0).requires_grad_(), maps(1)
    weight = torch.linspace(0.5, 1.5, channels, device=options.device).requires_grad_()
    bias = torch.linspace(-1, 1, channels, device=options.device).requires_grad_()
    leaves = [x, weight, bias, *([maps(2).requires_grad_()] if residual else [])]
    running = torch.zeros_like(bias.detach()), torch.ones_like(bias.detach())

    def run(function: Callable) -> list[Tensor]:
        out = function(x, weight, bias, *running, *leaves[3:])
        return [out.detach(), *torch.autograd.grad(out, leaves, grad)]

    compared = providers(options, ours, eager, run)
    expected = compared["eager"]()
    touched = 11 if residual else 8
    source, target = x.detach().permute(0, 2, 3, 1).flatten(), torch.empty_like(x).permute(0, 2, 3, 1).flatten()

    def copy() -> list[Tensor]:
        for _ in range(touched // 2):
            target.copy_(source)
        if touched % 2:
            target[: len(target) // 2].copy_(source[: len(source) // 2])
        return expected

    compared["copy of the fewest bytes"] = copy
    ending = f"{'add, ' if residual else ''}ReLU {str(dtype).removeprefix('torch.')}"
    case = f"{samples}x{channels}x{height}x{width} {ending}"
    rows = compare(
        "batch_norm", case, compared, None, device=options.device, quick=options.quick,
        check=lambda found: check_close(found, expected),
    )  # fmt: skip
    speeds = (f"{row['provider']} {touched * source.nbytes / float(row['p50_ms']) / 1e6:.3g}" for row in rows)
    print(f"{'':20} GB/s of the fewest bytes: {', '.join(speeds)}")


def ours(x: Tensor, weight: Tensor, bias: Tensor, mean: Tensor, var: Tensor, residual: Tensor | None = None) -> Tensor:
    return batch_norm(x, weight, bias, residual=residual, relu=True, running_mean=mean, running_var=var)


def eager(x: Tensor, weight: Tensor, bias: Tensor, mean: Tensor, var: Tensor, residual: Tensor | None = None) -> Tensor:
    """What networks do."""
    out = F.batch_norm(x, mean, var, weight, bias, training=True)
    return F.relu(out if residual is None else out + residual, inplace=True)


def check_close(found: list[Tensor], expected: list[Tensor]) -> None:
    """Rounded elsewhere, a value next to 0 may fall on its other side, and let a gradient through: a few may."""
    for one, other in zip(found, expected, strict=True):
        difference = (one.float() - other.float()).abs()
        apart = (difference > 0.03 * other.float().abs().max().clamp(min=1)).float().mean()
        assert apart < 5e-3, f"{float(apart):.2%} of the values are apart"


def bench_trunk(options, small: bool) -> None:
    frames = torch.randn((8, 3, 64, 32) if small else (256, 3, 256, 128), device=options.device)
    frames = frames.contiguous(memory_format=torch.channels_last)
    torch.manual_seed(0)
    trunk = ResNetTrunk(BasicBlock, (1, 1, 1, 1)) if small else ResNetTrunk(Bottleneck, (3, 4, 6, 3))
    trunk = trunk.to(options.device, memory_format=torch.channels_last)

    def run(network: Callable, backend: str | None) -> Tensor:
        FusedBatchNorm.backend = backend
        try:
            trunk.zero_grad(set_to_none=True)
            with torch.autocast(options.device, dtype=torch.bfloat16, enabled=options.device == "cuda"):
                maps = network(frames)
            maps.float().square().mean().backward()
            return maps.detach()
        finally:
            FusedBatchNorm.backend = None

    compared = {"vreid_fast": lambda: run(trunk, None), "eager": lambda: run(trunk, "reference")}
    if not options.quick:
        compiled = torch.compile(trunk, fullgraph=True, dynamic=False)
        compared["torch.compile"] = lambda: run(compiled, "reference")
    if options.device == "cuda":
        compared["vreid_fast, CUDA graph"] = graphed(compared["vreid_fast"])
    expected = compared["eager"]().float()

    def check(found: Tensor) -> None:
        error = ((found.float() - expected).square().mean() / expected.square().mean()).sqrt()
        assert error < 0.1, f"relative error {float(error):.3f}"

    name = f"trunk of {'a small ResNet' if small else 'ResNet-50'}, {len(frames)} frames"
    compare("batch_norm", name, compared, None, device=options.device, quick=options.quick, check=check)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
