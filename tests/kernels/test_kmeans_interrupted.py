"""Ctrl-C ends a k-means of minutes where it is, in C++ too."""

import signal
import subprocess
import sys

import pytest
import torch

from vreid_fast.kernels.kmeans import kmeans


@pytest.mark.parametrize("init", ["'k-means++'", "x[:20_000].clone()"], ids=["seeding", "iterations"])
def test_a_handler_that_raises_ends_it(init):
    """Otherwise it would take minutes, and the time of this program would be over."""
    program = f"""
import signal, torch
from vreid_fast.kernels.kmeans import kmeans
x = torch.randn(40_000, 512)
signal.signal(signal.SIGALRM, signal.default_int_handler)
try:
    signal.setitimer(signal.ITIMER_REAL, 0.3)
    kmeans(x, 20_000, init={init}, backend="cpp")
except KeyboardInterrupt:
    print("ended")
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0 and done.stdout == "ended\n", done.stderr


def test_a_handler_that_does_not_raise_changes_nothing():
    x, noted = torch.randn(6_000, 16, generator=torch.Generator().manual_seed(0)), []
    undisturbed = kmeans(x, 500, restarts=2, backend="cpp")
    before = signal.signal(signal.SIGPROF, lambda *_: noted.append(True))
    signal.setitimer(signal.ITIMER_PROF, 0.01, 0.01)
    try:
        disturbed = kmeans(x, 500, restarts=2, backend="cpp")
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)
    assert noted and all(map(torch.equal, undisturbed, disturbed))
