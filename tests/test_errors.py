"""What ends a command: a line and an exit code for a user's errors, a traceback for ours."""

import io
import sys

import pytest

from vreid_fast.errors import Diverged, Failed, InputError, Stopped, exit_code


def raising(error):
    def work():
        raise error

    return work


def test_work_that_ends_gives_its_own_code():
    assert exit_code(lambda: None) == 0 and exit_code(lambda: 1) == 1


@pytest.mark.parametrize("error", [InputError("x: no"), Diverged("x: no"), Failed("x: no"), OSError("x: no")])
def test_an_error_of_the_users_is_one_line(error, capsys):
    assert exit_code(raising(error)) == 2
    assert capsys.readouterr() == ("", "error: x: no\n")


@pytest.mark.parametrize("end", ["\n", "\r\n", "\n   ", "\u2028", "\x85", "\v"])
def test_what_an_error_quotes_is_one_line_too(end, capsys):
    assert exit_code(raising(InputError(f"file a{end}b: {'9' * 90_000}: no\x00 number\x1b[2J"))) == 2
    said = capsys.readouterr().err
    assert said.startswith("error: file a b: 999") and said.endswith("9: no\\x00 number\\x1b[2J\n")
    assert len(said.splitlines()) == 1 and len(said) < 4000


def test_a_name_of_other_bytes_is_printed(monkeypatch):
    with io.TextIOWrapper(io.BytesIO(), "utf-8") as out:
        monkeypatch.setattr(sys, "stdout", out)
        assert exit_code(lambda: print("folder:n\udcffme")) == 0
        out.flush()
        assert out.buffer.getvalue() == b"folder:n\\udcffme\n"


def test_a_stop_says_where_it_can_go_on(capsys):
    assert exit_code(raising(Stopped("stopped at step 3"))) == 130
    assert exit_code(raising(KeyboardInterrupt()), stopped="stopped; again") == 130
    assert capsys.readouterr().out == "stopped at step 3\nstopped; again\n"


def test_a_bug_keeps_its_traceback():
    with pytest.raises(ValueError, match="a bug"):
        exit_code(raising(ValueError("a bug")))
