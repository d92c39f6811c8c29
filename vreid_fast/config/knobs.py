"""Every knob of a run, with its unit, source and default, and what it may be.

Seen by the command lines only: everything below them takes plain arguments.
"""

from __future__ import annotations

import dataclasses
import re
from dataclasses import dataclass
from typing import Literal

import yaml

from vreid_fast.errors import InputError


@dataclass(frozen=True)
class DataKnobs:
    source: str = "synthetic"
    """Labelled tracklets to learn from: SPEC = synthetic | synthetic:real | FORMAT:PATH (formats: folder, mars,
    ilidsvid, prid2011, lsvid, ccvid, dukemtmc-videoreid, svreid, svreid_cc, svreid_plus)."""
    target: str = "synthetic:real"
    """Unlabelled tracklets to adapt to, in the same words; its query and gallery are what is scored."""
    synthetic_seed: int = 0
    """Seed of the synthetic people; another seed renders other people."""
    synthetic_cache: str | None = None
    """Folder that keeps rendered synthetic tracklets; default ~/.cache/vreid_fast."""
    split: str | int = "0"
    """Split of a target that has several (ilidsvid, prid2011: 0 to 9), or all: a run for each, then the mean."""
    mars_gallery: Literal["with_query", "without_query"] = "with_query"
    """Gallery of MARS: the official 11,310 tracklets with the queries, or the 9,330 without them (authors)."""
    authors_pieces_train: int = 0
    """Cut the target's training tracklets into pieces of N frames (authors: 48 LS-VID, 32 DukeMTMC, 64 CCVID)."""
    authors_pieces_test: int = 0
    """Cut query and gallery tracklets likewise, each piece scored as one (authors: 48 LS-VID); 0 = whole."""
    height: int = 64
    """Height of a frame at the network's input, pixels (paper: 256)."""
    width: int = 32
    """Width of a frame at the network's input, pixels (paper: 128)."""
    frames: int = 4
    """T, frames of a clip (paper: 4)."""
    people: int = 8
    """P, people in a source batch (paper: 8)."""
    per_person: int = 2
    """K, tracklets a person in a source batch (paper: 4)."""
    target_batch: int = 16
    """Target clips in a batch, drawn without identities and balanced over the cameras (paper: 32)."""
    flip: float = 0.5
    """Probability that a clip is mirrored."""
    erase: float = 0.5
    """Probability that a clip loses a random rectangle, the same one in all of its frames."""
    pad: int = 4
    """Pixels of padding around a frame before a random crop of the input's size."""
    loader: Literal["auto", "dali", "torch"] = "auto"
    """What decodes: NVIDIA DALI, plain torch, or DALI where it is installed."""
    loader_threads: int = 1
    """CPU threads of each loader."""
    cache: Literal["none", "cpu", "gpu"] = "none"
    """Where decoded training frames are kept after the first epoch; refused where they would not fit."""
    on_bad_frame: Literal["error", "skip"] = "error"
    """A frame that cannot be read ends the run, or its neighbour is taken and it is listed at the end."""


@dataclass(frozen=True)
class NetworkKnobs:
    network: str = "small"
    """Network: small, resnet18, resnet50, or of the SINet family (for 256 x 128 pixels) sinet, sbnet, idnet, c2d.
    sinet and sbnet take --frames 4 or 8; sinet and idnet have weights for one T, height and width."""
    weights: str | None = None
    """File of ImageNet weights for the trunk, keys named as torchvision names them; or a whole network of sinet,
    sbnet, idnet or c2d in its authors' container."""
    drop_classifier: bool = False
    """Leave out the classifier of a whole network in --weights or --start, as for another number of identities."""
    domain_width: int = 128
    """Hidden units of each domain head."""
    domain_dropout: float = 0.5
    """Dropout in each domain head."""


