"""What the processes of a run tell each other beside the collectives: who has come, who speaks, who is late."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from typing import Any

PATIENCE = timedelta(seconds=10)
"""How long a rank waits for another's last words."""


class RankStore:
    """Words of the ranks of one start, and of all ranks that torchrun starts, one set after another.

    Args:
        found: torch's store, which torchrun holds.
        rank, size: this one's number, and how many there are.
        start: how often torchrun started them anew.
    """

    def __init__(self, found: Any, rank: int, size: int, start: int):
        from torch.distributed import PrefixStore

        self.of_job, self.rank, self.size = found, rank, size
        self.of_start = PrefixStore(f"start_{start}", found)
        """Without what those wrote that are gone."""

    def begin(self) -> None:
        """From now on there is something that ranks which are started anew can go on with."""
        self.of_job.set("begun", "")

    def begun(self) -> bool:
        return self.of_job.check(["begun"])

    def late(self, word: str) -> list[int]:
        """Ranks that have not said the word."""
        return [rank for rank in range(self.size) if not self.of_start.check([f"{word} {rank}"])]

    def meet(self, seconds: float) -> list[int]:
        """Wait until all have come; returns those who have not within so many seconds.

        torch waits in its library, where no signal is seen; here one ends it.
        """
        self.of_start.set(f"came {self.rank}", "")
        until = time.monotonic() + seconds
        while (late := self.late("came")) and time.monotonic() < until:
            time.sleep(0.02)
        return late

    @contextmanager
    def one_voice(self) -> Iterator[bool]:
        """See `ranks.one_voice`."""
        mine = True
        with suppress(RuntimeError):  # of a store that has ended with its rank
            mine = self.of_start.add("speaker", 1) == 1
            if not mine:
                self.of_start.wait(["said"], PATIENCE)
        yield mine
        if mine:
            with suppress(RuntimeError):
                self.of_start.set("said", "")

    def missed(self, timed_out: bool) -> list[int]:
        """After a collective that failed: ranks that others have waited for too long, as far as is known.

        The first whose time is out breaks the connections of all, and they come here. So who does not come is late.
        """
        with suppress(RuntimeError):  # of a store that has ended with its rank
            self.of_start.set(f"here {self.rank}", "")
            if timed_out:
                self.of_start.set("timed out", "")
                time.sleep(2)
            else:
                self.of_start.wait(["timed out"], timedelta(seconds=1))
                time.sleep(1)
            return self.late("here")
        return []
