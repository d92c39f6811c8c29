"""What a call of each Triton op costs the host, without a GPU: `python benchmarks/host_time.py`.

The ops run on small CPU tensors as they would on a GPU: checks, dispatch, autograd, allocations, products and
Triton's launcher are real. Only the last step is left out, in which the driver is handed a compiled kernel. So two
columns: microseconds of a call in all, and those of them that Triton's launcher takes, whose number of launches is
beside it. On a GPU, allocations and products take other times, and each launch the driver's besides.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable

import torch
import triton
from triton.backends.compiler import GPUTarget
from triton.runtime.jit import JITFunction

from vreid_fast.kernels import backends, batch_norm, combined_regression, gather_clips, kmeans, kmeans_assign, values
from vreid_fast.kernels import temporal_pool as pool

ROUNDS, CALLS = 60, 50


class Driver:
    """Of a GPU that is not there; what was compiled for it does nothing."""

    get_current_device = staticmethod(lambda: 0)
    get_current_stream = staticmethod(lambda device: 0)
    get_current_target = staticmethod(lambda: GPUTarget("cuda", 90, 32))


class Kernel:
    function = packed_metadata = None
    launch_metadata = staticmethod(lambda *arguments: None)
    run = staticmethod(lambda *arguments: None)


launches = 0
inside = 0.0


def without_a_gpu() -> None:
    """From now on, for good, launches end before the driver, and CPU tensors are taken as a GPU's are."""
    run = JITFunction.run

    def timed(kernel, *positional, **named):
        global launches, inside
        began = time.perf_counter()
        run(kernel, *positional, **named)
        inside += time.perf_counter() - began
        launches += 1

    def compiled(self, key, signature, device, *_):
        self.device_caches[device][0][key] = Kernel
        return Kernel

    triton.runtime.driver.set_active(Driver())
    JITFunction.run, JITFunction._do_compile = timed, compiled
    backends.why_missing = lambda *_: None
    values.may_be_read = lambda tensor: False


def calls() -> dict[str, Callable]:
    maps = torch.randn(4, 32, 4, 2).contiguous(memory_format=torch.channels_last).requires_grad_()
    clips, frames = torch.randn(2, 32, requires_grad=True), torch.randn(2, 2, 32, requires_grad=True)
    head = [torch.randn(size, requires_grad=True) for size in ((16, 32), (16,), (2, 16), (2,))]
    domains, groups = torch.tensor([0, 1]), torch.tensor([[0, 1], [1, 0]])
    strength, seed = torch.tensor(0.5), torch.tensor(0)
    images, rows = torch.zeros(4, 8, 8, 3, dtype=torch.uint8), torch.zeros(2, 2, dtype=torch.int64)
    drawn, out = torch.zeros(2, 7, dtype=torch.int32), torch.empty(2, 2, 3, 8, 8)
    centroids = torch.randn(2, 32)
    affine = [torch.ones(32, requires_grad=True), torch.zeros(32, requires_grad=True)]

    def pooled():
        return pool(maps, 2, backend="triton")

    def regressed(x):
        return combined_regression(x, domains, groups, *head, strength, seed=seed, backend="triton").loss

    def normalised():
        return batch_norm(maps, *affine, relu=True, backend="triton")

    def differentiated(outputs, leaves):
        outputs = outputs if isinstance(outputs, tuple) else (outputs,)
        torch.autograd.grad(outputs, leaves, [torch.ones_like(output) for output in outputs])

    return {
        "temporal_pool": pooled,
        "temporal_pool f+b": lambda: differentiated(pooled(), maps),
        "combined_regression clips": lambda: regressed(clips),
        "combined_regression clips f+b": lambda: differentiated(regressed(clips), [clips, *head]),
        "combined_regression frames f+b": lambda: differentiated(regressed(frames), [frames, *head]),
        "gather_clips": lambda: gather_clips(images, rows, drawn, out=out, backend="triton"),
        "batch_norm": normalised,
        "batch_norm f+b": lambda: differentiated(normalised(), [maps, *affine]),
        "kmeans": lambda: kmeans(clips.detach(), 2, seed=seed, backend="triton"),
        "kmeans_assign": lambda: kmeans_assign(clips.detach(), centroids, backend="triton"),
    }


def measured(call: Callable) -> tuple[float, float, float]:
    """Microseconds of a call and of Triton's launcher in it, of the best round; launches."""
    global launches, inside
    call()
    best = (float("inf"), 0.0)
    for _ in range(ROUNDS):
        launches, inside, began = 0, 0.0, time.perf_counter()
        for _ in range(CALLS):
            call()
        best = min(best, (time.perf_counter() - began, inside))
    return best[0] / CALLS * 1e6, best[1] / CALLS * 1e6, launches / CALLS


def main() -> int:
    without_a_gpu()
    torch.set_num_threads(1)
    print(f"{'microseconds':34} {'call':>8} {'launcher':>9} {'rest':>8} {'launches':>9}")
    for name, call in calls().items():
        whole, launcher, count = measured(call)
        print(f"{name:34} {whole:8.1f} {launcher:9.1f} {whole - launcher:8.1f} {count:9.0f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
