"""The course of a run: steps, stages, device, test, log."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from ..bounds import POSITIVE, Bound, KnobGroup, above, at_least, between, fixed, free

IN_UTF8 = Bound(
    lambda path: not re.search("[\ud800-\udfff]", path), "a name in UTF-8", "TensorBoard can write to no other folder"
)
RISING = Bound(lambda epochs: list(epochs) == sorted(set(epochs)), "rising numbers")


@dataclass(frozen=True)
class OptimiserKnobs(KnobGroup):
    """Optimiser."""

    optimiser: Literal["adam", "sgd", "nesterov"] = fixed("adam")
    """What takes the steps: Adam, or gradient descent with momentum, plain or by Nesterov (QAConv)."""
    momentum: float = fixed(0.9, between(0, 1))
    """Part of the step before that the next one keeps, of sgd and nesterov."""
    source_lr: float = fixed(1e-3, above(0))
    """Learning rate in the first stage, at its highest."""
    adapt_lr: float = fixed(2e-3, above(0))
    """Learning rate in the second stage, at its highest."""
    trunk_lr: float = fixed(1.0, between(0, 1))
    """Part of the learning rate that the network's trunk has, as one with weights of ImageNet (QAConv: 0.1)."""
    head_lr: float = fixed(1e-3, above(0))
    """Learning rate of the domain heads and of learned loss weights."""
    weight_decay: float = fixed(5e-4, at_least(0))
    """Weight decay (L2, also in Adam, as in the paper)."""
    clip_gradient: float = fixed(10.0, at_least(0))
    """Largest gradient norm; 0 = no limit."""
    loss_weights: Literal["fixed", "authors", "uncertainty"] = fixed("fixed")
    """Weights of identity, domain and consistency losses (eq. 17): all 1; the authors' learned exp(w);
    or learned with the uncertainty regulariser of Kendall et al. (2018)."""


@dataclass(frozen=True)
class ScheduleKnobs(KnobGroup):
    """Schedule of the learning rates."""

    schedule: Literal["cosine", "steps"] = fixed("cosine")
    """How learning rates fall. cosine: in each stage, along a cosine to a fiftieth. steps: over the whole run, at
    --drops."""
    drops: tuple[int, ...] = fixed((40, 80, 120, 150), POSITIVE, RISING)
    """Of schedule steps: the epochs after which learning rates fall, and last the epochs of the whole run."""
    drop_to: float = fixed(0.1, between(0, 1))
    """Part of a learning rate that is left at each drop."""
    warmup_steps: int = fixed(20, at_least(0))
    """Steps over which the learning rate rises from zero, where its schedule begins."""

    def __post_init__(self):
        super().__post_init__()
        object.__setattr__(self, "drops", tuple(self.drops))  # a YAML file has a list


@dataclass(frozen=True)
class StageKnobs(KnobGroup):
    """Method and stages."""

    method: Literal["source", "bn_adapt", "paper", "plus", "glt"] = fixed("paper")
    """source: labelled tracklets alone. bn_adapt: and batch-norm statistics of the target. paper: the paper's losses.
    plus: beyond the paper, statistics and proxies of each camera. glt: labels by optimal transport."""
    stages: Literal["both", "source"] = fixed("both")
    """source: the first stage alone, with the learning rates that it has in a run of both."""
    source_steps: int = fixed(300, at_least(1))
    """Steps of the first stage, on the source alone."""
    adapt_steps: int = fixed(200, at_least(0))
    """Steps of the second stage, in which the method differs."""
    start: str | None = fixed(None)
    """Checkpoint (last.pt) whose student the second stage begins with; the first stage is then left out."""


@dataclass(frozen=True)
class DeviceKnobs(KnobGroup):
    """Device, arithmetic and processes."""

    device: Literal["auto", "cpu", "cuda"] = free("auto")
    """Where to run; auto = a GPU where there is one."""
    precision: Literal["auto", "fp32", "bf16", "fp16"] = fixed("auto")
    """Arithmetic of the networks; auto = bf16 where the device is fast at it, fp16 with a loss scaler on
    older GPUs, fp32 on other CPUs."""
    threads: int = free(0, at_least(0))
    """CPU threads of torch; 0 = one a core."""
    graph: Literal["auto", "on", "off"] = free("auto")
    """Record a training step once as a CUDA graph and replay it; auto = on a GPU, where it can be recorded."""
    batch_norm: Literal["sync", "rank"] = fixed("sync")
    """Of several processes, what batch norm takes statistics of in training: sync = the whole batch, as one process
    does; rank = each process's slice of it, which is faster and another method."""
    rank_timeout: int = free(600, at_least(1))
    """Seconds that a process waits for the others before it takes one for lost."""


@dataclass(frozen=True)
class TestKnobs(KnobGroup):
    """Test."""

    statistics: Literal["auto", "target", "camera", "running"] = fixed("auto")
    """Batch-norm statistics at test: of the unlabelled target, of each of its cameras, or as they ran in training
    (authors: a mixture of source and target); auto = camera for plus, running for source, else target."""
    bn_batches: int = fixed(0, at_least(0))
    """Target batches that batch-norm statistics are recomputed on; 0 = one pass, at most 200."""
    test_clips: Literal["even", "chunks", "all", "contiguous", "completed", "begin", "dense", "interleaved"] = fixed(
        "even"
    )
    """Frames of a tracklet at test: T evenly spaced ones, or one of each of T parts (CAViT); all in clips of T that are
    spread over it; all in clips of T that follow each other, the last one shorter (AP3D) or completed (TCLNet); the
    first T, STRIDE apart (PSTA); all but a remainder in clips that are spread over it (PSTA); all, in turns of
    T * STRIDE (CAL)."""
    test_frames: int = fixed(0, at_least(0))
    """T at test; 0 = as in training (AP3D: 32)."""
    test_batch: int = free(64, at_least(1))
    """Clips in a batch at test."""
    distance: Literal["cosine", "euclidean", "dot"] = fixed("cosine")
    """Distance of the ranking; dot = negative inner product, not normalised (authors, data sets with clothes)."""
    compare: Literal["maps", "frames"] = fixed("maps")
    """What a network that compares pairs compares of two tracklets: the means of their maps; or each of T frames of one
    with each of the other, of which the mean counts (T * T times the work)."""
    select: Literal["last", "authors"] = fixed("last")
    """What is scored: the last step; authors: also the best step by the target's TEST rank-1, as the authors do."""
    select_every: int = fixed(50, at_least(1))
    """Steps between two looks at the test set with --select authors."""


@dataclass(frozen=True)
class RunKnobs(KnobGroup):
    """Run, its folder and log."""

    run: str = free("runs/demo", IN_UTF8)
    """Folder of everything that a run writes."""
    seed: int = fixed(0, at_least(0))
    """Seed of weights, batches and augmentation."""
    log_every: int = free(10, at_least(1))
    """Steps between two rows of metrics.jsonl."""
    gradients_every: int = free(50, at_least(0))
    """Steps between two looks at the gradient norm of each loss, in rows of metrics.jsonl; 0 = never."""
    checkpoint_every: int = free(100, at_least(1))
    """Steps between two checkpoints."""
    profile: int = free(0, at_least(0))
    """Measure where the time of N steps of each stage goes, and write traces of them into the run's folder."""
