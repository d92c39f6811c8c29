"""metrics.jsonl, the watch for NaN losses, and rows after a resume."""

import json

import pytest
import torch

from vreid_fast.errors import Diverged, InputError
from vreid_fast.training.logbook import Logbook, read_history


@pytest.fixture
def log(tmp_path):
    book = Logbook(tmp_path, start=0, total=10, every=2)
    yield book
    book.close()


def losses(value=1.0):
    return {"l1s": torch.tensor(value), "total": torch.tensor(2.0)}


def test_a_row_every_so_many_steps(log):
    for step in range(1, 6):
        log.step("source", step, losses(), {"learning_rate": 0.1}, clips=16)
    rows = read_history(log.path)
    assert [row["step"] for row in rows] == [2, 4]
    assert rows[0]["losses"] == {"l1s": 1.0} and rows[0]["loss"] == 2.0 and rows[0]["learning_rate"] == 0.1
    assert rows[0]["stage"] == "source" and rows[0]["clips_per_second"] > 0


def test_the_first_bad_step_and_term_are_named(log):
    log.step("adapt", 1, losses(), {}, clips=1)
    with pytest.raises(Diverged, match="the loss l1s is not finite at step 3"):
        for step, value in ((2, 1.0), (3, float("nan")), (4, float("inf"))):
            log.step("adapt", step, losses(value), {}, clips=1)


def test_flush_finds_what_no_row_has_read_yet(log):
    log.step("adapt", 1, losses(float("inf")), {}, clips=1)
    with pytest.raises(Diverged, match="step 1"):
        log.flush()


def test_resume_drops_rows_after_the_checkpoint_and_goes_on_counting_time(tmp_path):
    rows = [{"stage": "source", "step": step, "seconds": 10.0 * step} for step in (2, 4, 6)]
    (tmp_path / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows) + '{"stage": "cut sho')
    log = Logbook(tmp_path, start=4, total=10, every=2)
    assert [row["step"] for row in read_history(log.path)] == [2, 4]
    assert log.seconds() >= 40.0
    log.close()


def test_scores_are_rows_too(log):
    log.scores("source", 4, {"source": {"map": 0.3, "rank1": 0.4, "cmc": [0.4, 0.5]}})
    assert read_history(log.path)[0]["scores"] == {"source": {"map": 0.3, "rank1": 0.4}}


def test_groups_of_scalars_are_logged_by_name(log, tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    scalars = {"weights": {"l1s": torch.tensor(0.5), "l2s": 1.0}, "clusters": torch.tensor(7), "gradient_norms": {}}
    log.step("adapt", 2, losses(), scalars, clips=1)
    (row,) = read_history(log.path)
    assert row["weights"] == {"l1s": 0.5, "l2s": 1.0} and row["clusters"] == 7.0 and row["gradient_norms"] == {}
    log.board.flush()
    board = EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    assert {"weights/l1s", "weights/l2s", "losses/l1s", "loss", "clusters"} <= set(board.Tags()["scalars"])
    assert board.Scalars("weights/l1s")[0].value == 0.5


def test_scalars_are_read_only_when_a_row_is_written(log):
    class Unread:
        def __float__(self):
            raise AssertionError("read")

    log.step("adapt", 1, losses(), {"weights": {"l1s": Unread()}}, clips=1)
    with pytest.raises(AssertionError, match="read"):
        log.step("adapt", 2, losses(), {"weights": {"l1s": Unread()}}, clips=1)


@pytest.mark.parametrize("line", [b"5", b"\xff", b'{"step": 1', b'{"stage": "source", "step": "1", "seconds": 1}'])
def test_a_line_that_is_no_row_is_named_and_rows_behind_it_are_not_lost_in_silence(tmp_path, line):
    row = json.dumps({"stage": "source", "step": 1, "seconds": 1.0}).encode()
    path = tmp_path / "metrics.jsonl"
    path.write_bytes(row + b"\n" + line + b"\n" + row + b"\n")
    with pytest.raises(InputError, match=f"{path}, line 2: wanted an object of JSON .*; take the line out"):
        read_history(path)
    path.write_bytes(row + b"\n\n" + row + b"\n" + line)
    assert len(read_history(path)) == 2


@pytest.mark.parametrize("more", ['"losses": 3', '"scores": []', '"scores": ' + "[" * 100_000])
def test_a_row_with_groups_that_are_none_is_named(tmp_path, more):
    row = '{"stage": "source", "step": 1, "seconds": 1.0, ' + more + "}\n"
    (tmp_path / "metrics.jsonl").write_text(row + row.replace(more, '"losses": {}'))
    with pytest.raises(InputError, match="metrics.jsonl, line 1: wanted an object of JSON"):
        read_history(tmp_path / "metrics.jsonl")
