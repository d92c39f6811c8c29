"""What a training step should take on an H100, without one: `python benchmarks/step_cost.py`.

The step of `bench_step.py` is run on tensors without contents, with the kernels of a GPU, and what it would launch is
counted. An operator takes the longer of two times: its bytes, read and written, over the bandwidth of a copy; its
arithmetic over the rate that ResNet-50's convolutions reached on that card. Each launch comes on top. What the caches
save is not counted, nor that few kernels reach the bandwidth of a copy. A prediction is no measurement.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple
from unittest.mock import patch

import torch
from bench_loader import pack, write_tracklets
from bench_step import CASES, LENGTH, label, real_step
from cost import COPY, LAUNCH
from torch import Tensor
from torch._subclasses import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map_only
from torch.utils.flop_counter import flop_registry

from vreid_fast.data.reading.loader import Batch
from vreid_fast.kernels import backends

CONVOLUTION = 350e12
"""Operations a second: 14.4 TFLOP of convolutions of a step took 41 ms of the card measured."""
SMALL = {"people": 2, "per_person": 2, "target_batch": 4}
"""Batches of the steps that come before the one that is counted."""
FREE = {
    "view", "_unsafe_view", "as_strided", "t", "transpose", "permute", "detach", "alias", "expand", "unsqueeze",
    "squeeze", "select", "slice", "split", "split_with_sizes", "unbind", "empty", "empty_like", "empty_strided",
    "new_empty", "new_empty_strided", "_reshape_alias", "lift_fresh", "unfold", "diagonal", "scalar_tensor",
    "promote_types", "result_type",
}  # fmt: skip
"""Operators that launch nothing."""
WRITING = {"fill_", "zero_", "zeros", "ones", "full", "zeros_like", "ones_like", "full_like", "new_zeros", "arange"}
PICKING = {"index", "index_select", "gather", "embedding", "slice_backward", "select_backward"}
"""Those that write without reading, and those that read as much as they write."""
LAUNCHES = {"batch_norm": 3, "batch_norm_backward": 3, "combined_regression": 3, "combined_regression_backward": 4}


class Operator(NamedTuple):
    name: str
    launches: int
    moved: float
    """Bytes."""
    flops: float

    @property
    def seconds(self) -> float:
        return self.launches * LAUNCH + max(self.moved / COPY, self.flops / CONVOLUTION)


class Counted(Exception):
    """The step was counted, and goes no further."""


class Counting(TorchDispatchMode):
    """Adds what the operators within would launch."""

    def __init__(self, found: list[Operator]):
        super().__init__()
        self.found = found

    def __torch_dispatch__(self, op, types, args=(), kwargs=None):
        out = op(*args, **(kwargs or {}))
        name = op.overloadpacket.__name__
        if name not in FREE and op.namespace in ("aten", "vreid_fast"):
            count = flop_registry.get(op.overloadpacket)
            flops = count(*args, **(kwargs or {}), out_val=out) if count else 0
            self.found.append(Operator(name, LAUNCHES.get(name, 1), moved(name, (args, kwargs), out), flops))
        return out


class StepCounter:
    """In a StepGraph's place: counts the first step that could be replayed, and ends it."""

    def __init__(self, found: list[Operator]):
        self.found = found

    def plain(self, function, inputs):
        return function(inputs)

    def __call__(self, function, inputs, *_):
        with FakeTensorMode(allow_non_fake_inputs=True) as fake, Counting(self.found):
            function(tree_map_only(Tensor, fake.from_tensor, inputs))
        raise Counted


def moved(name: str, given, out) -> float:
    """Bytes that an operator reads and writes, with those that ours reads twice."""
    inputs, outputs = ([leaf for leaf in tree_leaves(tree) if isinstance(leaf, Tensor)] for tree in (given, out))
    if name.startswith("batch_norm"):
        maps, written = ([one for one in tensors if one.dim() == 4] for tensors in (inputs, outputs))
        if name == "batch_norm":  # x twice, the residual; the result
            passes = 2 + len(maps)
        elif len(written) == 1:  # gradient and x twice; that of x
            passes = 5
        else:  # all once; the masked gradient, which is that of the residual; it and x; that of x
            passes = len(maps) + 4
        return passes * size(maps[0])
    written = sum(map(size, outputs))
    if name in WRITING:
        return written
    return 2 * written if name in PICKING else sum(map(size, inputs)) + written


