"""Compiles the Triton kernels of one op for GPUs that are not here: `python ahead_of_time.py kmeans_gram`.

The launchers run on meta tensors of the sizes of the method and of the benchmarks, their launches are recorded,
and what would have been launched is compiled: all for sm_90, and for the other architectures what took the most
registers or shared memory there of each kernel, since compiling takes minutes. That also shows that no launcher looks
at data on the host. Prints JSON: one object a kernel, configuration and architecture.
"""

import inspect
import json
import math
import subprocess
import sys
import tempfile
from itertools import product
from pathlib import Path

import torch

FIRST, OTHERS = 90, (80, 100, 120)
"""Architectures: everything is compiled for the first one."""


def empty(*shape, dtype=torch.float32):
    return torch.empty(shape, dtype=dtype, device="meta")


def integers(*shape):
    return empty(*shape, dtype=torch.int64)


def drawn(clusters):
    """Candidates of k-means++ by default."""
    return 2 + int(math.log(clusters))


def gather_clips():
    from vreid_fast.kernels.gather_clips_triton import gather
    from vreid_fast.kernels.outputs import empty_clips

    def gathered(count, clips, frames, height, width, dtype, channels_last):
        out = empty_clips((clips, frames, height, width), dtype, channels_last, "meta")
        images = empty(count, height, width, 3, dtype=torch.uint8)
        gather(out, images, integers(clips, frames), empty(clips, 7, dtype=torch.int32), [1.0] * 3, [2.0] * 3)

    for dtype, channels_last in product((torch.bfloat16, torch.float32), (False, True)):
        for frames, (height, width) in product((4, 8), ((256, 128), (64, 32))):
            gathered(32 * frames, 32, frames, height, width, dtype, channels_last)
    # A cache of more bytes than int32 counts; sizes of 1.
    gathered(500_000, 32, 8, 256, 128, torch.float16, True)
    gathered(1, 1, 1, 7, 5, torch.float32, False)
    for dtype, channels_last in product((torch.bfloat16, torch.float32), (False, True)):  # lines that are not aligned
        gathered(256, 32, 8, 255, 127, dtype, channels_last)


def temporal_pool():
    from vreid_fast.kernels.temporal_pool_triton import backward, forward

    def pool(maps, frames, lengths, maximum):
        features, clips, index = forward(maps, frames, lengths, maximum)
        last = maps.is_contiguous(memory_format=torch.channels_last)
        height, width = maps.shape[2:]
        backward(features, clips, lengths, index, frames, height, width, last, maximum)
        if last and maximum:
            backward(features, None, lengths, index, frames, height, width, last, maximum)
            backward(None, clips, lengths, index, frames, height, width, last, maximum)

    for dtype in (torch.bfloat16, torch.float16, torch.float32):
        # float16 compiles as bfloat16 does: one of each is enough.
        few = dtype == torch.float16
        for clips, frames, ragged in [(64, 8, True)] if few else product((32, 64), (4, 8), (False, True)):
            lengths = integers(clips) if ragged else None
            for layout in (torch.contiguous_format, torch.channels_last)[few:]:
                maps = empty(clips * frames, 2048, 16, 8, dtype=dtype).contiguous(memory_format=layout)
                pool(maps, frames, lengths, True)
                if not few:
                    pool(maps, frames, lengths, False)
            pool(empty(clips * frames, 2048, 1, 1, dtype=dtype), frames, lengths, False)
        for layout in (torch.contiguous_format, torch.channels_last):  # rows that are not aligned
            pool(empty(256, 2047, 7, 7, dtype=dtype).contiguous(memory_format=layout), 8, integers(32), True)
    # Sizes of 1 are compiled in, which takes other paths through the compiler; so in all that follow.
    pool(empty(1, 1, 1, 1), 1, integers(1), True)


