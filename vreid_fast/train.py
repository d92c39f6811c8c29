"""Train on labelled source tracklets, adapt to unlabelled target ones: `python -m vreid_fast.train`.

Stage "source": cross-entropy and triplet losses on the source. Stage "adapt": the same and, with the
paper's method, domain-adversarial losses and the consistency of a mean teacher on the target. Then
batch-norm statistics of the target, scores, report. `train` is the whole path, top down.
"""

from __future__ import annotations

import dataclasses
import sys

import torch
from torch import nn

from .config import Config, parse_command
from .data.batches import Batches
from .data.domains import Domains
from .device import Precision, choose_device
from .errors import Diverged, InputError, Stopped
from .evaluation.clothes import clothes_protocols
from .evaluation.scores import Evaluation, Protocol, embed_domains, reading_of
from .training.adversarial import adopt_target_statistics, measure_cameras
from .training.build import initial_network
from .training.learner import Learner
from .training.results import greet, print_results, read_result, write_results
from .training.session import Session, open_folder
from .training.splits import count_splits, run_splits
from .training.steps import Steps


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
    domains.notes += cluster_notes(config, domains)
    statistics = choose_statistics(config, domains)
    per_camera = statistics == "camera"
    batches = make_batches(config, domains, precision, one_camera=per_camera and config.method == "plus")
    domains.notes += [*notes, *batches.notes, *clothes_protocols(domains.target)[1]]
    folder = open_folder(config.run, resume)
    session = Session(folder, learner, precision, dataclasses.asdict(config), domains.identities)
    protocol = Protocol.of(config, batches.reading)
    steps = Steps(config, session, batches, protocol, per_camera)
    if resume:
        session.restore(steps.start_adaptation)
    (folder / "config.yaml").write_text(config.to_yaml())
    if session.finished and (folder / "result.json").exists():
        return read_result(folder)

    def evaluate(network: nn.Module, **options) -> Evaluation:
        return Evaluation.of(network, domains.target, protocol, precision, **options)

    with session:
        if not resume:
            session.note_scores(untrained=evaluate(learner.student).scores())
            if config.start:
                session.start_from(config.start, config.drop_classifier)
        with batches.source(learner.step, config.source_steps) as loader:
            used = greet(session, domains, loader)
            for (source,) in loader:
                steps.source(source)
        if learner.step == config.source_steps:
            session.note_scores(source=evaluate(learner.student).scores())
            session.before = torch.from_numpy(embed_domains(learner.student, domains, protocol, precision)["features"])
            steps.start_adaptation()
            steps.fill_memory()
        if config.method in ("paper", "plus"):
            with batches.both(learner.step, session.total, done=learner.step - config.source_steps) as loader:
                for source, target in loader:
                    steps.adapt(source, target)
                    if config.select == "authors" and learner.step % config.select_every == 0:
                        session.select(evaluate(learner.student).scores())
        else:
            with batches.source(learner.step, session.total) as loader:
                for (source,) in loader:
                    steps.source(source)

        session.save()
        for name, network in learner.networks().items():
            if statistics != "running":
                adopt_target_statistics(network, batches, precision, config.bn_batches)
            if per_camera:
                learner.statistics[name] = measure_cameras(network, batches, precision)
        student = evaluate(learner.student, train=True, statistics=learner.statistics.get("student"))
        session.note_scores(student=student.scores(), student_camera=student.camera_scores())
        if learner.teacher is not None:
            teacher = evaluate(learner.teacher.network, statistics=learner.statistics.get("teacher"))
            session.note_scores(teacher=teacher.scores())
        session.note_scores(**student.clothes_scores("student"))
        after = embed_domains(learner.student, domains, protocol, precision, learner.statistics.get("student"))
        session.finish()
        return write_results(session, student, used, after)


def train_splits(config: Config, resume: bool = False) -> dict:
    """`--split all`: a run for each split of the target in its folder, then mean and deviation of their scores."""
    splits = count_splits(config.target)
    folder = open_folder(config.run, resume)
    (folder / "config.yaml").write_text(config.to_yaml())
    return run_splits(
        folder, splits,
        lambda split, inner, again: train(dataclasses.replace(config, split=str(split), run=str(inner)), again),
    )  # fmt: skip


def choose_statistics(config: Config, domains: Domains) -> str:
    """Which batch-norm statistics the test takes: target, camera or running."""
    wanted = config.statistics
    if wanted == "auto":
        wanted = {"source": "running", "plus": "camera"}.get(config.method, "target")
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
    if config.method not in ("paper", "plus"):
        return []
    count, in_batch = len(domains.unlabelled), 2 * config.target_batch
    if config.method == "paper" and config.cluster_over == "batch":
        if config.clusters > in_batch:
            raise InputError(
                f"--clusters {config.clusters}: a batch has {in_batch} features, student's and teacher's; lower it, "
                "or raise --target_batch"
            )
        return []
    notes = []
    if config.clusters > count:
        notes.append(f"--clusters {config.clusters}: the target has {count} tracklets, so there are {count} clusters")
    if config.camera_aware and domains.cameras() is None:
        notes.append("the target's cameras are not known: clusters may fall apart by camera")
    return notes


def make_batches(config: Config, domains: Domains, precision: Precision, one_camera: bool) -> Batches:
    return Batches(
        domains, reading_of(config, precision), frames=config.frames, people=config.people,
        per_person=config.per_person, target_batch=config.target_batch, flip=config.flip, erase=config.erase,
        pad=config.pad, seed=config.seed, cache=config.cache, one_camera=one_camera,
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