def size(tensor: Tensor) -> int:
    """Bytes; what is expanded counts once."""
    count = tensor.element_size()
    for length, stride in zip(tensor.shape, tensor.stride(), strict=True):
        count *= 1 if stride == 0 else length
    return count


@contextmanager
def as_on_a_gpu(optimiser: torch.optim.Optimizer, found: list[Operator]) -> Iterator[None]:
    """Ops take the kernels of a GPU, whose contents nobody looks at, and all weights step in one launch."""
    weights = [weight for group in optimiser.param_groups for weight in group["params"]]

    def step(*_, **__) -> None:  # reads weights, gradients and two moments; writes all but the gradients
        found.append(Operator("_fused_adam_", 1, 7 * sum(map(size, weights)), 0))

    with (
        patch.object(backends, "_choose", lambda op, *_: "triton" if "triton" in backends.OPS[op] else "cpp"),
        patch.object(torch.compiler, "is_compiling", lambda: True),  # checks look at no values
        patch("torch.nn.utils.clip_grad._has_foreach_support", lambda tensors, device: True),
        patch.object(optimiser, "step", step),
    ):
        yield


def enlarged(batch: Batch, clips: int) -> Batch:
    """A batch of so many clips, whatever they show."""

    def repeated(tensor: Tensor) -> Tensor:
        times = -(-clips // len(tensor))
        order = torch.arange(times * len(tensor)) % len(tensor)
        return tensor[order[:clips]]

    return Batch(tuple(map(repeated, batch.views)), repeated(batch.tracklets))


def operators_of(knobs: dict, folder: Path) -> list[Operator]:
    """Of one step of the second stage (of `source`: of the first), in no order."""
    knobs = {"people": 4, "per_person": 4, "target_batch": 16, **knobs, "cache": "none"}
    made, fresh, _ = real_step(folder, {**knobs, **SMALL, "precision": "bf16"}, "cpu", steps=3)
    step = made.source if made.session.learner.adaptation is None else made.adapt
    batches = fresh()
    for _ in range(2):  # which makes clusters
        step(*next(batches))
    counts = knobs["people"] * knobs["per_person"], knobs["target_batch"]
    both = [enlarged(batch, count) for batch, count in zip(next(batches), counts, strict=False)]
    found: list[Operator] = []
    made.graph = StepCounter(found)
    with suppress(Counted), as_on_a_gpu(made.session.learner.optimiser, found):
        step(*both)
    return found


def table(found: list[Operator], rows: int) -> str:
    """Markdown: what takes longest, by operator."""
    launches, bytes_, seconds = Counter(), Counter(), Counter()
    for one in found:
        launches[one.name] += one.launches
        bytes_[one.name] += one.moved
        seconds[one.name] += one.seconds
    lines = ["| operator | launches | GB | ms |", "|---|---|---|---|"]
    for name, took in seconds.most_common(rows):
        lines.append(f"| {name} | {launches[name]} | {bytes_[name] / 1e9:.2f} | {took * 1e3:.2f} |")
    return "\n".join(lines)


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--case", choices=CASES["cuda"], action="append", help="one alone; may be given again")
    parser.add_argument("--rows", type=int, default=12, help="operators to list")
    parser.add_argument("--json", action="store_true", help="print all operators as JSON")
    options = parser.parse_args(argv)
    folder = Path(tempfile.mkdtemp(prefix="step_cost"))
    try:
        write_tracklets(folder / "files", 16, LENGTH)
        label(folder / "files")
        pack(folder, "pack")
        cases = {case: operators_of(CASES["cuda"][case], folder) for case in options.case or CASES["cuda"]}
    finally:
        shutil.rmtree(folder)
    if options.json:
        print(json.dumps(cases))
        return 0
    lines = ["| step | launches | TFLOP | GB | predicted, ms |", "|---|---|---|---|---|"]
    for case, found in cases.items():
        sums = (sum(getattr(one, what) for one in found) for what in ("launches", "flops", "moved", "seconds"))
        launches, flops, bytes_, seconds = sums
        lines.append(f"| {case} | {launches} | {flops / 1e12:.1f} | {bytes_ / 1e9:.1f} | {seconds * 1e3:.1f} |")
        print(case, table(found, options.rows), sep="\n\n", end="\n\n")
    print("\n".join(lines))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
