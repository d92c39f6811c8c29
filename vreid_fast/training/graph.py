"""Steps as CUDA graphs: what the host told the device once is replayed, which costs the host next to nothing.

A graph holds launches with their addresses and plain numbers. So a function that is recorded takes tensors alone, and
what it reads beside them stays where it is; `StepGraph` records anew where that moved.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, NamedTuple, Protocol, TypeVar

import torch
from torch import Tensor
from tqdm import tqdm

from vreid_fast.errors import InputError

Inputs = TypeVar("Inputs", bound=tuple)
Result = TypeVar("Result")
WARM = 2
"""Runs of each shape before it is recorded, in which kernels are compiled, chosen and given their memory."""


class Recorder(Protocol):
    """What records."""

    def run(self, function: Callable[[], Result]) -> Result:
        """Run it, in the place where `record` would."""
        ...

    def record(self, function: Callable[[], Result]) -> tuple[Result, Callable[[], None]]:
        """What it returns, whose tensors hold nothing yet, and a function that computes it, each time anew.

        Raises:
            RuntimeError: it does what cannot be recorded.
        """
        ...


class CudaGraphs:
    """CUDA graphs that share one pool of memory: each is whole in itself, and what it returns is copied at once."""

    def __init__(self, device: torch.device):
        self._device = device
        # Streams come from pools, one for each priority, whose 32 are given out in turn: without another priority a
        # loader might be given this one, and its work would be recorded with the step.
        self._stream = torch.cuda.Stream(device, priority=-1)
        self._pool = torch.cuda.graph_pool_handle()

    def run(self, function: Callable[[], Result]) -> Result:
        current = torch.cuda.current_stream(self._device)
        self._stream.wait_stream(current)
        with torch.cuda.stream(self._stream):
            result = function()
        current.wait_stream(self._stream)
        return result

    def record(self, function: Callable[[], Result]) -> tuple[Result, Callable[[], None]]:
        graph, current = torch.cuda.CUDAGraph(), torch.cuda.current_stream(self._device)
        try:
            # Thread-local: the loader's threads allocate and copy while this one records.
            with torch.cuda.graph(graph, pool=self._pool, stream=self._stream, capture_error_mode="thread_local"):
                result = function()
        except RuntimeError:
            self._leave(current)
            raise
        return result, graph.replay

    def _leave(self, current: torch.cuda.Stream) -> None:
        """Have a recording be over that failed. Where its end fails too, torch stays on its stream and, before 2.13,
        random numbers and memory stay in it: dropout would raise, and no batch's memory would come back."""
        torch.cuda.set_stream(current)
        chance = torch.cuda.default_generators[current.device_index]
        chance.graphsafe_set_state(chance.clone_state())
        with suppress(RuntimeError):  # it is over
            torch._C._cuda_endAllocateToPool(current.device_index, self._pool)  # type: ignore[attr-defined]


class _Recorded(NamedTuple):
    tree: Any
    """What the function returned."""
    values: Tensor
    """(n,) its tensors' numbers."""
    replay: Callable[[], None]


class StepGraph:
    """Runs functions of tensors that return trees of 0-d tensors: as they are at first, then from a recording.

    Args:
        recorder: what records.
        give_up: is told why, where a function cannot be recorded; from then on all run as they are. It may raise.
    """

    def __init__(self, recorder: Recorder, give_up: Callable[[RuntimeError], None]):
        self._recorder, self._give_up = recorder, give_up
        self._off = False
        self._forget(None)

    def _forget(self, basis: object) -> None:
        self._basis = basis
        self._static: dict[tuple, Tensor] = {}
        self._runs: Counter[tuple] = Counter()
        self._recorded: dict[tuple, _Recorded] = {}

    def plain(self, function: Callable[[Inputs], Any], inputs: Inputs) -> Any:
        """Run it as it is."""
        return _unpacked(*self._recorder.run(lambda: _packed(function(inputs))))

    def __call__(self, function: Callable[[Inputs], Any], inputs: Inputs, basis: tuple) -> Any:
        """`function(inputs)`, recorded once for each shape of its inputs.

        Args:
            function: changes tensors in place alone, and reads no number back.
            inputs: a NamedTuple of tensors.
            basis: what it uses beside them, compared by `==`; where that is another, all recordings are dropped.
        """
        if self._off:
            return self.plain(function, inputs)
        if self._basis != (function, basis):
            self._forget((function, basis))
        static, shapes = self._kept(inputs)
        if self._runs[shapes] < WARM:
            self._runs[shapes] += 1
            return self.plain(function, static)
        if shapes not in self._recorded:
            try:
                (tree, values), replay = self._recorder.record(lambda: _packed(function(static)))
            except RuntimeError as error:
                self._off = True
                self._forget(None)
                self._give_up(error)
                return self.plain(function, static)
            self._recorded[shapes] = _Recorded(tree, values, replay)
        recorded = self._recorded[shapes]
        recorded.replay()
        return _unpacked(recorded.tree, recorded.values)

    def _kept(self, inputs: Inputs) -> tuple[Inputs, tuple]:
        """Copies of the inputs where recordings read them, and their shapes, which tell the copies apart."""
        copies, shapes = [], []
        for number, given in enumerate(inputs):
            shape = (number, given.shape, given.stride(), given.dtype)
            if shape not in self._static:
                self._static[shape] = torch.empty_like(given)
            copies.append(self._static[shape].copy_(given))
            shapes.append(shape)
        return type(inputs)(*copies), tuple(shapes)


def make_graph(wanted: str, device: torch.device) -> StepGraph | None:
    """What replays steps, with `--graph`; None = nothing does.

    Raises:
        InputError: it is asked for without a GPU; later, where a step cannot be recorded.
    """
    if wanted == "off" or (wanted == "auto" and device.type != "cuda"):
        return None
    if device.type != "cuda":
        raise InputError("--graph on: CUDA graphs need a GPU; use --graph auto or off")

    def give_up(error: RuntimeError) -> None:
        said = next(iter(str(error).splitlines()), "no reason given")
        reason = f"a step could not be recorded as a CUDA graph: {said}"
        if wanted == "on":
            raise InputError(f"--graph on: {reason}; use --graph auto or off") from error
        tqdm.write(f"note: {reason}; all steps run without one, more slowly", file=sys.stderr)

    return StepGraph(CudaGraphs(device), give_up)


def _packed(tree: Any) -> tuple[Any, Tensor]:
    """A tree without gradients, and the numbers of its tensors in one float32 tensor."""
    tree = _mapped(tree, Tensor.detach)
    leaves: list[Tensor] = []
    _mapped(tree, leaves.append)
    return tree, torch.stack([leaf.float() for leaf in leaves])


def _unpacked(tree: Any, values: Tensor) -> Any:
    """The tree with a copy of these numbers as its tensors: what is replayed later leaves it alone."""
    numbers = iter(values.clone().unbind())
    return _mapped(tree, lambda _: next(numbers))


def _mapped(tree: Any, change: Callable[[Tensor], Any]) -> Any:
    """The tree with its tensors changed."""
    if isinstance(tree, Tensor):
        return change(tree)
    if isinstance(tree, Mapping):
        return {name: _mapped(part, change) for name, part in tree.items()}
    if isinstance(tree, tuple):
        return type(tree)(*(_mapped(part, change) for part in tree))
    return tree
