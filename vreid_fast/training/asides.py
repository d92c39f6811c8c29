"""What takes long between two steps, or within one: who asks for a stop does not wait for it, and no step is lost."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from vreid_fast import ranks

from .session import Session
from .standing import Standing

PATIENCE = 20.0
"""Seconds: who asks for a stop kills what has not ended after some more, torchrun and Slurm after 30."""


@contextmanager
def aside(session: Session) -> Iterator[None]:
    """Around scores, or clusters, between two steps: a stop ends it at once, wherever each rank stands in it, and the
    step before it is what is kept.

    Within, nothing changes of what a checkpoint holds but batch-norm statistics; or this step was kept before.

    Raises:
        Stopped: Ctrl-C or SIGTERM; the checkpoint is written, but before the first step.
    """
    stop, learner = session.stop, session.learner
    with unstoppable(session):
        before = Standing(learner.networks().values(), learner.device)
        try:
            stop.at_once()
            yield
            stop.after_step()
            ranks.anyone(bool(stop))  # who has left within is missed here, and not in a step
        except BaseException as error:
            stop.after_step()
            if not stop and not isinstance(error, ranks.Lost):
                raise
            # The others may be anywhere, so the first asks none of them.
            if ranks.first() and session.saved_step < learner.step:
                before.put_back()
                session.check()
                session.write(before.chance)
            if not stop:
                raise
            raise session.stopped() from None


@contextmanager
def unstoppable(session: Session) -> Iterator[None]:
    """Around what no stop can end, as a single k-means: where it has once taken very long, the step before it is kept
    first."""
    if ranks.of_first(lambda: session.longest > PATIENCE) and session.saved_step < session.learner.step:
        session.check()
        session.save()
    started = time.monotonic()
    yield
    session.longest = max(session.longest, time.monotonic() - started)
