"""What ends a command: the exceptions that are told to a user in a line, and the exit codes they become."""

from __future__ import annotations

import io
import os
import re
import sys
from collections.abc import Callable

from .interrupt import sigterm_interrupts

LONGEST = 3000
"""Characters of an error; a path may have 4096 bytes, and few have more than a tenth of it."""


class InputError(ValueError):
    """Something the user gave is wrong: a knob, a path, a file, a checkpoint.

    The message names the thing, what was wanted, what came and what to do. The command lines
    print it as one line and exit with 2; anything else is a bug and keeps its traceback.
    What it quotes from a file may hold anything: line ends become blanks, other control characters escapes, and
    the middle of a very long message is left out.
    """

    def __str__(self) -> str:
        line = re.sub(r"\s*[\r\n\v\f\x1c-\x1e\x85\u2028\u2029]\s*", " ", super().__str__())
        line = re.sub(r"[\x00-\x08\x0e-\x1b\x1f\x7f-\x9f]", lambda found: ascii(found[0])[1:-1], line)
        return line if len(line) <= LONGEST else f"{line[: LONGEST * 2 // 3]} ... {line[-LONGEST // 3 :]}"


class Failed(RuntimeError):
    """What was asked for was begun and could not be finished; the message says why and what is left."""


class Diverged(Failed):
    """A loss, a weight or a feature became infinite or not a number; the message names it, and in training the step
    and the last good checkpoint."""


class Stopped(Exception):
    """The user stopped the run; the message says where it can go on."""


def of_disk(error: OSError) -> str:
    """An error of a file in words: the file, and what is the matter with it."""
    return f"{error.filename}: {error.strerror}" if error.filename and error.strerror else str(error)


def exit_code(work: Callable[[], int | None], stopped: str = "stopped") -> int:
    """The exit code of a command: what its work returns (None = 0), 2 after an error, 130 after Ctrl-C or SIGTERM.

    Args:
        work: the command, after its words are known.
        stopped: said after a stop where the work has not said more.
    """
    if isinstance(sys.stdout, io.TextIOWrapper):
        # A name of bytes that are no UTF-8 is shown with these as \udcff; it is no reason to end.
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        with sigterm_interrupts():
            _refuse_several_processes()
            return work() or 0
    except _OneOfMany:
        return 2
    except (InputError, Failed, OSError) as error:
        # In one line: what an error quotes, also of a disk, may hold anything and be of any length.
        line = InputError(of_disk(error) if isinstance(error, OSError) else str(error))
        print(f"error: {line}", file=sys.stderr)
        return 2
    except (Stopped, KeyboardInterrupt) as stop:
        print(str(stop) or stopped)
        return 130


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
        f"started as {processes} processes (WORLD_SIZE={processes}), as by torchrun; wanted one: a command works "
        "in one process, on one GPU; start it with python -m, or unset WORLD_SIZE"
    )
