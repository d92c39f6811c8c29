"""Every knob of a run, in groups: its type, default, bounds, unit and source stand in one place.

`fixed`, `free` and `same_data` say whether a resume may change it. Each function takes the groups that it uses. Command
line and YAML are flat: a name is in one group only.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from .bounds import Bound, KnobGroup, above, at_least, between, fixed, free, same_data
from .flat import FlatForm

A_SPLIT = Bound(lambda split: re.fullmatch(r"all|[0-9]{1,9}", str(split)), "a number from 0, or all")
POSITIVE = Bound(lambda sizes: sizes and min(sizes) >= 1, "positive numbers")
ABOVE_NOTHING = Bound(lambda parts: parts and min(parts) > 0, "numbers above 0")
IN_UTF8 = Bound(
    lambda path: not re.search("[\ud800-\udfff]", path), "a name in UTF-8", "TensorBoard can write to no other folder"
)
RISING = Bound(lambda epochs: list(epochs) == sorted(set(epochs)), "rising numbers")
SOMETHING_LEFT = Bound(lambda part: part < 1, "below 1", "nothing would be left of the domain heads")


@dataclass(frozen=True)
class DataKnobs(KnobGroup):
    """Data sets, source and target."""

    source: str = same_data("synthetic")
    """Labelled tracklets to learn from: SPEC = synthetic | synthetic:STYLE | FORMAT:PATH (styles, with words behind
    them: docs/data-sets.md; formats: folder, mars, ilidsvid, prid2011, lsvid, ccvid, dukemtmc-videoreid, svreid,
    svreid_cc, svreid_plus)."""
    target: str = same_data("synthetic:real")
    """Unlabelled tracklets to adapt to, in the same words; its query and gallery are what is scored."""
    synthetic_seed: int = fixed(0, at_least(0))
    """Seed of the synthetic people; another seed renders other people."""
    synthetic_cache: str | None = free(None)
    """Folder that keeps rendered synthetic tracklets; default ~/.cache/vreid_fast."""
    split: str | int = fixed("0", A_SPLIT)
    """Split of a target that has several (ilidsvid, prid2011: 0 to 9), or all: a run for each, then the mean."""
    mars_gallery: Literal["with_query", "without_query"] = fixed("with_query")
    """Gallery of MARS: the official 11,310 tracklets with the queries, or the 9,330 without them (authors)."""
    authors_pieces_train: int = fixed(0, at_least(0))
    """Cut the target's training tracklets into pieces of N frames (authors: 48 LS-VID, 32 DukeMTMC, 64 CCVID)."""
    authors_pieces_test: int = fixed(0, at_least(0))
    """Cut query and gallery tracklets likewise, each piece scored as one (authors: 48 LS-VID); 0 = whole."""
    scenes: bool = fixed(False)
    """Take whole scenes, wider than high, as if they were people; without it they are refused."""

    def __post_init__(self):
        super().__post_init__()
        object.__setattr__(self, "split", str(self.split))  # a YAML file says 3 where a command line says "3"


@dataclass(frozen=True)
class ClipKnobs(KnobGroup):
    """Clips at the network's input."""

    height: int = fixed(64, at_least(16))
    """Height of a frame at the network's input, pixels (paper: 256)."""
    width: int = fixed(32, at_least(8))
    """Width of a frame at the network's input, pixels (paper: 128)."""
    frames: int = fixed(4, at_least(1))
    """T, frames of a clip (paper: 4)."""
    train_clips: Literal["blocks", "chunks", "window", "bins"] = fixed("blocks")
    """Frames of a training clip: a random one out of each of T equal blocks, or T parts that hold all frames (CAViT);
    every STRIDE-th of a random window (AP3D, TCLNet); a random one out of each of T bins of STRIDE frames (PSTA)."""
    stride: int = fixed(8, at_least(1))
    """Frames from one to the next of a clip, where --train_clips or --test_clips has a stride."""


