"""The folder of a run: one process at a time writes in it."""

from __future__ import annotations

import fcntl
import os
import socket
from pathlib import Path
from typing import BinaryIO

from vreid_fast import ranks
from vreid_fast.errors import InputError
from vreid_fast.terminal import say

LOCK = "lock"


class RunFolder:
    """`with RunFolder(path) as folder: folder.open()`: from `open` on it is this process's, until the block ends.

    The lock is the operating system's, on the file `lock` in the folder, so it ends with the process, however that
    ends. The file stays.
    """

    def __init__(self, path: str | Path):
        self.path = Path(path)
        self.held: BinaryIO | None = None

    def __enter__(self) -> RunFolder:
        return self

    def __exit__(self, *_: object) -> None:
        if self.held:
            self.held.close()
            self.held = None

    def open(self, resume: bool = False) -> Path:
        """Make the folder and hold it; of several ranks the first does it. A new run finds it empty: an earlier one is
        moved to PATH-1, PATH-2, ...

        Raises:
            InputError: the folder cannot be made or written, or another process is at it, which is then left alone.
        """
        return ranks.of_first(lambda: self._open(resume))

    def _open(self, resume: bool) -> Path:
        path = self.path
        try:
            path.mkdir(parents=True, exist_ok=True)
            self._hold("--resume" if resume else "--run")
            if not resume and (path / "config.yaml").exists():
                number = next(n for n in range(1, 1_000_000) if not path.with_name(f"{path.name}-{n}").exists())
                aside = path.with_name(f"{path.name}-{number}")
                path.rename(aside)
                say(f"the earlier run in {path} is now in {aside}")
                path.mkdir(exist_ok=True)
                self._hold("--run")
        except OSError as error:
            raise InputError(
                f"--run {path}: cannot be made or written ({error.strerror}); give another folder"
            ) from error
        return path

    def _hold(self, option: str) -> None:
        """Lock the file that is in the folder now: another process may move the folder away in the meantime."""
        name, before = self.path / LOCK, self.held
        while True:
            file = open(name, "a+b")  # noqa: SIM115, open as long as the folder is held
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                with file:
                    file.seek(0)
                    holder = file.read().decode(errors="replace").strip() or "another process"
                raise InputError(
                    f"{option} {self.path}: {holder} is at this run; wait for its end, or give another --run"
                ) from None
            except OSError as error:  # a network drive that knows no locks
                say(f"note: {self.path} cannot be locked ({error.strerror}): start no second run in it")
                file.close()
                return
            if name.exists() and os.path.samestat(os.fstat(file.fileno()), name.stat()):
                break
            file.close()
        file.truncate(0)
        file.write(f"process {os.getpid()} on {socket.gethostname()}\n".encode())
        file.flush()
        self.held = file
        if before:
            before.close()


def is_held(path: str | Path) -> bool:
    """Whether a process is at the run in a folder, this one included."""
    try:
        with open(Path(path) / LOCK, "rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:  # no such file, or a drive that knows no locks
        pass
    return False
