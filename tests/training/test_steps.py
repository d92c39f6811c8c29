"""One step of each stage: what is minimised, in which order things move, and what is logged."""

import copy

import pytest
import torch

from vreid_fast.config import Config
from vreid_fast.data.reading.loader import Batch
from vreid_fast.device import Precision
from vreid_fast.models import build, reversal_strength
from vreid_fast.training.build import make_session, make_steps
from vreid_fast.training.compute import weighted
from vreid_fast.training.consistency import Consistency
from vreid_fast.training.learner import Learner
from vreid_fast.training.logbook import read_history

CPU = Precision("fp32", torch.device("cpu"))
LABELS = torch.tensor([0, 0, 1, 1, 2, 2])
KNOBS = {
    "frames": 2, "source_steps": 4, "adapt_steps": 4, "log_every": 1, "warmup_steps": 0, "per_person": 2,
    "domain_width": 8, "combined_groups": 4, "combined_sizes": (2,), "checkpoint_every": 100,
}  # fmt: skip


class Recorded(Consistency):
    """A consistency whose loss is the clips' mean square; it notes what it is asked for, and when."""

    factors = {"square": 0.5}  # noqa: RUF012

    def __init__(self, learner):
        self.learner, self.calls = learner, []

    def before_step(self, step, teacher, aside):
        self.calls.append(("before", step))

    def losses(self, tracklets, student, teacher, clustering=None):
        self.calls.append(("losses", clustering))
        self.student = copy.deepcopy(self.learner.student.state_dict())
        self.teacher = copy.deepcopy(self.learner.adaptation.teacher.network.state_dict())
        return {"square": student.square().mean()}, {"clusters": torch.tensor(3)}

    def after_step(self, tracklets, teacher):
        self.calls.append(("after", tracklets.tolist()))
        self.moved = {
            "student": not torch.equal(self.learner.student.classifier.weight, self.student["classifier.weight"]),
            "teacher": not torch.equal(
                self.learner.adaptation.teacher.network.classifier.weight, self.teacher["classifier.weight"]
            ),
        }

    def state_dict(self):
        return None

    def load_state_dict(self, state): ...


@pytest.fixture
def stage(tmp_path):
    """(session, steps, consistency) of a run at its first step, or at the first of adaptation."""

    def make(adapting=False, **knobs):
        config = Config.of(**{**KNOBS, **knobs})
        torch.manual_seed(0)
        learner = Learner(build("small", identities=3, frames=2), learning_rate=1e-2, weight_decay=0.0)
        session = make_session(config, tmp_path, learner, CPU, identities=3, data="{}")
        consistency = Recorded(learner)
        if adapting:
            learner.step = config.stages.source_steps
            learner.start_adaptation(
                consistency, learning_rate=1e-2, head_learning_rate=1e-2, domain_width=8, domain_dropout=0.0
            )
        return session, make_steps(config, session, LABELS), consistency

    return make


def batch(views=1, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return Batch(tuple(torch.randn(6, 2, 3, 32, 16, generator=generator) for _ in range(views)), torch.arange(6))


def rows(session):
    return read_history(session.folder / "metrics.jsonl")


def test_a_source_step_learns_and_logs_its_terms(stage):
    session, steps, _ = stage(triplet=2.0)
    with session:
        for _ in range(4):
            steps.source(batch())
    found = rows(session)
    assert [(row["stage"], row["step"]) for row in found] == [("source", step) for step in (1, 2, 3, 4)]
    first, last = found[0], found[-1]
    assert last["losses"]["cross_entropy"] < first["losses"]["cross_entropy"]
    assert first["weights"] == {"cross_entropy": 1.0, "triplet": 2.0}
    wanted = first["losses"]["cross_entropy"] + 2 * first["losses"]["triplet"]
    assert first["loss"] == pytest.approx(wanted, rel=1e-5) and first["gradient_norm"] > 0


def test_a_step_of_adaptation_moves_the_student_then_the_teacher_then_the_consistency(stage):
    session, steps, consistency = stage(adapting=True)
    with session:
        steps.adapt(batch(), batch(views=2, seed=1))
    assert consistency.calls == [("before", 0), ("losses", None), ("after", list(range(6)))]
    assert consistency.moved == {"student": True, "teacher": True} and session.learner.step == 5
    # The first decay is 0: after one step the teacher is the student as it then is.
    teacher = session.learner.adaptation.teacher.network
    assert torch.equal(teacher.classifier.weight, session.learner.student.classifier.weight)


def test_the_loss_is_the_weighted_sum_of_its_terms(stage):
    session, steps, _ = stage(adapting=True, l1s=0.25, l2s=0.0, consistency_ramp=0.5)
    with session:
        for seed in range(3):
            steps.adapt(batch(), batch(views=2, seed=seed))
    found = rows(session)
    assert found[0]["losses"].keys() == {"cross_entropy", "triplet", "l1s", "l3s", "square"}
    # The consistency's factor 0.5 rises over half of 4 steps.
    assert [row["weights"]["square"] for row in found] == pytest.approx([0.25, 0.5, 0.5])
    for row in found:
        assert row["weights"]["l1s"] == 0.25 and row["clusters"] == 3
        total = sum(row["weights"][name] * loss for name, loss in row["losses"].items())
        assert row["loss"] == pytest.approx(total, rel=1e-4)
    assert [row["reversal"] for row in found] == pytest.approx([0.5 * reversal_strength(step / 4) for step in range(3)])


def test_gradient_norms_are_looked_at_when_they_are_due(stage):
    session, steps, _ = stage(gradients_every=2, triplet=0.5)
    with session:
        for _ in range(4):
            steps.source(batch())
    found = rows(session)
    assert ["gradient_norms" in row for row in found] == [False, True, False, True]
    assert all(norm > 0 for norm in found[1]["gradient_norms"].values())


@pytest.mark.parametrize(
    ("schedule", "wanted"), [("cosine", [1.0, 0.856, 0.51, 0.164]), ("steps", [1.0, 1.0, 1.0, 0.1])]
)
def test_a_cosine_spans_a_stage_and_the_authors_steps_the_run(stage, schedule, wanted):
    session, steps, _ = stage(schedule=schedule)
    with session:
        for _ in range(4):
            steps.source(batch())
    assert [row["learning_rate"] / 1e-2 for row in rows(session)] == pytest.approx(wanted, abs=1e-3)


def test_a_weighted_sum():
    losses = {"a": torch.tensor(2.0), "b": torch.tensor(3.0)}
    assert weighted(losses, {"a": 0.5, "b": 2.0, "c": 9.0}).item() == 7.0
