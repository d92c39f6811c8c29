"""What takes long between two steps, or within one: who asks for a stop does not wait for it, and no step is lost."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial

from vreid_fast import ranks

from .session import Session
from .standing import Standing

PATIENCE = 20.0
"""Seconds: who asks for a stop kills what has not ended after some more, torchrun and Slurm after 30."""


@contextmanager
def aside(session: Session) -> Iterator[None]:
    """Around scores, or clusters, between two steps: a stop ends it at once, and the step before it is what is kept.

    Within, nothing changes of what a checkpoint holds but batch-norm statistics; or this step was kept before.

    Raises:
        Stopped: Ctrl-C or SIGTERM; the checkpoint is written, but before the first step.
    """
    with retractable(session) as stoppable, stoppable():
        yield


@contextmanager
def retractable(session: Session) -> Iterator[Callable[[], AbstractContextManager]]:
    """Around a step that clusters the target; gives what is entered around the clusters alone. There a stop ends the
    step at once, as if it had not begun.

    From here to the end of the clusters nothing changes of what a checkpoint holds but batch-norm statistics, and what
    the same step, done again, changes to the same.

    Raises:
        Stopped: as of `aside`.
    """
    # What no stop can end, as k-means on a GPU: where it has once taken very long, the step before it is kept first.
    if ranks.of_first(lambda: session.longest > PATIENCE) and session.saved_step < session.learner.step:
        session.check()
        session.save()
    started = time.monotonic()
    yield partial(_stoppable, session, Standing(session.learner.normed(), session.learner.device))
    session.longest = max(session.longest, time.monotonic() - started)


@contextmanager
def _stoppable(session: Session, before: Standing) -> Iterator[None]:
    """A stop ends what is within, wherever each rank stands in it.

    Args:
        before: what a checkpoint of the step before holds.
    """
    stop = session.stop
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
        if ranks.first() and session.saved_step < session.learner.step:
            before.put_back()
            session.check()
            session.write(before.chance)
        if not stop:
            raise
        raise session.stopped() from None
