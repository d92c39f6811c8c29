"""A run's folder: steps counted and logged, checkpoints when due, stops that lose nothing, other runs refused."""

import contextlib
import os
import signal
from types import SimpleNamespace

import pytest
import torch
from full_disk import largest_file

from vreid_fast import ranks
from vreid_fast.config.groups import RunKnobs, StageKnobs
from vreid_fast.device import Precision
from vreid_fast.errors import Diverged, Failed, InputError, Stopped
from vreid_fast.models import build
from vreid_fast.training import asides
from vreid_fast.training.asides import aside
from vreid_fast.training.checkpoint import load
from vreid_fast.training.learner import Learner
from vreid_fast.training.logbook import read_history
from vreid_fast.training.session import Session

STAGES = StageKnobs(source_steps=3, adapt_steps=4)
LOSS = torch.tensor(1.0)


def make(folder, identities=3, network="small", **run):
    torch.manual_seed(0)
    learner = Learner(build(network, identities=identities, frames=2), learning_rate=1e-3, weight_decay=0.0)
    folder.mkdir(exist_ok=True)
    knobs = RunKnobs(**{"log_every": 1, "checkpoint_every": 2, **run})
    return Session(
        folder, learner, Precision("fp32", torch.device("cpu")), STAGES, knobs,
        network=network, frames=2, identities=identities, config={"seed": 5}, data="{}",
    )  # fmt: skip


def advance(session, steps, loss=LOSS):
    for _ in range(steps):
        session.advance({"triplet": loss, "total": loss}, {"learning_rate": 0.1}, clips=6)


def test_steps_are_counted_logged_by_stage_and_kept_when_due(tmp_path):
    with make(tmp_path) as session:
        assert (session.total, session.stage, session.saved_step) == (7, "source", 0)
        advance(session, 3)
        assert (session.learner.step, session.stage, session.saved_step) == (3, "adapt", 2)
        assert load(session.last)["step"] == 2 and load(session.last)["config"] == {"seed": 5}
        advance(session, 1)
        session.note_scores(student={"map": 0.5, "rank1": 0.5}, teacher=None)
    rows = read_history(tmp_path / "metrics.jsonl")
    assert [(row["stage"], row["step"]) for row in rows] == [
        ("source", 1), ("source", 2), ("source", 3), ("adapt", 4), ("adapt", 4)
    ]  # fmt: skip
    assert rows[0]["losses"] == {"triplet": 1.0} and rows[-1]["scores"] == {"student": {"map": 0.5, "rank1": 0.5}}
    assert session.scores.keys() == {"student"}


def test_where_another_process_is_lost_it_says_what_is_kept(tmp_path):
    with pytest.raises(ranks.Lost) as error, make(tmp_path) as session:
        advance(session, 3)
        raise ranks.Lost("another of the 2 processes of this run ended")
    assert str(error.value) == (
        "after step 3: another of the 2 processes of this run ended; the last good checkpoint is "
        f"{tmp_path / 'last.pt'} (step 2): --resume {tmp_path} goes on from it"
    )


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_after_the_step_with_a_checkpoint(tmp_path, number):
    with make(tmp_path, checkpoint_every=100) as session:
        advance(session, 1)
        os.kill(os.getpid(), number)
        with pytest.raises(Stopped, match=f"stopped at step 2 of 7; go on with --resume {tmp_path}"):
            advance(session, 1)
    assert load(session.last)["step"] == 2


@pytest.mark.parametrize("name", ["last.pt", "metrics.jsonl"])
def test_a_full_disk_names_the_file_and_what_is_safe(tmp_path, name):
    size = 10_000 if name == "last.pt" else 10
    for steps, kept in (
        (0, "no checkpoint was written yet"),
        (2, rf"last.pt \(step 2\): --resume {tmp_path} goes on from"),
    ):
        with pytest.raises(Failed, match=f"^{tmp_path}/{name}: File too large.*; .*{kept}"), make(tmp_path) as session:
            advance(session, steps)
            with largest_file(size):
                advance(session, 2)
    assert load(session.last)["step"] == 2


SCORES = {"map": 0.5, "rank1": 0.5}


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_scoring_at_once(tmp_path, number):
    reached = []
    said = f"stopped at step 2 of 7, while scoring; --resume {tmp_path} scores what is in"
    with pytest.raises(Stopped, match=said), make(tmp_path, checkpoint_every=100) as session:
        advance(session, 2)
        session.end_steps()
        reached.append(load(session.last)["step"])
        os.kill(os.getpid(), number)
        reached.append("on")
    assert reached == [2]