def batch_norm():
    from vreid_fast.kernels import batch_norm_triton
    from vreid_fast.kernels.batch_norm_backward_triton import backward

    def normalise(maps, residual, relu, groups=None, group_count=1, momentum=0.1, affine=torch.float32):
        channels = maps.shape[1]
        maps = maps.contiguous(memory_format=torch.channels_last)
        residual = torch.empty_like(maps) if residual else None
        weight, bias = empty(channels, dtype=affine), empty(channels, dtype=affine)
        rows = () if groups is None else (group_count,)
        running = empty(*rows, channels, dtype=affine), empty(*rows, channels, dtype=affine), integers(*rows)
        out, statistics = batch_norm_triton.forward(
            maps, weight, bias, residual, *running, groups, group_count, momentum, 1e-5, relu
        )
        masking = out if relu and residual is not None else None
        for again in (None,) if masking is None else (None, masking):
            backward(out, again, maps, masking, weight, bias, statistics, groups, 1e-5, relu)

    batch_norm_triton.multiprocessors = lambda device: 132
    kinds = ((False, True), (True, True), (False, False))  # residual, relu: inside a block, at its end, its shortcut
    for dtype, (residual, relu) in product((torch.bfloat16, torch.float32), kinds):
        # The stem, and the stages of ResNet-50: 256 frames of 256 x 128 pixels.
        for channels, height, width in ((64, 128, 64), (256, 64, 32), (512, 32, 16), (1024, 16, 8), (2048, 16, 8)):
            normalise(empty(256, channels, height, width, dtype=dtype), residual, relu)
        normalise(empty(64, 512, 32, 16, dtype=dtype), residual, relu, integers(64), 2)
    normalise(empty(256, 512, 16, 8, dtype=torch.float16), True, True, momentum=None)
    for channels, height, width in ((16, 32, 16), (32, 16, 8), (256, 4, 2)):  # the demo's network, bf16 and its teacher
        normalise(empty(64, channels, height, width, dtype=torch.bfloat16), True, True)
        normalise(empty(64, channels, height, width, dtype=torch.bfloat16), True, True, affine=torch.bfloat16)
    normalise(empty(7, 5, 3, 3), True, True)
    normalise(empty(1, 1, 1, 1), True, True, integers(1), 1, None)


def combined_regression():
    from vreid_fast.kernels.combined_regression_triton import backward, forward

    def regress(clips, rows, slots, hidden, dropout, lengths=None, weights=None, grads=(True, False, False)):
        """`grads`: which of loss, predictions and combined have a gradient; in training it is the loss alone."""
        width, dtype = clips.shape[-1], weights or clips.dtype
        head = [empty(*size, dtype=dtype) for size in ((hidden, width), (hidden,), (2, hidden), (2,))]
        groups, domains, seed = integers(rows, slots), integers(len(clips)), integers()
        found = forward(clips, domains, groups, *head, dropout, seed, lengths)
        grads = [grad if wanted else None for grad, wanted in zip(found[:3], grads, strict=True)]
        backward(*grads, clips, groups, *head, empty(), dropout, lengths, *found[1:])

    for dtype in (torch.bfloat16, torch.float16, torch.float32):
        regress(empty(64, 256, dtype=dtype), 32, 8, 128, 0.0, grads=(True, True, True))
        if dtype == torch.float16:
            continue
        for rows, hidden in product((16, 32, 64, 128), (256, 1024)):
            regress(empty(rows, 2048, dtype=dtype), rows, 4, hidden, 0.5)
        for clips, frames, ragged in product((32, 64), (4, 8), (False, True)):
            lengths = integers(clips) if ragged else None
            regress(empty(clips, frames, 2048, dtype=dtype), clips, 4, 256, 0.5, lengths)
    # Features of a network under autocast, parameters of a head outside it.
    regress(empty(64, 2048, dtype=torch.bfloat16), 64, 4, 256, 0.5, weights=torch.float32)
    torch.set_float32_matmul_precision("high")
    regress(empty(64, 2048), 64, 4, 256, 0.5)
    regress(empty(1, 1), 1, 1, 1, 0.5)
    regress(empty(1, 1, 1), 1, 1, 1, 0.5, integers(1))


def kmeans_gram():
    from vreid_fast.kernels import kmeans_gram_triton

    def cluster(problems, samples, width, clusters, restarts, dtype=torch.float32, given=False):
        assert kmeans_gram_triton.fits(samples)
        init = empty(problems, clusters, width) if given else None
        kmeans_gram_triton.kmeans_gram(
            empty(problems, samples, width, dtype=dtype), clusters, restarts, 25, init, integers(), drawn(clusters)
        )

    kmeans_gram_triton.multiprocessors = lambda device: 132
    assert not kmeans_gram_triton.fits(513)
    for dtype in (torch.bfloat16, torch.float32):
        cluster(1, 64, 2048, 16, 10, dtype)
        cluster(32, 64, 2048, 16, 10, dtype)
        cluster(1, 512, 2048, 32, 10, dtype)
        cluster(1, 100, 2047, 16, 10, dtype)
    for samples, clusters, restarts in ((20, 5, 4), (48, 9, 2), (64, 64, 16), (100, 16, 10), (256, 60, 10)):
        cluster(1, samples, 2048, clusters, restarts)
    for samples in (64, 256, 512):
        cluster(1, samples, 256, 60, 1, given=True)
    cluster(1, 1, 1, 1, 1)


