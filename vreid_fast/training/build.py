"""From the knobs of a run to its parts. Below this, everything takes a group of knobs or plain arguments."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from vreid_fast import ranks
from vreid_fast.config import Config
from vreid_fast.config.stored import stored
from vreid_fast.data.batches import Batches
from vreid_fast.data.domains import Domains
from vreid_fast.data.reading.bad_frames import BadFrames
from vreid_fast.data.reading.loader import ReadingOptions
from vreid_fast.device import Precision
from vreid_fast.errors import InputError
from vreid_fast.evaluation.embed import Protocol
from vreid_fast.models import MATCHING, PROJECTING, CameraStatistics, VideoNetwork, build, load_weights
from vreid_fast.models.cavit import CrossTransformer
from vreid_fast.models.convolution_biases import fold_biases
from vreid_fast.models.whole_batch import over_whole_batch

from . import resume
from .checkpoint import load
from .checkpoint_checks import check_agreement, check_identities, check_state, check_statistics, check_there, reading
from .clothes import Clothes
from .compute import Compute
from .graph import make_graph
from .learner import Learner
from .methods import METHODS, make_consistency
from .micro_batches import MicroBatches
from .network_checks import check_matching, check_sampler, check_test_clips, compare_by
from .profile import Profile
from .session import Session
from .steps import Steps


def read_domains(config: Config) -> Domains:
    """Source and target; raises as `Domains.read`."""
    knobs = config.data
    return Domains.read(
        knobs.source, knobs.target, seed=knobs.synthetic_seed, cache=knobs.synthetic_cache, split=int(knobs.split),
        mars_gallery=knobs.mars_gallery, authors_pieces_train=knobs.authors_pieces_train,
        authors_pieces_test=knobs.authors_pieces_test, scenes=knobs.scenes,
    )  # fmt: skip


def initial_network(config: Config, identities: int) -> tuple[VideoNetwork, list[str]]:
    """The network before training, on the CPU, and notes on the weights that it was given.

    Raises:
        InputError: a network that does not exist or cannot take these frames or this loss; weights that do not fit.
    """
    knobs, info_nce = config.network, config.identity.info_nce
    check_matching(config)
    check_sampler(config, METHODS[config.stages.method].consistency is not None)
    if info_nce and knobs.network not in PROJECTING:
        raise InputError(
            f"--info_nce {info_nce}: network {knobs.network} has no projection for it; set --info_nce 0, or "
            f"--network to one of {', '.join(PROJECTING)}"
        )
    if info_nce and config.clip.frames < 2:
        raise InputError(f"--info_nce {info_nce} compares frames of a clip: set --frames 2 or more")
    torch.manual_seed(config.run.seed)
    network = _build(config, identities)
    check_test_clips(config, network)
    if knobs.recompute:
        if not isinstance(network.trunk, CrossTransformer):
            raise InputError(
                f"--recompute true: network {knobs.network} has no blocks to compute again, cavit has; leave it out"
            )
        network.trunk.recompute = True
    compare_by(config, network)
    notes = load_weights(network, knobs.network, knobs.weights, knobs.drop_classifier) if knobs.weights else []
    if config.device.batch_norm == "sync":
        over_whole_batch(network)
    return network, notes


def load_network(path: str | Path, which: str = "student") -> tuple[VideoNetwork, Config, CameraStatistics | None]:
    """The student or the teacher of a checkpoint, on the CPU, the configuration of its run, and the batch-norm
    statistics of the cameras of its target where the run has them.

    Raises:
        InputError: no checkpoint, one without a teacher, or one that was damaged or edited.
    """
    state = load(path)
    check_there(path, state, "config", "identities", "step", "student", "statistics")
    with reading(path):
        config = stored(state["config"])
    check_agreement(path, state, network=config.network.network, frames=config.clip.frames)
    if which == "teacher" and state.get("teacher") is None:
        raise InputError(
            f"checkpoint {path} has no teacher (method {config.stages.method}, step {state['step']}); "
            "use --network student"
        )
    given = state["student"] if which == "student" else state["teacher"].get("network")
    with reading(path):
        if config.network.network not in MATCHING:
            check_identities(given, state["identities"])
        network = _build(config, state["identities"])
        own = network.state_dict()
        folded = fold_biases(given, own) if isinstance(given, Mapping) else given
        check_state(which, folded, own)
        network.load_state_dict(folded)
        cameras = check_statistics(which, state["statistics"].get(which), network)
    if cameras is not None:
        cameras = {camera: fold_biases(statistics, own, given) for camera, statistics in cameras.items()}
    return network.eval(), config, cameras


def _build(config: Config, identities: int) -> VideoNetwork:
    clip = config.clip
    size = clip.height, clip.width
    knobs = config.network
    return build(knobs.network, identities=identities, frames=clip.frames, size=size, trunk=knobs.trunk)


def reading_options(config: Config, precision: Precision) -> ReadingOptions:
    """How a run reads clips: as its network wants them."""
    clip, loading = config.clip, config.loading
    return ReadingOptions(
        size=(clip.height, clip.width), device=precision.device, dtype=precision.dtype, channels_last=True,
        backend=None if loading.loader == "auto" else loading.loader, threads=loading.loader_threads,
        bad_frames=BadFrames(loading.on_bad_frame),
    )  # fmt: skip


def make_protocol(config: Config, reading: ReadingOptions) -> Protocol:
    """How a run is tested."""
    test = config.test
    frames = test.test_frames or config.clip.frames
    return Protocol(frames, reading, test.test_clips, test.test_batch, test.distance, config.clip.stride)


def choose_statistics(config: Config, domains: Domains) -> str:
    """Which batch-norm statistics the test takes: target, camera or running."""
    named = config.test.statistics
    wanted = METHODS[config.stages.method].statistics if named == "auto" else named
    cameras = domains.cameras()
    if wanted == "camera" and (cameras is None or len(cameras.unique()) == 1):
        known = "not known" if cameras is None else "one only"
        domains.notes.append(f"the target's cameras are {known}: batch-norm statistics are those of the whole target")
        return "target"
    return wanted


def cluster_notes(config: Config, domains: Domains) -> list[str]:
    """What the target does to the clusters that were asked for.

    Raises:
        InputError: a batch that cannot have so many.
    """
    consistency = METHODS[config.stages.method].consistency
    return [] if consistency is None else consistency.notes(config.clusters, domains, config.batch.target_batch)


def make_batches(config: Config, domains: Domains, precision: Precision, per_camera: bool) -> Batches:
    """The loaders of a run; `per_camera`: whether each camera of the target has batch-norm statistics of its own."""
    batch = config.batch
    return Batches(
        domains, reading_options(config, precision), frames=config.clip.frames, people=batch.people,
        per_person=batch.per_person, target_batch=batch.target_batch, flip=batch.flip, erase=batch.erase,
        pad=batch.pad, seed=config.run.seed, cache=config.loading.cache, rule=config.clip.train_clips,
        stride=config.clip.stride, micro=batch.accumulate, once=batch.per_epoch == "people",
        graph=batch.per_epoch == "graph",
        one_camera=per_camera and METHODS[config.stages.method].one_camera,
    )  # fmt: skip


def make_clothes(config: Config, domains: Domains, learner: Learner) -> Clothes | None:
    """The loss of clothes of a run; None = it is off.

    Raises:
        InputError: a source that does not know what people wear.
    """
    knobs, stages = config.clothes, config.stages
    if not knobs.clothes:
        return None
    if domains.clothes is None:
        raise InputError(
            f"--clothes {knobs.clothes}: the clothes of {config.data.source} are not known; set --clothes 0, or take a "
            "--source with them (ccvid, svreid_cc, a folder whose tracklets.csv has clothes, synthetic:source+outfits)"
        )
    worn, owners = (tensor.to(learner.device) for tensor in domains.clothes)
    if len(owners) == domains.identities:
        domains.notes.append(
            f"--clothes {knobs.clothes}: everybody in {config.data.source} wears the same in all tracklets; the loss "
            "is then a softmax over identities alone"
        )
    return Clothes(
        knobs, worn, owners, learner.student.width,
        first=round(knobs.clothes_start * (stages.source_steps + stages.adapt_steps)),
        weight_decay=config.optimiser.weight_decay, recordable=learner.recordable,
    )  # fmt: skip


def make_session(
    config: Config, folder: Path, learner: Learner, precision: Precision, identities: int, data: str
) -> Session:
    return Session(
        folder, learner, precision, config.stages, config.run, network=config.network.network,
        frames=config.clip.frames, identities=identities, config=config.knobs(), data=data,
    )  # fmt: skip


def read_state(config: Config, folder: Path) -> dict:
    """The checkpoint that a run in FOLDER goes on from; raises as `resume.read_state`."""
    defaults = Config().knobs()
    if config.stages.method == "plus":
        defaults["cluster_by"] = "kmeans"  # of a checkpoint that is older than the knob
    return resume.read_state(folder, config.knobs(), defaults, Config.on_resume())


def make_steps(config: Config, session: Session, labels: Tensor) -> Steps:
    unsaid = METHODS[config.stages.method].adversarial
    device = session.learner.device
    profile = Profile(session.folder, config.run.profile if ranks.first() else 0, device)
    compute = Compute(
        session.learner, session.precision, labels, config.identity,
        domain_factors={} if unsaid is None else config.adversarial.factors(unsaid),
        clip_gradient=config.optimiser.clip_gradient, per_person=config.batch.per_person, profile=profile,
        micro=MicroBatches(config.batch.accumulate),
    )  # fmt: skip
    return Steps(
        session, compute, config.stages, config.schedule, config.adversarial,
        ramp=config.consistency.consistency_ramp, seed=config.run.seed, log_every=config.run.log_every,
        gradients_every=config.run.gradients_every, profile=profile,
        graph=None if ranks.several() or config.batch.accumulate > 1 else make_graph(config.device.graph, device),
    )  # fmt: skip


def start_adaptation(config: Config, session: Session, batches: Batches, protocol: Protocol, per_camera: bool) -> None:
    """Begin the second stage: a fresh optimiser and, where the method adapts, teacher, heads and consistency."""
    learner, optimiser, adversarial = session.learner, config.optimiser, config.adversarial
    method, ema_decay = METHODS[config.stages.method], config.consistency.ema_decay
    consistency = make_consistency(config, learner, batches, protocol, session.precision, per_camera)
    if consistency is None:
        learner.restart_optimiser(optimiser.adapt_lr)
        return
    learner.start_adaptation(
        consistency, learning_rate=optimiser.adapt_lr, head_learning_rate=optimiser.head_lr,
        domain_width=adversarial.domain_width, domain_dropout=adversarial.domain_dropout,
        loss_weights=optimiser.loss_weights, ema_decay=method.ema_decay if ema_decay is None else ema_decay,
        domain_norms=method.domain_norms,
    )  # fmt: skip
