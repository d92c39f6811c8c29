"""Train on labelled source tracklets, adapt to unlabelled target ones: `python -m vreid_fast.train`.

Stage "source": cross-entropy and triplet losses on the source. Stage "adapt": the same and, with the
paper's method, domain-adversarial losses and the consistency of a mean teacher on the target. Then
batch-norm statistics of the target, scores, report. `train` is the whole path, top down.
"""

from __future__ import annotations

import dataclasses
import sys

import numpy as np
import torch
from torch import Tensor

from .adaptation import adopt_target_statistics, consistency_losses, domain_losses, fill_memory
from .clothes import clothes_protocols
from .config import Config, parse_command
from .data.batches import Batches
from .data.domains import Domains
from .data.loader import Batch
from .device import Precision, choose_device
from .errors import Diverged, InputError, Stopped
from .evaluate import Evaluation, Protocol, reading_of
from .learner import Learner
from .losses import FeatureMemory, batch_hard_triplet, cross_entropy, info_nce
from .models import NetworkOutput, reversal_strength
from .networks import initial_network
from .results import greet, print_results, read_result, write_results
from .session import Session, open_folder
from .splits import count_splits, run_splits


def train(config: Config, resume: bool = False) -> dict:
    """Run the method of `config` in its folder, from the start or from its last checkpoint.

    Returns:
        What result.json holds.

    Raises:
        InputError: a knob, a path or data that cannot be used.
        Diverged: a loss is not finite.
        Stopped: Ctrl-C; the checkpoint is written.
    """
    device = choose_device(config.device)
    precision = Precision(config.precision, device)
    if config.threads:
        torch.set_num_threads(config.threads)

    domains = Domains.read(
        config.source, config.target,
        seed=config.synthetic_seed, cache=config.synthetic_cache, split=int(config.split),
        mars_gallery=config.mars_gallery,
        authors_pieces_train=config.authors_pieces_train, authors_pieces_test=config.authors_pieces_test,
    )  # fmt: skip
    domains.labels = domains.labels.to(device)
    student, notes = initial_network(config, domains.identities)
    learner = Learner(student.to(device), learning_rate=config.source_lr, weight_decay=config.weight_decay)
    batches = make_batches(config, domains, precision)
    domains.notes += [*notes, *batches.notes, *clothes_protocols(domains.target)[1]]
    folder = open_folder(config.run, resume)
    session = Session(folder, learner, precision, dataclasses.asdict(config), domains.identities)
    if resume:
        session.restore(lambda: start_adaptation(config, learner, domains))
    (folder / "config.yaml").write_text(config.to_yaml())
    if session.finished and (folder / "result.json").exists():
        return read_result(folder)

    protocol = Protocol.of(config, batches.reading)
    with session:
        if not resume:
            session.note_scores(untrained=Evaluation.of(learner.student, domains.target, protocol, precision).scores())
            if config.start:
                session.start_from(config.start, config.drop_classifier)
        with batches.source(learner.step, config.source_steps) as loader:
            used = greet(session, domains, loader)
            for (source,) in loader:
                source_step(config, session, domains, source)
        if learner.step == config.source_steps:
            session.note_scores(source=Evaluation.of(learner.student, domains.target, protocol, precision).scores())
            start_adaptation(config, learner, domains)
            fill_memory(learner, batches, precision)
        if config.method == "paper":
            with batches.both(learner.step, session.total, done=learner.step - config.source_steps) as loader:
                for source, target in loader:
                    adapt_step(config, session, batches, source, target)
        else:
            with batches.source(learner.step, session.total) as loader:
                for (source,) in loader:
                    source_step(config, session, domains, source)

        session.save()
        if config.method != "source":
            adopt_target_statistics(learner, batches, precision, config.bn_batches)
        student = Evaluation.of(learner.student, domains.target, protocol, precision, train=True)
        session.note_scores(student=student.scores(), student_camera=student.camera_scores())
        if learner.teacher is not None:
            teacher = Evaluation.of(learner.teacher.network, domains.target, protocol, precision)
            session.note_scores(teacher=teacher.scores())
        session.note_scores(**student.clothes_scores("student"))
        session.finish()
        return write_results(session, student, used)


def train_splits(config: Config, resume: bool = False) -> dict:
    """`--split all`: a run for each split of the target in its folder, then mean and deviation of their scores."""
    splits = count_splits(config.target)
    folder = open_folder(config.run, resume)
    (folder / "config.yaml").write_text(config.to_yaml())
    return run_splits(
        folder, splits,
        lambda split, inner, again: train(dataclasses.replace(config, split=str(split), run=str(inner)), again),
    )  # fmt: skip


def source_step(config: Config, session: Session, domains: Domains, batch: Batch) -> None:
    """One step on the labelled source alone: the first stage, and the second of `source` and `bn_adapt`."""
    learner = session.learner
    rate = learner.set_learning_rate(*place(config, learner.step), config.warmup_steps)
    with session.precision.cast():
        output = learner.student(batch.clips)
    losses = identity_losses(config, output, domains.labels[batch.tracklets])
    session.advance(weighted(losses, config), losses, {"learning_rate": rate}, clips=len(batch.clips))