@dataclass(frozen=True)
class BatchKnobs(KnobGroup):
    """Batches and augmentation."""

    people: int = fixed(8, at_least(2))
    """P, people in a source batch (paper: 8)."""
    per_person: int = fixed(2, at_least(2))
    """K, tracklets a person in a source batch (paper: 4)."""
    per_epoch: Literal["tracklets", "people", "graph"] = fixed("tracklets")
    """An epoch of the source goes through all tracklets; takes K of each person once (PSTA); or has a batch around each
    person, of those whom the network then takes for that one (QAConv's graph sampler)."""
    target_batch: int = fixed(16, at_least(2))
    """Target clips in a batch, drawn without identities and balanced over the cameras (paper: 32)."""
    accumulate: int = fixed(1, at_least(1))
    """Micro-batches that a batch is computed in, one after the other, where it is too large for the memory. Losses are
    of the whole batch; batch norm sees each micro-batch alone. Forward is computed twice."""
    flip: float = fixed(0.5, between(0, 1))
    """Probability that a clip is mirrored."""
    erase: float = fixed(0.5, between(0, 1))
    """Probability that a clip loses a random rectangle, the same one in all of its frames."""
    pad: int = fixed(4, at_least(0))
    """Pixels of padding around a frame before a random crop of the input's size."""


@dataclass(frozen=True)
class LoadingKnobs(KnobGroup):
    """Loading."""

    loader: Literal["auto", "dali", "torch"] = free("auto")
    """What decodes: NVIDIA DALI, plain torch, or DALI where it is installed."""
    loader_threads: int = free(1, at_least(1))
    """CPU threads of each loader."""
    cache: Literal["none", "cpu", "gpu"] = free("none")
    """Where decoded training frames are kept after the first epoch; refused where they would not fit."""
    on_bad_frame: Literal["error", "skip"] = free("error")
    """A frame that cannot be read ends the run, or its neighbour is taken and it is listed at the end."""


@dataclass(frozen=True)
class NetworkKnobs(KnobGroup):
    """Network."""

    network: str = fixed("small")
    """Network: small, resnet18, resnet50, or as published sinet, sbnet, idnet, sanet, c2d, ap3d, ap3dnl, ap3d_c2d,
    ap3d_i3d, ap3d_nl, tclnet, psta, cal, cavit, qaconv, qaconv_ibnb. sinet, sbnet take --frames 4 or 8, tclnet 4,
    psta a multiple of 8; sinet and idnet have weights for one T, height and width, psta, cavit and qaconv for one
    height and width."""
    trunk: Literal["full", "narrow"] = fixed("full")
    """Channels of a ResNet-50 in the network: all, or a quarter, which two CPU cores train from scratch (cavit: a
    transformer of width 96 with two blocks)."""
    weights: str | None = fixed(None)
    """File of ImageNet weights for the trunk, keys named as torchvision (cavit: timm) names them; or a whole network in
    its authors' container."""
    drop_classifier: bool = fixed(False)
    """Leave out the classifier of a whole network in --weights or --start, as for another number of identities."""
    recompute: bool = free(False)
    """In training forget what is inside the blocks of cavit, and compute it again when it is needed: less memory, but a
    third more time."""


@dataclass(frozen=True)
class IdentityKnobs(KnobGroup):
    """Losses of identity, on the source."""

    cross_entropy: float = fixed(1.0, at_least(0))
    """Factor of the identity cross-entropy (eq. 5); 0 switches a term off, here and below."""
    smoothing: float = fixed(0.0, between(0, 1))
    """Label smoothing of the cross-entropy: part of the right answer that is spread over all identities (PSTA: 0.1)."""
    triplet: float = fixed(1.0, at_least(0))
    """Factor of the batch-hard triplet loss (eq. 6), of qaconv on its scores of pairs."""
    triplet_distance: Literal["euclidean", "cosine"] = fixed("cosine")
    """Distance in the triplet loss: Euclidean as in the paper, cosine as in the authors' code."""
    margin: float = fixed(0.3, at_least(0))
    """Margin of the triplet loss (QAConv: 16)."""
    info_nce: float = fixed(0.0, at_least(0))
    """Factor of the InfoNCE term between frames of one person, of networks with a projection (authors: 0.001)."""
    info_nce_temperature: float = fixed(0.07, above(0))
    """Temperature of the InfoNCE term (authors: 0.07)."""

    def factors(self) -> dict[str, float]:
        """Factor of each loss, by its name in metrics.jsonl."""
        return {"cross_entropy": self.cross_entropy, "triplet": self.triplet, "info_nce": self.info_nce}