@dataclass(frozen=True)
class LossKnobs:
    cross_entropy: float = 1.0
    """Factor of the identity cross-entropy (eq. 5); 0 switches a term off, here and below."""
    triplet: float = 1.0
    """Factor of the batch-hard triplet loss (eq. 6)."""
    triplet_distance: Literal["euclidean", "cosine"] = "cosine"
    """Distance in the triplet loss: Euclidean as in the paper, cosine as in the authors' code."""
    margin: float = 0.3
    """Margin of the triplet loss."""
    info_nce: float = 0.0
    """Factor of the InfoNCE term between frames of one person, of networks with a projection (authors: 0.001)."""
    info_nce_temperature: float = 0.07
    """Temperature of the InfoNCE term (authors: 0.07)."""
    l1s: float = 1.0
    """Factor of L1S, the domain loss on frames (eq. 7)."""
    l2s: float = 1.0
    """Factor of L2S, the domain loss on clips (eq. 8)."""
    l3s: float = 1.0
    """Factor of L3S, the domain regression on combined clips (eq. 9)."""
    reversal: float = 0.5
    """Final strength of the gradient reversal; it rises as 2 / (1 + exp(-10 p)) - 1 over adaptation."""
    combined_groups: int = 16
    """J, combined clips a step in L3S."""
    combined_sizes: tuple[int, ...] = (2, 4, 8)
    """S, clips in a combined clip, one of these at random."""
    l1c: float = 0.3
    """Factor of L1C, student and teacher in the same cluster (eq. 14)."""
    l2c: float = 1.0
    """Factor of L2C, distance to the cluster's mean (eq. 15)."""
    loss_weights: Literal["fixed", "authors", "uncertainty"] = "fixed"
    """Weights of identity, domain and consistency losses (eq. 17): all 1; the authors' learned exp(w);
    or learned with the uncertainty regulariser of Kendall et al. (2018)."""


@dataclass(frozen=True)
class ClusterKnobs:
    clusters: int = 0
    """M, clusters of the target's features (paper: 16); 0 = one for every 7 target tracklets, or 16 for a batch."""
    cluster_over: Literal["memory", "batch"] = "memory"
    """k-means over the features of the whole target set (eq. 13), or of each mini-batch (authors' code)."""
    cluster_every: int = 0
    """Steps between two clusterings of the memory; 0 = one pass over the target."""
    cluster_restarts: int = 4
    """Restarts of k-means; the one of lowest inertia is kept."""
    cluster_temperature: float = 0.1
    """Temperature of the soft assignment in L1C, on squared distances of L2-normalised features."""
    camera_aware: bool = True
    """Assign to clusters after standardising features per camera, where the target's cameras are known."""
    consistency_ramp: float = 0.2
    """Part of adaptation over which L1C, L2C and the proxies' loss rise to their full factor."""
    proxy: float = 1.0
    """Factor of the camera proxies' loss (plus)."""
    proxy_temperature: float = 0.1
    """Temperature of the camera proxies, on cosines."""
    proxy_negatives: int = 50
    """Nearest proxies of other clusters that a clip is drawn away from."""
    proxy_momentum: float = 0.2
    """Part of a proxy that the teacher's features of a step replace."""
    ema_decay: float = 0.99
    """Highest decay of the teacher; it is min(1 - 1/(k+1), this) at step k of adaptation (eq. 11)."""


@dataclass(frozen=True)
class TrainingKnobs:
    method: Literal["source", "bn_adapt", "paper", "plus"] = "paper"
    """source: labelled tracklets alone. bn_adapt: and batch-norm statistics of the target. paper: the method.
    plus: beyond the paper, statistics of each camera and camera proxies in place of L1C and L2C."""
    statistics: Literal["auto", "target", "camera", "running"] = "auto"
    """Batch-norm statistics at test: of the unlabelled target, of each of its cameras, or as they ran in training
    (authors: a mixture of source and target); auto = camera for plus, running for source, else target."""
    select: Literal["last", "authors"] = "last"
    """What is scored: the last step; authors: also the best step by the target's TEST rank-1, as the authors do."""
    select_every: int = 50
    """Steps between two looks at the test set with --select authors."""
    seed: int = 0
    """Seed of weights, batches and augmentation."""
    start: str | None = None
    """Checkpoint (last.pt) whose student the second stage begins with; the first stage is then left out."""
    stages: Literal["both", "source"] = "both"
    """source: the first stage alone, with the learning rates that it has in a run of both."""
    source_steps: int = 300
    """Steps of the first stage, on the source alone."""
    adapt_steps: int = 200
    """Steps of the second stage, in which the method differs."""
    source_lr: float = 1e-3
    """Adam's learning rate in the first stage, at its highest."""
    adapt_lr: float = 2e-3
    """Adam's learning rate in the second stage, at its highest."""
    head_lr: float = 1e-3
    """Learning rate of the domain heads and of learned loss weights."""
    schedule: Literal["cosine", "steps"] = "cosine"
    """How learning rates fall. cosine: in each stage, along a cosine to a fiftieth. steps: over the whole run, to a
    tenth after 40, 80 and 120 of its 150 parts (paper: epochs)."""
    warmup_steps: int = 20
    """Steps over which the learning rate rises from zero, where its schedule begins."""
    weight_decay: float = 5e-4
    """Weight decay (L2 in Adam, as in the paper)."""
    clip_gradient: float = 10.0
    """Largest gradient norm; 0 = no limit."""
    precision: Literal["auto", "fp32", "bf16", "fp16"] = "auto"
    """Arithmetic of the networks; auto = bf16 where the device is fast at it, fp16 with a loss scaler on
    older GPUs, fp32 on other CPUs."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where to run; auto = a GPU where there is one."""
    threads: int = 0
    """CPU threads of torch; 0 = one a core."""