def test_a_signal_before_the_scoring_ends_it_and_one_that_was_swallowed_does_so_later(tmp_path):
    reached = []
    with pytest.raises(Stopped, match="while scoring"), make(tmp_path / "one", checkpoint_every=100) as session:
        advance(session, 2)
        os.kill(os.getpid(), signal.SIGTERM)
        reached.append("saves")
        session.end_steps()
        reached.append("on")
    assert load(session.last)["step"] == 2
    with pytest.raises(Stopped, match="while scoring"), make(tmp_path / "two") as session:
        session.end_steps()
        with contextlib.suppress(BaseException):  # as in a destructor
            os.kill(os.getpid(), signal.SIGTERM)
        reached.append("swallowed")
        session.note_scores(student=SCORES)
        reached.append("on")
    assert reached == ["saves", "swallowed"] and not read_history(tmp_path / "two" / "metrics.jsonl")


def test_an_interrupt_of_the_scoring_that_became_another_error_is_a_stop(tmp_path):
    with pytest.raises(Stopped, match="while scoring; --resume"), make(tmp_path) as session:
        session.end_steps()
        try:
            os.kill(os.getpid(), signal.SIGINT)
        except KeyboardInterrupt:
            raise RuntimeError("of a library") from None


def spoil(session):
    """What scores and clusters do to a run until they are whole."""
    session.learner.student.neck.running_mean.fill_(7.0)
    torch.rand(3)


def kept(session):
    """Of last.pt: its step, whether the statistics are those of before, and the next random number."""
    state = load(session.last)
    torch.set_rng_state(state["random"])
    return state["step"], not state["student"]["neck.running_mean"].eq(7.0).any(), float(torch.rand(()))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_between_steps_ends_it_at_once_and_keeps_the_step_before(tmp_path, number):
    reached = []
    with (
        pytest.raises(Stopped, match=f"stopped at step 3 of 7; go on with --resume {tmp_path}"),
        make(tmp_path, checkpoint_every=100) as session,
    ):
        advance(session, 3)
        standing = torch.get_rng_state()
        with aside(session):
            spoil(session)
            os.kill(os.getpid(), number)
            reached.append("on")
    torch.set_rng_state(standing)
    following = float(torch.rand(()))
    assert kept(session) == (3, True, following) and not reached


def test_a_signal_before_the_first_step_leaves_nothing_and_one_before_a_step_waits_for_it(tmp_path):
    session = make(tmp_path / "one")
    with pytest.raises(Stopped, match="stopped before the first step"), session, aside(session):
        os.kill(os.getpid(), signal.SIGTERM)
    assert not session.last.exists()
    with pytest.raises(Stopped, match="stopped at step 1 of 7"), make(tmp_path / "two") as session:
        with aside(session):
            pass
        os.kill(os.getpid(), signal.SIGTERM)
        advance(session, 1)
    assert load(session.last)["step"] == 1


@pytest.mark.parametrize("first", [True, False])
def test_where_another_process_is_lost_between_steps_the_first_keeps_the_step_before(tmp_path, monkeypatch, first):
    monkeypatch.setattr(ranks, "first", lambda: first)
    with (
        pytest.raises(ranks.Lost, match=r"\(step 3\)" if first else "no checkpoint was written yet"),
        make(tmp_path, checkpoint_every=100) as session,
    ):
        advance(session, 3)
        with aside(session):
            spoil(session)
            raise ranks.Lost("another of the 2 processes of this run ended")
    assert kept(session)[:2] == (3, True) if first else not session.last.exists()


def test_an_error_between_steps_stays_what_it_is_and_keeps_nothing(tmp_path):
    with pytest.raises(Diverged, match="features"), make(tmp_path, checkpoint_every=100) as session:
        advance(session, 1)
        with aside(session):
            raise Diverged("features")
    assert not session.last.exists()


def test_before_what_has_once_taken_very_long_the_step_is_kept(tmp_path, monkeypatch):
    """It may be what no stop can end, as a k-means."""
    clock = [0.0]
    monkeypatch.setattr(asides, "time", SimpleNamespace(monotonic=lambda: clock[0]))
    with make(tmp_path, checkpoint_every=100) as session:
        for step, seconds in enumerate((asides.PATIENCE, 1.0, 0.0), start=1):
            advance(session, 1)
            with aside(session):
                assert session.saved_step == (0 if step < 3 else 3)
                clock[0] += seconds + (step == 2) * asides.PATIENCE
    assert load(session.last)["step"] == 3