def kmeans_samples():
    from vreid_fast.kernels.kmeans_samples_triton import kmeans_samples

    def cluster(problems, samples, width, clusters, restarts, dtype=torch.float32, given=False):
        init = empty(problems, clusters, width) if given else None
        kmeans_samples(
            empty(problems, samples, width, dtype=dtype), clusters, restarts, 2, init, integers(), drawn(clusters)
        )

    for dtype in (torch.bfloat16, torch.float32):
        cluster(1, 4096, 2048, 128, 2, dtype)
        cluster(1, 40000, 2048, 1000, 1, dtype, given=True)
        cluster(32, 75600, 128, 1000, 1, dtype, given=True)
    cluster(1, 800, 256, 60, 10)
    torch.set_float32_matmul_precision("high")
    cluster(1, 40000, 2048, 1000, 1, given=True)
    cluster(1, 1, 1, 1, 1)


def kmeans_assign():
    from vreid_fast.kernels import kmeans_assign_triton
    from vreid_fast.kernels.kmeans_assign_triton import assign

    for described in (False, True):
        kmeans_assign_triton.copies_tiles = lambda device, described=described: described
        for dtype in (torch.bfloat16, torch.float16, torch.float32):
            for of_centroids in {dtype, torch.float32}:
                for width in (2048, 2047):
                    assign(empty(1, 40000, width, dtype=dtype), empty(1, 1000, width, dtype=of_centroids))
        assign(empty(1, 2**20, 4096), empty(1, 4096, 4096))
        assign(empty(1, 70, 130), empty(1, 200, 130))
        assign(empty(1, 40000, 2048), empty(1, 1000, 2048), False)
        torch.set_float32_matmul_precision("high")
        assign(empty(1, 40000, 2048), empty(1, 1000, 2048))
        torch.set_float32_matmul_precision("highest")
    for dtype in (torch.bfloat16, torch.float16, torch.float32):
        for of_centroids in {dtype, torch.float32}:
            for samples, clusters, width in ((4096, 128, 2048), (4096, 128, 2047), (70, 20, 130)):
                assign(empty(1, samples, width, dtype=dtype), empty(1, clusters, width, dtype=of_centroids))
    assign(empty(1, 4096, 2048, dtype=torch.bfloat16), empty(1, 128, 2048, dtype=torch.bfloat16), False)
    torch.set_float32_matmul_precision("high")
    assign(empty(1, 4096, 2048), empty(1, 128, 2048))
    assign(empty(1, 1, 1), empty(1, 1, 1))


def source_of(kernel, values, options):
    """The ASTSource that a launch with `values` compiles, arguments specialised as at a launch."""
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


def recorded(launch):
    """What `launch()` would launch: key -> (source, options, grids, one for each launch)."""
    from triton.runtime.jit import JITFunction

    launches = {}

    def record(kernel, *positional, grid, warmup, **named):
        options = {name: named.pop(name) for name in ("num_warps", "num_stages", "maxnreg") if name in named}
        values = inspect.signature(kernel.fn).bind(*positional, **named).arguments
        key, source = source_of(kernel, values, options)
        launches.setdefault(key, (source, options, []))[2].append(grid)

    run, JITFunction.run = JITFunction.run, record
    try:
        launch()
    finally:
        JITFunction.run = run
    return launches


def compiled(source, options, architecture):
    import triton
    from triton.backends.compiler import GPUTarget

    return triton.compile(source, target=GPUTarget("cuda", architecture, 32), options=options)


def fits(launch, architecture):
    """Whether a card would be given this launch: a kernel may have a form with tensor descriptors, and one without."""
    _, (source, _, _) = launch
    names = source.fn.arg_names
    if "DESCRIBED" not in names:
        return True
    return source.constants[(names.index("DESCRIBED"),)] == (architecture in (90, 100))


def hungriest(rows, launches):
    """Of each kernel the launch that takes the most registers, and that of the most shared memory."""
    found = {}
    for kernel in {row["kernel"] for row in rows}:
        own = [at for at, row in enumerate(rows) if row["kernel"] == kernel]
        found |= {max(own, key=lambda at: (rows[at][what], rows[at]["REG"])): None for what in ("REG", "shared")}
    return [launches[at] for at in sorted(found)]


def main(op: str) -> None:
    def needs(launch, architecture):
        key, (source, options, _) = launch
        built = compiled(source, options, architecture)
        row = {"kernel": key[0], "architecture": architecture, "shared": built.metadata.shared}
        return row | resources(built.asm["cubin"]) | {"arguments": " ".join(key[1:])}

    launches = list(recorded(globals()[op]).items())
    older = [launch for launch in launches if not fits(launch, FIRST)]
    launches = [launch for launch in launches if fits(launch, FIRST)]
    rows = [needs(launch, FIRST) for launch in launches]
    for launch in older + hungriest(rows, launches):
        rows += [needs(launch, other) for other in OTHERS if fits(launch, other)]
    print(json.dumps(rows))


if __name__ == "__main__":
    main(sys.argv[1])
