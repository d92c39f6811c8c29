"""What ends a command: the exceptions that are told to a user in a line, and the exit codes they become."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Protocol

from .extras import EXTRAS, said
from .interrupt import CODE, Interrupts
from .rights import private
from .terminal import STDOUT, connected, one_line, say

NO_READER = 141
"""Exit code of a command that nobody reads on: what the shell says of one that SIGPIPE ended."""


class InputError(ValueError):
    """Something the user gave is wrong: a knob, a path, a file, a checkpoint.

    The message names the thing, what was wanted, what came and what to do. The command lines
    print it as one line and exit with 2; anything else is a bug and keeps its traceback.
    What it quotes from a file may hold anything: see `one_line`.
    """

    def __str__(self) -> str:
        return one_line(super().__str__())


class Failed(RuntimeError):
    """What was asked for was begun and could not be finished; the message says why and what is left."""


class Diverged(Failed):
    """A loss, a weight or a feature became infinite or not a number; the message names it, and in training the step
    and the last good checkpoint."""


class Stopped(Exception):
    """The user stopped the run; the message says where it can go on."""


def of_disk(error: OSError) -> str:
    """An error of a file in words: the file, and what is the matter with it."""
    return one_line(f"{error.filename}: {error.strerror}" if error.filename and error.strerror else str(error))


class Together(Protocol):
    """What `exit_code` asks of the module `ranks`, which stands above this one."""

    def joined(self) -> AbstractContextManager[None]: ...

    def one_voice(self) -> AbstractContextManager[bool]: ...


def exit_code(work: Callable[[], int | None], stopped: str = "stopped", together: Together | None = None) -> int:
    """The exit code of a command: what its work returns (None = 0), 2 after an error, 130 after Ctrl-C or SIGTERM,
    141 where it only prints and nobody reads on. What the work writes, its owner alone can read.

    Args:
        work: the command, after its words are known.
        stopped: said after a stop where the work has not said more.
        together: `ranks`, for a command that several processes can do together; None = they are refused.
    """
    voice = nullcontext(True) if together is None else together.one_voice()
    with connected():
        interrupts = Interrupts(stopped)
        try:
            with interrupts, private():
                if together is None:
                    _refuse_several_processes()
                with nullcontext() if together is None else together.joined():
                    return work() or 0
        except (Stopped, KeyboardInterrupt) as stop:
            with voice as mine:
                if mine:
                    say(str(stop) or stopped)
            return CODE
        except _OneOfMany:
            return 2
        except Exception as error:
            if interrupts.raised:
                with voice as mine:
                    if mine:
                        say(stopped)
                return CODE
            if isinstance(error, BrokenPipeError) and error.filename == STDOUT:
                return NO_READER
            if isinstance(error, ModuleNotFoundError) and (why := _not_installed(error.name)):
                print("error:", why, file=sys.stderr)
                return 2
            if not isinstance(error, (InputError, Failed, OSError)):
                raise
            # In one line, but for the end of a log that an error has below it.
            lines = [of_disk(error)] if isinstance(error, OSError) else map(one_line, str(error).split("\n"))
            with voice as mine:
                if mine:
                    print("error:", "\n".join(lines), file=sys.stderr)
            return 2


def _not_installed(module: str | None) -> str | None:
    """What is said of a module that an extra of this package brings."""
    name = (module or "").partition(".")[0]
    return said(name) if name in EXTRAS else None


class _OneOfMany(Exception):
    """What the first of several processes says is enough."""


def _refuse_several_processes() -> None:
    """Refuse what torchrun and the like start several times: each would do all of it, into one folder."""
    processes = os.environ.get("WORLD_SIZE", "")
    if not processes.isdecimal() or int(processes) <= 1:
        return
    if os.environ.get("RANK", "0") != "0":
        raise _OneOfMany
    raise InputError(
        f"started as {processes} processes (WORLD_SIZE={processes}), as by torchrun; wanted one: this command "
        "works in one process, on one GPU; start it with python -m, or unset WORLD_SIZE"
    )
