"""Junk in environment variables of libraries: left out, with a note, before the library stumbles over it."""

import os
import subprocess
import sys

import pytest

from vreid_fast.environment import READ, drop_junk

IMPORTED = """
import matplotlib, numpy, sklearn.neighbors, tqdm
from torch.utils.tensorboard import SummaryWriter
tqdm.tqdm(total=3).close()
"""


@pytest.mark.parametrize("name", [*READ, "TQDM_BAR_FORMAT", "MPLBACKEND", "MATPLOTLIBRC"])
def test_junk_is_left_out(name, capsys):
    environ = {name: "{junk}", "HOME": "/x", "TQDM": "1"}
    drop_junk(environ)
    kept = name in ("TQDM_DISABLE", "TQDM_LEAVE", "TQDM_COLOUR", "TQDM_DYNAMIC_NCOLS")
    assert environ == {"HOME": "/x", "TQDM": "1"} | ({name: "{junk}"} if kept else {})
    note = f"note: environment variable {name}='{{junk}}' is of no use to its library and left out\n"
    assert capsys.readouterr().err == ("" if kept or name.startswith("M") else note)


def test_what_libraries_can_read_stays(capsys):
    good = {"TQDM_MININTERVAL": "30", "TQDM_NCOLS": "70", "SKLEARN_WORKING_MEMORY": "512", "TQDM_DISABLE": "1",
            "PROTOCOL_BUFFERS_PYTHON_IMPLEMENTATION": "python"}  # fmt: skip
    environ = dict(good)
    drop_junk(environ)
    assert environ == good and capsys.readouterr() == ("", "")


@pytest.mark.slow
def test_libraries_are_imported_with_what_is_left():
    junk = dict.fromkeys([*READ, "MPLBACKEND"], "junk") | {"MATPLOTLIBRC": sys.executable}
    del junk["TQDM_COLOUR"]  # of which tqdm warns
    program = "from vreid_fast.environment import drop_junk; drop_junk()" + IMPORTED
    ran = subprocess.run([sys.executable, "-c", program], env={**os.environ, **junk}, capture_output=True, text=True)
    assert ran.returncode == 0 and "Traceback" not in ran.stderr
    # And without it they are not: the list is of use.
    for name in ("MPLBACKEND", "TQDM_MININTERVAL", "SKLEARN_WORKING_MEMORY"):
        words = [sys.executable, "-c", IMPORTED]
        assert subprocess.run(words, env={**os.environ, name: "junk"}, capture_output=True).returncode == 1
