"""What reaches the terminal: no control characters, in any encoding, to readers that may go away."""

import os
import subprocess
import sys

import pytest

from vreid_fast.terminal import LONGEST, LONGEST_WORD, one_line, say, visible

BEGIN = """
import os, sys
from vreid_fast.errors import InputError, exit_code
from vreid_fast.terminal import end_with_reader, fill_descriptors, progress_bar, say
"""
PRINTS = """
def work():
    for number in range(3):
        print("line", number)
    os.write(done, b"done")
"""


def run(program, environment=None, **streams):
    """Exit code, standard output and error, and whether the program came to the end of its work."""
    ours, theirs = os.pipe()
    program = f"{BEGIN}done = {theirs}\n{program}\nsys.exit(exit_code(work))"
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **streams}
    words = [sys.executable, "-c", program]
    ran = subprocess.run(words, pass_fds=[theirs], env={**os.environ, **(environment or {})}, timeout=60, **streams)
    os.close(theirs)
    with open(ours, "rb") as file:
        return ran.returncode, ran.stdout, ran.stderr, file.read() == b"done"


@pytest.fixture
def no_reader():
    reading, writing = os.pipe()
    os.close(reading)
    yield writing
    os.close(writing)


@pytest.fixture
def full():
    with open("/dev/full", "wb") as file:
        yield file


def test_control_characters_are_shown_and_line_ends_stay():
    assert visible("a\x1b[2J\rb\x00\x9b\u202e\tc\nd") == "a\\x1b[2J\\rb\\x00\\x9b\\u202e\tc\nd"
    assert visible("Straße → 人 ±") == "Straße → 人 ±"


def test_what_is_said_is_a_line_of_bearable_length(capsys):
    say(f"note: a\r\n\x1b[1mb {'x' * 10**6} y", "second")
    first, second = capsys.readouterr().out.splitlines()
    assert first.startswith("note: a \\x1b[1mb xxx") and first.endswith("x y") and second == "second"
    assert len(first) < LONGEST_WORD + 40
    assert len(one_line("word " * 10**5)) <= LONGEST + 5
    path = "/" + "/".join("folder" for _ in range(40))
    assert one_line(path) == path


def test_a_run_goes_on_where_nobody_reads(no_reader, full):
    note = b"note: standard output: %s; the command goes on without it\n"
    assert run(PRINTS, stdout=no_reader) == (0, None, note % b"Broken pipe", True)
    assert run(PRINTS, stdout=full) == (0, None, note % b"No space left on device", True)
    assert run(PRINTS, stdout=no_reader, stderr=no_reader) == (0, None, None, True)
    assert run(PRINTS, stdout=full, stderr=full) == (0, None, None, True)


def test_a_command_that_only_prints_ends_where_nobody_reads(no_reader, full):
    prints = PRINTS.replace("def work():", "def work():\n    end_with_reader()")
    assert run(prints, stdout=no_reader) == (141, None, b"", False)
    assert run(prints, stdout=full) == (2, None, b"error: standard output: No space left on device\n", False)


def test_the_table_of_kernels_ends_where_nobody_reads(no_reader, full):
    words = [sys.executable, "-m", "vreid_fast.kernels"]
    ends = (no_reader, 141, b""), (full, 2, b"error: standard output: No space left on device\n")
    for stream, code, error in ends:
        ran = subprocess.run(words, stdout=stream, stderr=subprocess.PIPE, timeout=60)
        assert (ran.returncode, ran.stderr) == (code, error)


def test_a_broken_pipe_of_another_file_is_an_error():
    code, _, error, _ = run("def work(): raise BrokenPipeError(32, 'Broken pipe', '/x/pipe')")
    assert (code, error) == (2, b"error: /x/pipe: Broken pipe\n")


def test_an_error_is_told_where_it_can_be(no_reader):
    assert run("def work(): raise InputError('x: no')", stderr=no_reader) == (2, b"", None, False)


def test_closed_streams_are_no_matter(tmp_path):
    program = f"{BEGIN}fill_descriptors()\nfile = open('result', 'w')\nassert file.fileno() > 2\ndone = file.fileno()\n"
    program += PRINTS + "    progress_bar(total=2).close()\nsys.exit(exit_code(work))"
    (tmp_path / "program.py").write_text(program)
    words = ["sh", "-c", f"{sys.executable} program.py <&- >&- 2>&-"]
    assert (
        subprocess.run(words, cwd=tmp_path, env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}).returncode == 0
    )
    assert (tmp_path / "result").read_text() == "done"


@pytest.mark.parametrize("module", ["train", "evaluate", "data", "ladder"])
def test_help_is_no_matter_of_streams(module, no_reader):
    words = [sys.executable, "-m", f"vreid_fast.{module}", "--help"]
    assert subprocess.run(words, stdout=no_reader, stderr=no_reader, timeout=60).returncode == 0


def test_names_of_other_bytes_are_printed_in_any_encoding():
    prints = "def work():\n    print('n\\udcffme \\x1b[2J →')\n    raise InputError('n\\udcffme\\n→')"
    for encoding, arrow in (("ascii:strict", b"\\u2192"), ("utf-8:strict", "→".encode())):
        code, out, error, _ = run(prints, {"PYTHONIOENCODING": encoding})
        assert (code, out) == (2, b"n\\udcffme \\x1b[2J " + arrow + b"\n")
        assert error == b"error: n\\udcffme " + arrow + b"\n"


def test_a_bar_moves_the_cursor_and_others_do_not():
    bar = """
def work():
    for _ in progress_bar(range(2), desc="bar"):
        pass
    print("\\x1b[2J", file=sys.stderr)
"""
    error = run(bar)[2]
    assert error.startswith(b"\rbar:   0%") and error.endswith(b"\n\\x1b[2J\n")