def adapt_step(config: Config, session: Session, batches: Batches, source: Batch, target: Batch) -> None:
    """One step of the paper's method: eq. 17 over a source batch and two views of a target batch."""
    learner = session.learner
    step, steps = place(config, learner.step)
    rate = learner.set_learning_rate(step, steps, config.warmup_steps)
    learner.reversal.fill_(config.reversal * reversal_strength(step / steps))

    # Source and target go forward apart, so that each is normalised by its own batch statistics.
    with session.precision.cast():
        of_source = learner.student(source.clips)
        of_target = learner.student(target.views[0])
        of_teacher = learner.teacher(target.views[1])

    identity = identity_losses(config, of_source, batches.domains.labels[source.tracklets])
    domain, accuracy = domain_losses(
        learner.heads, of_source, of_target, learner.reversal, terms=switched_on(config, "l1s", "l2s", "l3s"),
        groups=config.combined_groups, sizes=config.combined_sizes, rng=np.random.default_rng((config.seed, step)),
    )  # fmt: skip
    refresh = step % (config.cluster_every or batches.target_pass()) == 0
    consistency, agreement = consistency_losses(
        learner.memory, target.tracklets, of_target.clip, of_teacher, terms=switched_on(config, "l1c", "l2c"),
        clusters=clusters_of(config, batches.domains), restarts=config.cluster_restarts, refresh=refresh, seed=step,
        temperature=config.cluster_temperature,
    )  # fmt: skip

    ramp = min(1.0, (step + 1) / (config.consistency_ramp * steps)) if config.consistency_ramp else 1.0
    groups = {"identity": (identity, 1.0), "domain": (domain, 1.0), "consistency": (consistency, ramp)}
    loss = learner.weights({name: part * weighted(terms, config) for name, (terms, part) in groups.items() if terms})
    schedules = {"learning_rate": rate, "reversal": learner.reversal, "ema_decay": learner.teacher.updater.decay_now}
    scalars = {**schedules, **accuracy, **agreement}
    if learner.weights.rule != "fixed":
        scalars |= {f"weight_{name}": weight for name, weight in learner.weights.named().items()}
    session.advance(loss, {**identity, **domain, **consistency}, scalars, clips=len(source.clips) + len(target.clips))


def identity_losses(config: Config, output: NetworkOutput, labels: Tensor) -> dict[str, Tensor]:
    """Cross-entropy, triplet and InfoNCE losses of a source batch, as far as they are switched on."""
    losses = {}
    if config.cross_entropy:
        losses["cross_entropy"] = cross_entropy(output.logits, labels)
    if config.triplet:
        losses["triplet"] = batch_hard_triplet(output.clip, labels, config.margin, config.triplet_distance)
    if config.info_nce:
        losses["info_nce"] = info_nce(output.projected, config.per_person, config.info_nce_temperature)
    return losses


def switched_on(config: Config, *terms: str) -> list[str]:
    return [term for term in terms if getattr(config, term) > 0]


def clusters_of(config: Config, domains: Domains) -> int:
    """M of eq. 13: the knob, or a guess from the number of tracklets, for a target whose people nobody counted."""
    if config.clusters:
        return config.clusters
    return max(2, len(domains.unlabelled) // 7) if config.cluster_over == "memory" else min(16, config.target_batch)


def weighted(losses: dict[str, Tensor], config: Config) -> Tensor:
    """The sum of terms, each times its knob."""
    return torch.stack([getattr(config, name) * loss for name, loss in losses.items()]).sum()


def place(config: Config, step: int) -> tuple[int, int]:
    """Step within its stage, and the steps of that stage."""
    if step < config.source_steps:
        return step, config.source_steps
    return step - config.source_steps, config.adapt_steps


def start_adaptation(config: Config, learner: Learner, domains: Domains) -> None:
    """Begin the second stage: a fresh optimiser and, for the paper's method, teacher, heads and memory."""
    if config.method != "paper":
        learner.restart_optimiser(config.adapt_lr)
        return
    memory = None
    if config.cluster_over == "memory" and switched_on(config, "l1c", "l2c"):
        cameras = domains.cameras() if config.camera_aware else None
        memory = FeatureMemory(len(domains.unlabelled), learner.student.width, cameras, learner.device)
    learner.start_adaptation(
        learning_rate=config.adapt_lr, head_learning_rate=config.head_lr, domain_width=config.domain_width,
        domain_dropout=config.domain_dropout, loss_weights=config.loss_weights, ema_decay=config.ema_decay,
        memory=memory,
    )  # fmt: skip


def make_batches(config: Config, domains: Domains, precision: Precision) -> Batches:
    return Batches(
        domains, reading_of(config, precision), frames=config.frames, people=config.people,
        per_person=config.per_person, target_batch=config.target_batch, flip=config.flip, erase=config.erase,
        pad=config.pad, seed=config.seed, cache=config.cache,
    )  # fmt: skip


def main(argv: list[str] | None = None) -> int:
    try:
        config, resume = parse_command(argv)
        run = train_splits if config.split == "all" else train
        print_results(config.run, run(config, resume is not None))
    except (InputError, Diverged, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except (Stopped, KeyboardInterrupt) as stop:
        print(stop if str(stop) else "stopped; --resume goes on from the last checkpoint, if there is one")
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