@dataclass(frozen=True)
class ClothesKnobs(KnobGroup):
    """Loss of clothes, on a source that knows them (CAL)."""

    clothes: float = fixed(0.0, at_least(0))
    """Factor of the clothes-based adversarial loss (CAL: 1); 0 = off."""
    clothes_by: Literal["classifier", "memory"] = fixed("classifier")
    """What tells clothes apart: a classifier that learns beside the network, or features of each that were seen."""
    clothes_start: float = fixed(0.3333, between(0, 1))
    """Part of the run's steps after which the loss and its classifier begin (CAL: epoch 50 of 150)."""
    clothes_scale: float = fixed(16.0, above(0))
    """Scale of the cosines of features and clothes."""
    clothes_epsilon: float = fixed(0.1, between(0, 1))
    """Part of the loss that is spread evenly over all clothes of a person; the rest is on those worn."""
    clothes_lr: float = fixed(1e-3, above(0))
    """Learning rate of the classifier of clothes, which does not fall (CAL: 0.00035)."""
    clothes_momentum: float = fixed(0.0, between(0, 1))
    """What is left of a feature in the memory when a newer one comes."""

    def factors(self) -> dict[str, float]:
        """Factor of each loss, by its name in metrics.jsonl."""
        return {"clothes": self.clothes}


@dataclass(frozen=True)
class AdversarialKnobs(KnobGroup):
    """Adversarial losses, on source and target."""

    l1s: float = fixed(1.0, at_least(0))
    """Factor of L1S, the domain loss on frames (eq. 7)."""
    l2s: float = fixed(1.0, at_least(0))
    """Factor of L2S, the domain loss on clips (eq. 8)."""
    l3s: float = fixed(1.0, at_least(0))
    """Factor of L3S, the domain regression on combined clips (eq. 9)."""
    reversal: float = fixed(0.5, at_least(0))
    """Final strength of the gradient reversal; it rises as 2 / (1 + exp(-10 p)) - 1 over adaptation."""
    combined_groups: int = fixed(16, at_least(1))
    """J, combined clips a step in L3S."""
    combined_sizes: tuple[int, ...] = fixed((2, 4, 8), POSITIVE)
    """S, clips in a combined clip, one of these at random."""
    domain_width: int = fixed(128, at_least(1))
    """Hidden units of each domain head."""
    domain_dropout: float = fixed(0.5, between(0, 1), SOMETHING_LEFT)
    """Dropout in each domain head."""

    def __post_init__(self):
        super().__post_init__()
        object.__setattr__(self, "combined_sizes", tuple(self.combined_sizes))  # a YAML file has a list

    def factors(self) -> dict[str, float]:
        """Factor of each loss, by its name in metrics.jsonl."""
        return {"l1s": self.l1s, "l2s": self.l2s, "l3s": self.l3s}


@dataclass(frozen=True)
class ConsistencyKnobs(KnobGroup):
    """Consistency of student and teacher, on the target."""

    l1c: float = fixed(0.3, at_least(0))
    """Factor of L1C, student and teacher in the same cluster (eq. 14)."""
    l2c: float = fixed(1.0, at_least(0))
    """Factor of L2C, distance to the cluster's mean (eq. 15)."""
    cluster_temperature: float = fixed(0.1, above(0))
    """Temperature of the soft assignment in L1C, on squared distances of L2-normalised features."""
    consistency_ramp: float = fixed(0.2, between(0, 1))
    """Part of adaptation over which L1C, L2C and the proxies' loss rise to their full factor."""
    ema_decay: float = fixed(0.99, between(0, 1))
    """Highest decay of the teacher; it is min(1 - 1/(k+1), this) at step k of adaptation (eq. 11)."""

    def factors(self) -> dict[str, float]:
        """Factor of each loss, by its name in metrics.jsonl."""
        return {"l1c": self.l1c, "l2c": self.l2c}


