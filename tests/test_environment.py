"""Junk in environment variables of libraries: left out, with a note, before the library stumbles over it."""

import os
import subprocess
import sys

import pytest

from vreid_fast.environment import READ, drop_junk, wait_briefly

FAILS = ("MPLBACKEND", "TQDM_MININTERVAL", "SKLEARN_WORKING_MEMORY", "PYTORCH_JIT", "TORCH_DISTRIBUTED_DEBUG",
         "LOKY_MAX_DEPTH")  # fmt: skip
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
    good = {"PYTORCH_JIT": "True", "TORCH_DISTRIBUTED_DEBUG": "DETAIL", "PYTORCH_MATCHER_LOGLEVEL": "WARN",
            "JOBLIB_START_METHOD": "fork", "LOKY_PICKLER": "", "SOURCE_DATE_EPOCH": "0",
            "TQDM_MININTERVAL": "30", "TQDM_NCOLS": "70", "SKLEARN_WORKING_MEMORY": "512", "TQDM_DISABLE": "1",
            "PROTOCOL_BUFFERS_PYTHON_IMPLEMENTATION": "python"}  # fmt: skip
    environ = dict(good)
    drop_junk(environ)
    assert environ == good and capsys.readouterr() == ("", "")


@pytest.mark.parametrize("said", [{"OMP_WAIT_POLICY": "ACTIVE"}, {"GOMP_SPINCOUNT": "7"}])
def test_what_a_user_says_of_waiting_holds(said):
    environ = dict(said)
    wait_briefly(environ)
    assert environ == said


def test_threads_of_a_command_wait_briefly():
    free = {name: value for name, value in os.environ.items() if name not in ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT")}
    words = [sys.executable, "-m", "vreid_fast.kernels"]
    ran = subprocess.run(words, env={**free, "OMP_DISPLAY_ENV": "VERBOSE"}, capture_output=True, text=True)
    assert "GOMP_SPINCOUNT = '1000'" in ran.stderr


@pytest.mark.slow
def test_libraries_are_imported_with_what_is_left():
    junk = dict.fromkeys([*READ, *FAILS], "junk") | {"MATPLOTLIBRC": sys.executable}
    del junk["TQDM_COLOUR"]  # of which tqdm warns
    program = "from vreid_fast.environment import drop_junk; drop_junk()" + IMPORTED
    ran = subprocess.run([sys.executable, "-c", program], env={**os.environ, **junk}, capture_output=True, text=True)
    assert ran.returncode == 0 and "Traceback" not in ran.stderr
    # And without it they are not: the list is of use.
    for name in FAILS:
        words = [sys.executable, "-c", IMPORTED]
        assert subprocess.run(words, env={**os.environ, name: "junk"}, capture_output=True).returncode == 1
