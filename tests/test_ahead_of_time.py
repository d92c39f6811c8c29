"""Every Triton kernel, compiled without a GPU for sm_80, sm_90 and sm_100: no local memory, shared memory fits.

The launchers run on meta tensors of the sizes in question, their launches are recorded, and what would have
been launched is compiled. That also shows that no launcher looks at data on the host. Runs in a process of
its own, since here the kernels may be interpreted.
"""

import inspect
import json
import os
import subprocess
import sys
import tempfile
from itertools import product
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
# Shared memory that one block may take, in bytes.
SHARED_MEMORY = {80: 163 * 1024, 90: 227 * 1024, 100: 227 * 1024}


@pytest.fixture(scope="module")
def compiled():
    """One dict a kernel, configuration and architecture."""
    pytest.importorskip("triton")
    environment = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    environment["PYTHONPATH"] = str(ROOT)
    with tempfile.TemporaryDirectory() as cache:
        environment["TRITON_CACHE_DIR"] = cache
        done = subprocess.run([sys.executable, __file__], env=environment, capture_output=True, text=True, timeout=280)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize("architecture", SHARED_MEMORY)
def test_no_local_memory_and_shared_memory_fits(compiled, architecture):
    rows = [row for row in compiled["kernels"] if row["architecture"] == architecture]
    assert rows
    limit = SHARED_MEMORY[architecture]
    bad = [row for row in rows if row["STACK"] or row["LOCAL"] or row["shared"] > limit]
    assert not bad, "\n".join(map(str, bad))


def test_every_kernel_was_compiled(compiled):
    assert {row["kernel"] for row in compiled["kernels"]} == set(compiled["known"])


def launch_everything():
    """Call the launchers at the sizes of the method and of the benchmarks."""
    import torch

    from vreid_fast.kernels import combined_regression_triton, temporal_pool_triton
    from vreid_fast.kernels.kmeans_assign_triton import assign
    from vreid_fast.kernels.kmeans_gram_triton import fits, kmeans_gram
    from vreid_fast.kernels.kmeans_large_triton import kmeans_large

    def empty(*shape, dtype=torch.float32):
        return torch.empty(shape, dtype=dtype, device="meta")

    def pool(maps, frames, lengths, maximum):
        features, clips, index = temporal_pool_triton.forward(maps, frames, lengths, maximum)
        last = maps.is_contiguous(memory_format=torch.channels_last)
        height, width = maps.shape[2:]
        temporal_pool_triton.backward(features, clips, lengths, index, frames, height, width, last, maximum)
        if last and maximum:
            temporal_pool_triton.backward(features, None, lengths, index, frames, height, width, last, maximum)
            temporal_pool_triton.backward(None, clips, lengths, index, frames, height, width, last, maximum)

    def regress(clips, rows, slots, hidden, dropout, lengths=None, weights=None, grads=(True, False, False)):
        """`grads`: which of loss, predictions and combined have a gradient; in training it is the loss alone."""
        width, dtype = clips.shape[-1], weights or clips.dtype
        head = [empty(*size, dtype=dtype) for size in ((hidden, width), (hidden,), (2, hidden), (2,))]
        groups, domains, seed = (empty(*size, dtype=torch.int64) for size in ((rows, slots), (len(clips),), ()))
        found = combined_regression_triton.forward(clips, domains, groups, *head, dropout, seed, lengths)
        grads = [grad if wanted else None for grad, wanted in zip(found[:3], grads, strict=True)]
        combined_regression_triton.backward(*grads, clips, groups, *head, empty(), dropout, lengths, *found[1:])

    seed = empty(dtype=torch.int64)
    for dtype in (torch.bfloat16, torch.float16, torch.float32):
        # float16 compiles as bfloat16 does: one of each is enough.
        few = dtype == torch.float16
        for clips, frames, ragged in [(64, 8, True)] if few else product((32, 64), (4, 8), (False, True)):
            lengths = empty(clips, dtype=torch.int64) if ragged else None
            for layout in (torch.contiguous_format, torch.channels_last)[few:]:
                maps = empty(clips * frames, 2048, 16, 8, dtype=dtype).contiguous(memory_format=layout)
                pool(maps, frames, lengths, True)
                if not few:
                    pool(maps, frames, lengths, False)
            pool(empty(clips * frames, 2048, 1, 1, dtype=dtype), frames, lengths, False)
        regress(empty(64, 256, dtype=dtype), 32, 8, 128, 0.0, grads=(True, True, True))
        if not few:
            for rows, hidden in product((16, 32, 64, 128), (256, 1024)):
                regress(empty(rows, 2048, dtype=dtype), rows, 4, hidden, 0.5)
            for clips, frames, lengths in product((32, 64), (4, 8), (False, True)):
                lengths = empty(clips, dtype=torch.int64) if lengths else None
                regress(empty(clips, frames, 2048, dtype=dtype), clips, 4, 256, 0.5, lengths)
        assign(empty(1, 40000, 2048, dtype=dtype), empty(1, 1000, 2048, dtype=dtype))
        if few:
            continue
        for problems, samples, clusters in ((1, 64, 16), (32, 64, 16), (1, 512, 32)):
            assert fits(samples)
            kmeans_gram(empty(problems, samples, 2048, dtype=dtype), clusters, 10, 25, None, seed)
        kmeans_gram(empty(1, 256, 256, dtype=dtype), 60, 1, 25, empty(1, 60, 256), seed)
        kmeans_large(empty(1, 4096, 2048, dtype=dtype), 128, 2, 2, None, seed)
        kmeans_large(empty(1, 40000, 2048, dtype=dtype), 1000, 1, 1, empty(1, 1000, 2048), seed)
    # Features of a network under autocast, parameters of a head outside it.
    regress(empty(64, 2048, dtype=torch.bfloat16), 64, 4, 256, 0.5, weights=torch.float32)
    torch.set_float32_matmul_precision("high")
    assign(empty(1, 40000, 2048), empty(1, 1000, 2048))
    regress(empty(64, 2048), 64, 4, 256, 0.5)
    # Sizes of 1 are compiled in, which takes other paths through the compiler.
    pool(empty(1, 1, 1, 1), 1, empty(1, dtype=torch.int64), True)
    regress(empty(1, 1), 1, 1, 1, 0.5)
    regress(empty(1, 1, 1), 1, 1, 1, 0.5, empty(1, dtype=torch.int64))
    kmeans_gram(empty(1, 1, 1), 1, 1, 1, None, seed)
    kmeans_large(empty(1, 1, 1), 1, 1, 1, None, seed)