@dataclass(frozen=True)
class ClusterKnobs(KnobGroup):
    """Clusters of the target."""

    cluster_by: Literal["auto", "neighbours", "kmeans"] = fixed("auto")
    """neighbours: tracklets that share their nearest neighbours, for which no number is needed (plus). kmeans: into
    --clusters. auto = neighbours for plus, else kmeans."""
    clusters: int = fixed(0, at_least(0))
    """M, clusters of k-means over the target's features (paper: 16); 0 = one for every 7 target tracklets, or 16 for a
    batch."""
    cluster_over: Literal["memory", "batch"] = fixed("memory")
    """k-means over the features of the whole target set (eq. 13), or of each mini-batch (authors' code)."""
    cluster_every: int = fixed(0, at_least(0))
    """Steps between two clusterings of the memory; 0 = one pass over the target."""
    cluster_restarts: int = fixed(4, at_least(1))
    """Restarts of k-means; the one of lowest inertia is kept."""
    cluster_neighbours: int = fixed(0, at_least(0))
    """Neighbours that a tracklet lists of each camera (plus); 0 = chosen before adaptation, by how well clusters of the
    first and of the second halves of all tracklets agree."""
    camera_aware: bool = fixed(True)
    """Assign to clusters after standardising features per camera, where the target's cameras are known."""


@dataclass(frozen=True)
class ProxyKnobs(KnobGroup):
    """Camera proxies, of the method plus."""

    proxy: float = fixed(1.0, at_least(0))
    """Factor of the camera proxies' loss (plus)."""
    proxy_temperature: float = fixed(0.1, above(0))
    """Temperature of the camera proxies, on cosines."""
    proxy_negatives: int = fixed(50, at_least(1))
    """Nearest proxies of other clusters that a clip is drawn away from."""
    proxy_momentum: float = fixed(0.2, between(0, 1))
    """Part of a proxy that the teacher's features of a step replace."""

    def factors(self) -> dict[str, float]:
        """Factor of each loss, by its name in metrics.jsonl."""
        return {"proxy": self.proxy}


@dataclass(frozen=True)
class TransportKnobs(KnobGroup):
    """Labels by optimal transport, of the method glt."""

    transport: float = fixed(1.0, at_least(0))
    """Factor of the cross-entropy of the target's labels, over groups (glt)."""
    transport_triplet: float = fixed(1.0, at_least(0))
    """Factor of the triplet loss of the target's labels, with a soft margin (glt)."""
    transport_over: Literal["first", "all"] = fixed("first")
    """Groups in the cross-entropy: the first alone, as in the authors' code, or all, as in their paper."""
    transport_groups: tuple[float, ...] = fixed((0.8, 0.93, 1.07), ABOVE_NOTHING)
    """Classes of each group of labels, as parts of --clusters (authors: 600, 700, 800 for the 751 people of
    Market-1501)."""
    transport_power: float = fixed(25.0, above(0))
    """Power of the likelihoods that labels are transported by."""
    transport_rounds: int = fixed(1, at_least(1))
    """Times that k-means finds the labels anew in adaptation; after that, each pass transports them (authors: 11)."""

    def __post_init__(self):
        super().__post_init__()
        object.__setattr__(self, "transport_groups", tuple(self.transport_groups))  # a YAML file has a list

    def factors(self) -> dict[str, float]:
        """Factor of each loss, by its name in metrics.jsonl."""
        return {"transport": self.transport, "transport_triplet": self.transport_triplet}


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
    """source: labelled tracklets alone. bn_adapt: and batch-norm statistics of the target. paper: the method. plus:
    beyond the paper, camera statistics and proxies in place of L1C and L2C. glt: labels by optimal transport."""
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


@dataclass(frozen=True)
class Config(FlatForm):
    """All knobs of a run."""

    data: DataKnobs = DataKnobs()
    clip: ClipKnobs = ClipKnobs()
    batch: BatchKnobs = BatchKnobs()
    loading: LoadingKnobs = LoadingKnobs()
    network: NetworkKnobs = NetworkKnobs()
    identity: IdentityKnobs = IdentityKnobs()
    clothes: ClothesKnobs = ClothesKnobs()
    adversarial: AdversarialKnobs = AdversarialKnobs()
    consistency: ConsistencyKnobs = ConsistencyKnobs()
    clusters: ClusterKnobs = ClusterKnobs()
    proxies: ProxyKnobs = ProxyKnobs()
    transport: TransportKnobs = TransportKnobs()
    optimiser: OptimiserKnobs = OptimiserKnobs()
    schedule: ScheduleKnobs = ScheduleKnobs()
    stages: StageKnobs = StageKnobs()
    device: DeviceKnobs = DeviceKnobs()
    test: TestKnobs = TestKnobs()
    run: RunKnobs = RunKnobs()
