"""Where text meets the terminal: nothing in it moves the cursor, any encoding will do, and its reader may go away."""

from __future__ import annotations

import io
import os
import re
import select
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any, TextIO

STDOUT = "standard output"
LONGEST = 3000
"""Characters of a line; a path may have 4096 bytes, and few have more than a tenth of it."""
LONGEST_WORD = 600
"""Characters without a blank between them, as a name from a file may have millions."""

_LINE_ENDS = re.compile(r"\s*[\r\n\v\f\x1c-\x1e\x85\u2028\u2029]\s*")
# And what turns the direction of the text that follows.
_CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069]")


def visible(text: str) -> str:
    r"""The text with control characters as escapes, such as \x1b; line ends \n and tabs stay."""
    return _CONTROLS.sub(lambda found: ascii(found[0])[1:-1], text)


def one_line(text: str) -> str:
    """A text that may quote anything, on one line of the terminal.

    Line ends become blanks, other control characters escapes, and the middle of what is very long is left out.
    """
    line = visible(_LINE_ENDS.sub(" ", text))
    line = re.sub(rf"\S{{{LONGEST_WORD},}}", lambda word: _shortened(word[0], LONGEST_WORD), line)
    return _shortened(line, LONGEST)


def say(*lines: str) -> None:
    """Print each as `one_line`: what is said may have names from files in it."""
    for line in lines:
        print(one_line(line))


def progress_bar(iterable: Iterable | None = None, **options: Any) -> Any:
    """A bar of tqdm on standard error; arguments as of tqdm."""
    from tqdm import tqdm

    stream = _Unescaped(sys.stderr) if isinstance(sys.stderr, _Terminal) else None
    return tqdm(iterable, file=stream, **options)


def end_with_reader() -> None:
    """From here on the command only prints, so it ends where nobody reads on (BrokenPipeError) or nothing can be
    written (OSError). All others go on: what they are for is in files."""
    if isinstance(sys.stdout, _Terminal):
        sys.stdout.output.needed = True


def fill_descriptors() -> None:
    """Open what of standard input, output and error is closed, or the first files of a run would take their place."""
    while (number := os.open(os.devnull, os.O_RDWR)) <= 2:
        pass
    os.close(number)


@contextmanager
def connected() -> Iterator[None]:
    """Within it the process's own standard output and error are as this module says; others are left alone."""
    before = sys.stdout, sys.stderr
    if sys.stdout is sys.__stdout__:
        sys.stdout = _open(STDOUT, 1, before[0])
    if sys.stderr is sys.__stderr__:
        sys.stderr = _open("standard error", 2, before[1])
    try:
        yield
    finally:
        for stream in (sys.stdout, sys.stderr):
            if isinstance(stream, _Terminal):
                stream.output.needed = False
                stream.flush()
        sys.stdout, sys.stderr = before


class _Output(io.FileIO):
    """A descriptor; what is written after it failed, as its reader went away, is dropped."""

    needed = False
    """The command is of no use without it: then its error is raised."""
    lost = False

    def __init__(self, title: str, number: int):
        super().__init__(number, "w", closefd=False)
        self.title = title

    def write(self, data: Any) -> int:
        if self.lost:
            return len(data)
        try:
            while (count := super().write(data)) is None:  # of a terminal that does not wait
                select.select([], [self], [])
            return count
        except OSError as error:
            self.lost = True
            if self.needed:
                raise OSError(error.errno, error.strerror, self.title) from None
            if self.title == STDOUT:
                print(f"note: {self.title}: {error.strerror}; the command goes on without it", file=sys.stderr)
            return len(data)


class _Terminal(io.TextIOWrapper):
    """Text to a descriptor, line by line, as this module says."""

    def __init__(self, output: _Output, encoding: str):
        super().__init__(io.BufferedWriter(output), encoding, errors="backslashreplace", line_buffering=True)
        self.output = output

    def write(self, text: str) -> int:
        return super().write(visible(text))


class _Unescaped:
    """The same for a progress bar, which does move the cursor."""

    def __init__(self, stream: _Terminal):
        self.stream = stream

    def write(self, text: str) -> int:
        return io.TextIOWrapper.write(self.stream, text)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)


def _open(title: str, number: int, before: TextIO | None) -> TextIO:
    try:
        return _Terminal(_Output(title, number), before.encoding if before else "utf-8")
    except OSError:  # it was closed
        return open(os.devnull, "w")


def _shortened(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[: most * 2 // 3]} ... {text[-most // 3 :]}"
