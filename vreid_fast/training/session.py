"""A run in progress: its folder, its steps, its checkpoints."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from torch import Tensor

from vreid_fast import ranks
from vreid_fast.config.groups import RunKnobs, StageKnobs
from vreid_fast.device import Precision
from vreid_fast.errors import Diverged, Failed, Stopped, of_disk
from vreid_fast.interrupt import StopRequest
from vreid_fast.models.state import not_finite

from . import checkpoint
from .checkpoint_checks import ENTRIES, NEWER, check_there, reading
from .learner import Learner
from .logbook import Logbook, Scalars
from .rank_agreement import different
from .resume import DATA, take_student
from .standing import chance, set_chance

ECHO = 3.0
"""Seconds within which torchrun passes on to each rank the signal that the rank was sent too."""


class Session:
    """A learner in its folder: log, checkpoints and clean stops.

    Args:
        folder: of the run.
        network, frames, identities: the network's name, T and people in the source; a checkpoint with others is
            refused.
        config, data: flat knobs of the run and fingerprint of its data, kept in each checkpoint.
    """

    log: Logbook
    """Open within `with session`."""

    def __init__(
        self,
        folder: Path,
        learner: Learner,
        precision: Precision,
        stages: StageKnobs,
        run: RunKnobs,
        *,
        network: str,
        frames: int,
        identities: int,
        config: dict,
        data: str,
    ):
        self.folder, self.learner, self.precision, self.stages, self.run = folder, learner, precision, stages, run
        self.signature = {"network": network, "frames": frames, "identities": identities}
        """What a checkpoint must share with this run."""
        self.config, self.data = config, data
        self.total = stages.source_steps + (stages.adapt_steps if stages.stages == "both" else 0)
        self.scores: dict[str, dict] = {}
        self.before: Tensor | None = None
        """(N, D) features of the report's map, before adaptation; None = that has not begun."""
        self.finished = False
        self.stop = StopRequest(echo=ECHO if ranks.several() else 0.0)
        self.saved_step = 0
        self.longest = 0.0
        """Seconds of the longest work so far that was not steps, see `asides`."""

    @property
    def last(self) -> Path:
        return self.folder / "last.pt"

    @property
    def stage(self) -> str:
        """Stage of the next step."""
        return "source" if self.learner.step < self.stages.source_steps else "adapt"

    def __enter__(self) -> Session:
        self.log = Logbook(self.folder, self.learner.step, self.total, self.run.log_every)
        self.stop.__enter__()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, *trace: object) -> None:
        self.stop.__exit__(kind, error, *trace)
        self.log.close()
        # On its way through a library an interrupt may have become another error.
        if error is not None and self.stop.immediate and self.stop.requested:
            raise Stopped(
                f"stopped at step {self.learner.step} of {self.total}, while scoring; "
                f"--resume {self.folder} scores what is in {self.last}"
            ) from None
        if isinstance(error, ranks.Lost):
            raise ranks.Lost(f"after step {self.learner.step}: {error}; {self.kept()}") from error
        if isinstance(error, OSError):
            raise Failed(f"{of_disk(error)}; {self.kept()}") from error

    def kept(self) -> str:
        """What can be gone on from, in words."""
        if not self.saved_step:
            return "no checkpoint was written yet"
        return (
            f"the last good checkpoint is {self.last} (step {self.saved_step}): --resume {self.folder} goes on from it"
        )

    def diverged(self, reason: str) -> Diverged:
        """The error of a run that diverged: why, what is left of it, and what may help."""
        rate = "source_lr" if self.learner.step <= self.stages.source_steps else "adapt_lr"
        return Diverged(f"{reason}; {self.kept()}; a lower --{rate} or --precision fp32 may help")

    @contextmanager
    def watching(self, what: str) -> Iterator[None]:
        """Within, Diverged says of what network and at which step, and what is left of the run."""
        try:
            yield
        except Diverged as error:
            raise self.diverged(f"the {what} diverged by step {self.learner.step}: {error}") from None

    def check(self) -> None:
        """Look whether all losses so far, and all that learns, are finite; waits for the device.

        Raises:
            Diverged: naming the step and what is not.
        """
        try:
            self.log.flush()
        except Diverged as error:
            raise self.diverged(str(error)) from None
        name = not_finite(self.learner.tensors())
        if name:
            raise self.diverged(f"diverged at step {self.learner.step}: {name} is not finite")

    def advance(
        self, losses: dict[str, Tensor], scalars: Scalars, clips: int, watched: Mapping[str, Tensor] | None = None
    ) -> None:
        """A step is done: count and log it; save and stop where it is time to.

        Args:
            losses: what was minimised as "total", and its terms by name.
            scalars: other numbers to log.
            clips: clips that the loss was computed from.
            watched: other scalars that must be finite, by what they are of.

        Raises:
            Diverged: a loss, or what is watched, is not finite; or, before a checkpoint is written, a weight.
            Stopped: Ctrl-C or SIGTERM; the checkpoint is written.
        """
        learner, stage = self.learner, self.stage
        learner.step += 1
        to_save = learner.step % self.run.checkpoint_every == 0
        try:
            self.log.step(stage, learner.step, losses, scalars, clips, watched)
        except Diverged as error:
            raise self.diverged(str(error)) from None
        stopping = ranks.anyone(bool(self.stop))
        if to_save or stopping:
            self.check()
            self.save()
        if stopping:
            raise self.stopped()

    def stopped(self) -> Stopped:
        """The error of a run that was asked to stop, and did so after a step."""
        if not self.learner.step:
            return Stopped("stopped before the first step; nothing was learned yet, so begin anew")
        return Stopped(f"stopped at step {self.learner.step} of {self.total}; go on with --resume {self.folder}")

    def end_source(self) -> None:
        """The first stage is done, and its network is fit to be scored: write a checkpoint, so that what comes before
        the second may be ended anywhere."""
        if self.saved_step < self.learner.step:
            self.save()

    def end_steps(self) -> None:
        """The last step is done: write a checkpoint. What follows is scoring, which Ctrl-C or SIGTERM ends at once:
        `with session` then raises Stopped, and a resume has nothing but the scoring to do."""
        self.check()
        self.save()
        self.stop.at_once()

    def note_scores(self, **scores: dict | None) -> None:
        """Keep and log scores by name of what was scored; None where the target has none to give."""
        self.stop.check()
        known = {name: score for name, score in scores.items() if score is not None}
        self.scores.update(known)
        stage = "source" if self.learner.step <= self.stages.source_steps else "adapt"
        self.log.scores(stage, self.learner.step, known)

    def select(self, scores: dict | None) -> None:
        """Keep the scores of this step as `student_selected` if none before had a higher rank-1."""
        best = self.scores.get("student_selected")
        if scores is not None and (best is None or scores["rank1"] > best["rank1"]):
            self.note_scores(student_selected={**scores, "step": self.learner.step})

    def finish(self) -> None:
        """Write the last checkpoint, whose batch-norm statistics are those that were scored."""
        self.stop.check()
        self.check()
        self.finished = True
        self.save()

    def save(self) -> None:
        """Write last.pt: all that `restore` needs to go on bit for bit, with any number of processes.

        Raises:
            Failed: the processes of the run, which compute the same, have come apart.
        """
        if name := different(self.learner.state_dict()):
            raise Failed(
                f"step {self.learner.step}: {name} is not the same in all processes of this run; {self.kept()}"
            )
        ranks.of_first(lambda: self.write(chance(self.learner.device)))
        self.saved_step = self.learner.step

    def write(self, random: dict) -> None:
        """Write last.pt without asking the other processes; `random` is what `chance` returned."""
        state = {
            "config": self.config,
            DATA: self.data,
            **self.signature,
            "scores": self.scores,
            "before": self.before,
            "finished": self.finished,
            **random,
            "scaler": self.precision.scaler.state_dict(),
            **self.learner.state_dict(),
        }
        checkpoint.save(self.last, state)
        self.saved_step = self.learner.step

    def start_from(self, path: str, drop_classifier: bool = False) -> None:
        """Begin the second stage with the student of another run's checkpoint.

        Args:
            drop_classifier: keep this run's own, new classifier, as for another number of identities.

        Raises:
            InputError: no checkpoint, a damaged one, or one of another network or number of identities.
        """
        take_student(path, self.learner.student, self.signature, drop_classifier)
        self.learner.step = self.stages.source_steps

    def restore(self, state: dict, start_adaptation: Callable[[], None]) -> None:
        """Take up the state of a checkpoint of this run, as `resume.read_state` gives it.

        Args:
            start_adaptation: called first where the state has parts of the second stage, to make them.

        Raises:
            InputError: it is of another network or number of people.
        """
        checkpoint.check_same(self.last, state, **self.signature)
        check_there(self.last, state, *(name for name in ENTRIES if name not in NEWER))
        if state["step"] > self.stages.source_steps or state["before"] is not None:
            start_adaptation()
        with reading(self.last):
            self.learner.load_state_dict(state)
            self.precision.scaler.load_state_dict(state["scaler"])
            set_chance(state, self.learner.device)
        self.scores, self.before, self.finished = state["scores"], state["before"], state["finished"]
        self.saved_step = self.learner.step
