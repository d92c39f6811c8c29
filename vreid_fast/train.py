"""Train on labelled source tracklets, adapt to unlabelled target ones: `python -m vreid_fast.train`.

Stage "source": cross-entropy and triplet losses on the source. Stage "adapt": the same and, with the
paper's method, domain-adversarial losses and the consistency of a mean teacher on the target. Then
batch-norm statistics of the target, scores, report. `train` is the whole path, top down.
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch
from torch import nn

from . import ranks
from .config import Config, parse_command
from .data.fingerprint import fingerprint
from .device import Precision, choose_device
from .errors import exit_code
from .evaluation.clothes import clothes_protocols
from .evaluation.embed import embed_domains
from .evaluation.scores import Evaluation
from .evaluation.splits import count_splits
from .files import write_text
from .training import build
from .training.asides import aside
from .training.learner import Learner
from .training.neighbours import measure_people
from .training.rank_agreement import check_same
from .training.rank_checks import batch_norm_used, check_ranks
from .training.results import greet, print_results, read_result, write_results
from .training.resume import check_data
from .training.run_folder import RunFolder
from .training.splits import begun_splits, run_splits
from .training.target_statistics import adopt_target_statistics, measure_cameras


def train(config: Config, resume: bool = False) -> dict:
    """Run the method of `config` in its folder, from the start or from its last checkpoint.

    Returns:
        What result.json holds.

    Raises:
        InputError: a knob, a path or data that cannot be used, or that are not those of the checkpoint.
        Diverged: a loss, a weight or a feature is not finite.
        Failed: the disk is full, or the like.
        Stopped: Ctrl-C or SIGTERM; the checkpoint is written.
    """
    with RunFolder(config.run.run) as folder:
        again = ranks.of_first(lambda: ranks.restarted() and (folder.path / "last.pt").exists())
        return _train(config, folder, resume or again)


def _train(config: Config, run: RunFolder, resume: bool) -> dict:
    state = build.read_state(config, run.open(resume=True)) if resume else None
    device = choose_device(config.device.device)
    precision = Precision(config.device.precision, device)
    if config.device.threads:
        torch.set_num_threads(config.device.threads)

    domains = build.read_domains(config)
    data = fingerprint(domains)
    check_same({"knobs": {**config.knobs(), "threads": 0}, "data": data, "versions of torch": torch.__version__})
    if state and (note := check_data(run.path, state, data)):
        domains.notes.append(note)
    domains.labels = domains.labels.to(device)
    student, notes = build.initial_network(config, domains.identities)
    optimiser, stages = config.optimiser, config.stages
    learner = Learner(
        student.to(device), learning_rate=optimiser.source_lr, weight_decay=optimiser.weight_decay,
        optimiser=optimiser.optimiser, momentum=optimiser.momentum, trunk_rate=optimiser.trunk_lr,
    )  # fmt: skip
    learner.clothes = build.make_clothes(config, domains, learner)
    domains.notes += build.cluster_notes(config, domains)
    statistics = build.choose_statistics(config, domains)
    per_camera = statistics == "camera"
    batches = build.make_batches(config, domains, precision, per_camera)
    domains.notes += [*notes, *batches.notes, *clothes_protocols(domains.target_data)[1]]
    learner.neighbours = batches.neighbours
    folder = run.path if resume else run.open()
    ranks.begun()
    session = build.make_session(config, folder, learner, precision, domains.identities, data)
    protocol = build.make_protocol(config, batches.reading)
    steps = build.make_steps(config, session, domains.labels)

    def start_adaptation() -> None:
        build.start_adaptation(config, session, batches, protocol, per_camera)

    if state:
        session.restore(state, start_adaptation)
        del state  # its memory
    ranks.of_first(lambda: write_text(folder / "config.yaml", config.to_yaml()))
    if session.finished and (folder / "result.json").exists():
        return read_result(folder)

    def evaluate(name: str, network: nn.Module, **options) -> Evaluation:
        with session.watching(name):
            return Evaluation.of(network, domains.target_data, protocol, precision, **options)

    def source_steps(stop: int, stage: str) -> None:
        for start, end in batches.source_pieces(learner.step, stop):
            if batches.neighbours:
                with aside(session), session.watching("student"):
                    measure_people(batches.neighbours, start, learner.student, batches, protocol, precision)
            with batches.source(start, end) as loader:
                for (source,) in steps.profile.batches(loader, stage):
                    steps.source(source)

    def select() -> None:
        step = learner.step
        if config.test.select == "authors" and step > stages.source_steps and step % config.test.select_every == 0:
            with aside(session):
                scores = evaluate("student", learner.student).scores()
            session.select(scores)

    with session:
        if not resume:
            with aside(session):
                untrained = evaluate("untrained network", learner.student).scores()
            session.note_scores(untrained=untrained)
            if stages.start:
                session.start_from(stages.start, config.network.drop_classifier)
        with batches.source(learner.step, learner.step) as loader:
            used = greet(session, domains, loader, batch_norm_used(config))
        source_steps(stages.source_steps, "source")
        if learner.step == stages.source_steps and session.before is None:
            session.check()
            with aside(session):
                scores = evaluate("student", learner.student).scores()
                features = embed_domains(learner.student, domains, protocol, precision)["features"]
            session.end_source()
            with aside(session):
                session.note_scores(source=scores)
                session.before = torch.from_numpy(features)
                start_adaptation()
                if learner.adaptation is not None:
                    learner.adaptation.consistency.start(learner.adaptation.teacher)
        if learner.adaptation is not None:
            select()  # of the step that a run goes on from
            with batches.both(learner.step, session.total, done=learner.step - stages.source_steps) as loader:
                for source, target in steps.profile.batches(loader, "adapt"):
                    steps.adapt(source, target)
                    select()
        else:
            source_steps(session.total, "adapt")

        session.end_steps()
        for name, network in learner.networks().items():
            with session.watching(name):
                if statistics != "running":
                    adopt_target_statistics(network, batches, precision, config.test.bn_batches)
                if per_camera:
                    learner.statistics[name] = measure_cameras(network, batches, precision)
        student = evaluate("student", learner.student, train=True, statistics=learner.statistics.get("student"))
        session.note_scores(student=student.scores(), student_camera=student.camera_scores())
        if learner.adaptation is not None:
            network, own = learner.adaptation.teacher.network, learner.statistics.get("teacher")
            teacher = evaluate("teacher", network, statistics=own)
            session.note_scores(teacher=teacher.scores())
        session.note_scores(**student.clothes_scores("student"))
        after = embed_domains(learner.student, domains, protocol, precision, learner.statistics.get("student"))
        session.finish()
        feature_map = {"before": session.before.numpy(), "after": after.pop("features"), **after}
        batches.reading.bad_frames.meet()
        return ranks.of_first(lambda: write_results(session, config.data, student, used, feature_map))


def train_splits(config: Config, resume: bool = False) -> dict:
    """`--split all`: a run for each split of the target in its folder, then mean and deviation of their scores."""
    splits = count_splits(config.data.target)

    def of_split(split: int, inner: Path) -> Config:
        return config.replace(split=str(split), run=str(inner))

    def train_split(split: int, inner: Path, again: bool) -> dict:
        return train(of_split(split, inner), again)

    with RunFolder(config.run.run) as run:
        folder = run.open(resume)
        for split, inner in begun_splits(folder, splits):
            build.read_state(of_split(split, inner), inner)
        write_text(folder / "config.yaml", config.to_yaml())
        return run_splits(folder, splits, train_split)


def main(argv: list[str] | None = None) -> int:
    def work() -> None:
        config, resume = parse_command(argv)
        check_ranks(config)
        ranks.wait_at_most(config.device.rank_timeout)
        run = train_splits if config.data.split == "all" else train
        print_results(config.run.run, run(config, resume is not None))

    return exit_code(work, "stopped; --resume goes on from the last checkpoint, if there is one", together=ranks)


if __name__ == "__main__":
    sys.exit(main())
