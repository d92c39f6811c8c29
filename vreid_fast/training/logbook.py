"""What a run says while it trains: progress bar, metrics.jsonl, TensorBoard, and the watch for NaN losses."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from vreid_fast import ranks
from vreid_fast.errors import Diverged, InputError
from vreid_fast.files import append_text, write_text
from vreid_fast.terminal import progress_bar

from .board import Board

Scalars = dict[str, float | Tensor | Mapping[str, float | Tensor]]


class Logbook:
    """Collects scalars on the device and reads them every `every` steps, so that a step costs no synchronisation.
    Of several ranks the first writes; the others watch alone.

    Args:
        run: folder of metrics.jsonl and the TensorBoard files.
        start: step to begin at; rows of later steps, left by a run that went on after its last checkpoint,
            are dropped. Scores of this step may have been logged after the checkpoint: those that are logged
            again take the place of the row that is there.
        total: steps of the whole run.
        every: steps between two rows.
    """

    def __init__(self, run: Path, start: int, total: int, every: int):
        self.path = run / "metrics.jsonl"
        rows = [row for row in read_history(self.path) if row["step"] <= start]
        self._rewrite(rows)
        self.scored = {_scored(row) for row in rows if "scores" in row}
        self.seconds_before = rows[-1]["seconds"] if rows else 0.0
        self.every = every
        self.board = Board(run / "tensorboard" if ranks.first() else None, start + 1)
        self.bar = progress_bar(
            total=total, initial=start, unit="step", dynamic_ncols=True, delay=0.5, disable=not ranks.first()
        )
        self.started = self.window_started = time.perf_counter()
        self.window_clips = self.clips = 0
        self.training_seconds = 0.0
        self.pending: list[tuple[int, dict[str, Tensor], dict[str, Tensor]]] = []

    def seconds(self) -> float:
        """Seconds of training so far, those before a resume included."""
        return self.seconds_before + time.perf_counter() - self.started

    def clips_per_second(self) -> float:
        """Clips trained on per second of training, since the start or the resume; evaluation left out."""
        return self.clips / max(self.training_seconds, 1e-9)

    def step(
        self,
        stage: str,
        step: int,
        losses: dict[str, Tensor],
        scalars: Scalars,
        clips: int,
        watched: Mapping[str, Tensor] | None = None,
    ) -> None:
        """Note one step.

        Args:
            step: steps done so far, this one included.
            losses: scalar tensors by name; "total" is the one that was minimised.
            scalars: other numbers to log, such as the learning rate, and groups of them by name; read from the
                device when a row is written.
            clips: clips that the step trained on.
            watched: other scalars that must be finite, by what they are of; not logged.

        Raises:
            Diverged: a loss, or what is watched, since the last row is not finite.
        """
        losses = {name: loss.detach() for name, loss in losses.items()}
        self.pending.append((step, losses, dict(watched or {})))
        self.window_clips += clips
        self.bar.update()
        if step % self.every == 0:
            self.flush()
            self._write(stage, step, losses, scalars)

    def flush(self) -> None:
        """Read what is pending from the device.

        Raises:
            Diverged: one of the losses, or of what is watched, is not finite; the first step and its terms are named.
        """
        pending, self.pending = self.pending, []
        if not pending:
            return
        finite = torch.stack(
            [torch.stack([*terms.values(), *watched.values()]).isfinite().all() for _, terms, watched in pending]
        ).tolist()
        if all(finite):
            return
        step, terms, watched = pending[finite.index(False)]
        spoiled = [name for name, value in watched.items() if not value.isfinite()]
        if spoiled:
            raise Diverged(f"the {', '.join(spoiled)} are not finite at step {step}")
        bad = [name for name, loss in terms.items() if not loss.isfinite()]
        named = [name for name in bad if name != "total"] or bad
        raise Diverged(f"the loss {', '.join(named)} is not finite at step {step}")

    def _write(self, stage: str, step: int, losses: dict[str, Tensor], scalars: Scalars) -> None:
        values = {name: float(value) for name, value in losses.items()}
        others = {name: _numbers(value) for name, value in scalars.items()}
        now = time.perf_counter()
        row: dict[str, Any] = {
            "stage": stage,
            "step": step,
            "seconds": round(self.seconds(), 3),
            "clips_per_second": round(self.window_clips / max(now - self.window_started, 1e-9), 1),
            "loss": values.pop("total"),
            "losses": values,
            **others,
        }
        self.training_seconds += now - self.window_started
        self.clips += self.window_clips
        self.window_started, self.window_clips = now, 0
        self.append(row)
        for name in ("losses", "loss", "clips_per_second", *others):
            if isinstance(row[name], dict):
                for part, value in row[name].items():
                    self.board.add(f"{name}/{part}", value, step)
            else:
                self.board.add(name, row[name], step)
        shown = {name: f"{value:.3f}" for name, value in values.items()}
        self.bar.set_description_str(stage, refresh=False)
        self.bar.set_postfix({**shown, "lr": f"{others.get('learning_rate', 0):.1e}",
                              "clips/s": f"{row['clips_per_second']:.0f}"}, refresh=False)  # fmt: skip

    def scores(self, stage: str, step: int, scores: dict[str, dict]) -> None:
        """Note the scores of an evaluation, by name of what was scored."""
        numbers = {
            name: {key: value for key, value in score.items() if isinstance(value, (int, float))}
            for name, score in scores.items()
        }
        row = {"stage": stage, "step": step, "seconds": round(self.seconds(), 3), "scores": numbers}
        if _scored(row) in self.scored:
            self._rewrite([other for other in read_history(self.path) if _scored(other) != _scored(row)])
        self.scored.add(_scored(row))
        self.append(row)
        for name, score in numbers.items():
            self.board.add(f"scores/{name}_map", score["map"], step)
        self.window_started = time.perf_counter()

    def _rewrite(self, rows: list[dict]) -> None:
        if ranks.first():
            write_text(self.path, "".join(json.dumps(row) + "\n" for row in rows))

    def append(self, row: dict) -> None:
        if ranks.first():
            append_text(self.path, json.dumps(row) + "\n")

    def close(self) -> None:
        self.bar.close()
        self.board.close()


def _scored(row: dict) -> tuple | None:
    """What a row of scores is about; None for a row of losses."""
    return (row["stage"], row["step"], *sorted(row["scores"])) if "scores" in row else None


def _numbers(value: float | Tensor | Mapping[str, float | Tensor]) -> float | dict[str, float]:
    return {name: float(part) for name, part in value.items()} if isinstance(value, Mapping) else float(value)


def read_history(path: Path) -> list[dict]:
    """The rows of a metrics.jsonl; none where there is no file. A last line cut short is left out.

    Raises:
        InputError: another line that is no row, with its number.
    """
    if not path.is_file():
        return []
    *lines, last = path.read_bytes().split(b"\n")
    rows = [_row(line) if line.strip() else {} for line in lines]
    if None in rows:
        number = rows.index(None)
        raise InputError(
            f"{path}, line {number + 1}: wanted an object of JSON with stage, step and seconds, found "
            f"{lines[number][:40].decode(errors='backslashreplace')!r}; take the line out: nothing but the curves "
            "needs it"
        )
    return [row for row in (*rows, _row(last)) if row]


def _row(line: bytes) -> dict | None:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError):
        return None
    kinds = {"stage": str, "step": int, "seconds": int | float}
    if not isinstance(row, dict) or not all(isinstance(row.get(k), kind) for k, kind in kinds.items()):
        return None
    groups = [row.get(name, {}) for name in ("losses", "scores", "weights", "gradient_norms")]
    return row if all(isinstance(group, dict) for group in groups) else None