@dataclass(frozen=True)
class OutputKnobs:
    run: str = "runs/demo"
    """Folder of everything that a run writes."""
    log_every: int = 10
    """Steps between two rows of metrics.jsonl."""
    gradients_every: int = 50
    """Steps between two looks at the gradient norm of each loss, in rows of metrics.jsonl; 0 = never."""
    checkpoint_every: int = 100
    """Steps between two checkpoints."""
    test_clips: Literal["even", "all"] = "even"
    """Frames of a tracklet at test: T evenly spaced ones, or all of them in clips of T."""
    test_batch: int = 64
    """Clips in a batch at test."""
    distance: Literal["cosine", "euclidean", "dot"] = "cosine"
    """Distance of the ranking; dot = negative inner product, not normalised (authors, data sets with clothes)."""
    bn_batches: int = 0
    """Target batches that batch-norm statistics are recomputed on; 0 = one pass, at most 200."""


@dataclass(frozen=True)
class Config(OutputKnobs, TrainingKnobs, ClusterKnobs, LossKnobs, NetworkKnobs, DataKnobs):
    """All knobs of a run; `--KNOB VALUE` on the command line, `KNOB: VALUE` in a YAML file."""

    def __post_init__(self):
        at_least = {
            "height": 16, "width": 8, "frames": 1, "people": 2, "per_person": 2, "target_batch": 2, "pad": 0,
            "loader_threads": 1, "domain_width": 1, "clusters": 0, "cluster_every": 0, "cluster_restarts": 1,
            "source_steps": 1, "adapt_steps": 0, "warmup_steps": 0, "weight_decay": 0, "clip_gradient": 0,
            "threads": 0, "log_every": 1, "checkpoint_every": 1, "test_batch": 1, "bn_batches": 0,
            "combined_groups": 1, "cross_entropy": 0, "triplet": 0, "l1s": 0, "l2s": 0, "l3s": 0, "l1c": 0,
            "l2c": 0, "reversal": 0, "margin": 0, "seed": 0, "synthetic_seed": 0, "authors_pieces_train": 0,
            "authors_pieces_test": 0, "info_nce": 0, "proxy": 0, "proxy_negatives": 1,
            "gradients_every": 0, "select_every": 1,
        }  # fmt: skip
        for knob, least in at_least.items():
            if getattr(self, knob) < least:
                raise InputError(f"--{knob} must be at least {least}, got {getattr(self, knob)}")
        object.__setattr__(self, "split", str(self.split))  # a YAML file says 3 where a command line says "3"
        if self.split != "all" and not re.fullmatch(r"\d{1,9}", self.split, re.ASCII):
            raise InputError(f"--split must be a number from 0, or all, got {self.split}")
        for knob in ("flip", "erase", "domain_dropout", "ema_decay", "consistency_ramp", "proxy_momentum"):
            if not 0 <= getattr(self, knob) <= 1:
                raise InputError(f"--{knob} must be between 0 and 1, got {getattr(self, knob)}")
        if self.domain_dropout == 1:
            raise InputError("--domain_dropout must be below 1, got 1.0: nothing would be left of the domain heads")
        above_zero = (
            "source_lr", "adapt_lr", "head_lr", "cluster_temperature", "info_nce_temperature", "proxy_temperature"
        )  # fmt: skip
        for knob in above_zero:
            if not getattr(self, knob) > 0:
                raise InputError(f"--{knob} must be above 0, got {getattr(self, knob)}")
        if not self.combined_sizes or min(self.combined_sizes) < 1:
            raise InputError(f"--combined_sizes must be positive numbers, got {list(self.combined_sizes)}")

    def to_yaml(self) -> str:
        values = dataclasses.asdict(self)
        values["combined_sizes"] = list(self.combined_sizes)
        return yaml.safe_dump(values, sort_keys=False)