def test_the_end_of_the_first_stage_is_kept_once(tmp_path, monkeypatch):
    with make(tmp_path, checkpoint_every=3) as session:
        advance(session, 2)
        session.end_source()
        assert load(session.last)["step"] == 2
        advance(session, 1)
        monkeypatch.setattr(session, "save", lambda: pytest.fail("written a second time"))
        session.end_source()


def test_scores_logged_again_after_a_resume_stand_once(tmp_path):
    with make(tmp_path) as session:
        advance(session, 2)
        session.note_scores(source=SCORES)
        session.note_scores(student=SCORES, student_camera=SCORES)
    other = make(tmp_path)
    other.restore(load(other.last), lambda: None)
    with other:
        other.note_scores(source=SCORES)
        other.note_scores(student={**SCORES, "map": 0.75}, student_camera=SCORES)
        other.note_scores(teacher=SCORES)
    rows = read_history(tmp_path / "metrics.jsonl")
    assert [(row["step"], *row.get("scores", {})) for row in rows] == [
        (1,), (2,), (2, "source"), (2, "student", "student_camera"), (2, "teacher")
    ]  # fmt: skip
    assert rows[3]["scores"]["student"]["map"] == 0.75


def test_a_loss_that_is_not_finite_is_never_kept(tmp_path):
    with make(tmp_path, log_every=100) as session:
        advance(session, 2)
        with pytest.raises(Diverged, match=r"the loss triplet is not finite at step 3; .*last.pt \(step 2\)"):
            advance(session, 2, loss=torch.tensor(float("nan")))
    assert load(session.last)["step"] == 2


def test_what_is_saved_is_restored(tmp_path):
    with make(tmp_path) as session:
        advance(session, 1)
        with torch.no_grad():
            session.learner.student.classifier.weight.add_(1.0)
        session.note_scores(source={"map": 0.25, "rank1": 0.5})
        torch.manual_seed(7)
        session.save()
        wanted, drawn = session.learner.student.state_dict(), torch.rand(3)
    other = make(tmp_path)
    other.restore(load(other.last), lambda: pytest.fail("the second stage has not begun"))
    assert all(torch.equal(value, wanted[name]) for name, value in other.learner.student.state_dict().items())
    assert (other.learner.step, other.saved_step, other.scores) == (1, 1, session.scores)
    assert torch.equal(torch.rand(3), drawn)


def test_a_state_of_the_second_stage_makes_its_parts_first(tmp_path):
    with make(tmp_path) as session:
        advance(session, 4)
    other, called = make(tmp_path), []
    other.restore(load(other.last), lambda: called.append(other.learner.step))
    assert called == [0] and other.learner.step == 4


def test_another_runs_checkpoint_is_refused(tmp_path):
    with make(tmp_path) as session:
        session.save()
    with pytest.raises(InputError, match="it has identities 3 where this run has 4"):
        make(tmp_path, identities=4).restore(load(tmp_path / "last.pt"), lambda: None)


def test_start_from_takes_the_student_and_with_drop_classifier_not_its_classifier(tmp_path):
    with make(tmp_path / "first") as first:
        with torch.no_grad():
            first.learner.student.trunk.conv1.weight.fill_(0.5)
        first.save()
    with pytest.raises(InputError, match="identities 3 where this run has 4"):
        make(tmp_path / "second", identities=4).start_from(first.last)
    second = make(tmp_path / "second", identities=4)
    own = second.learner.student.classifier.weight.clone()
    second.start_from(first.last, drop_classifier=True)
    assert second.learner.student.trunk.conv1.weight.unique().tolist() == [0.5]
    assert torch.equal(second.learner.student.classifier.weight, own) and second.learner.step == 3


def test_the_best_selected_scores_stay(tmp_path):
    with make(tmp_path) as session:
        for rank1 in (0.25, 0.5, 0.5, 0.125):
            advance(session, 1)
            session.select({"map": 0.5, "rank1": rank1})
        session.select(None)
    assert session.scores["student_selected"] == {"map": 0.5, "rank1": 0.5, "step": 2}