def source_of(kernel, values, options):
    """The ASTSource that a launch with `values` compiles, arguments specialised as at a launch."""
    import torch
    from triton.compiler import ASTSource
    from triton.runtime.jit import mangle_type

    signature, constants, attributes = {}, {}, {}
    for at, parameter in enumerate(kernel.params):
        value = values[parameter.name]
        special = not parameter.do_not_specialize and isinstance(value, int)
        if parameter.is_constexpr or value is None or (special and value == 1):
            signature[parameter.name], constants[(at,)] = "constexpr", value
            continue
        signature[parameter.name] = mangle_type(value)
        if isinstance(value, torch.Tensor) or (special and value % 16 == 0):
            attributes[(at,)] = [["tt.divisibility", 16]]
    key = kernel.__name__, str(signature), str(constants), str(attributes), str(options)
    return key, ASTSource(kernel, signature, constants, attributes)


def resources(cubin):
    """{"REG": ..., "STACK": ..., "LOCAL": ...} of a cubin, in registers and bytes a thread."""
    import triton

    program = Path(triton.__file__).parent / "backends/nvidia/bin/cuobjdump"
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(cubin)
        file.flush()
        told = subprocess.run([program, "-res-usage", file.name], capture_output=True, text=True, check=True)
    fields = dict(field.split(":") for field in told.stdout.splitlines()[-1].split() if ":" in field)
    return {name: int(fields[name]) for name in ("REG", "STACK", "LOCAL")}


def main():
    import triton
    from triton.backends.compiler import GPUTarget
    from triton.runtime.jit import JITFunction

    sources = {}

    def record(kernel, *positional, grid, warmup, **named):
        options = {name: named.pop(name) for name in ("num_warps", "num_stages", "maxnreg") if name in named}
        values = inspect.signature(kernel.fn).bind(*positional, **named).arguments
        key, source = source_of(kernel, values, options)
        sources.setdefault(key, (source, options))

    JITFunction.run = record
    launch_everything()
    modules = [module for name, module in sys.modules.items() if name.startswith("vreid_fast.kernels.")]
    known = {name for module in modules for name in vars(module) if name.endswith("_kernel")}
    rows = []
    for key, (source, options) in sources.items():
        for architecture in SHARED_MEMORY:
            built = triton.compile(source, target=GPUTarget("cuda", architecture, 32), options=options)
            row = {"kernel": key[0], "architecture": architecture, "shared": built.metadata.shared}
            rows.append(row | resources(built.asm["cubin"]) | {"arguments": " ".join(key[1:])})
    print(json.dumps({"kernels": rows, "known": sorted(known)}))


if __name__ == "__main__":
    main()
