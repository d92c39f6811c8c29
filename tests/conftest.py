"""Shared test set-up: NaN-poisoned torch.empty, one thread, given data, interpreted Triton, skipping of gpu tests."""

import os
import signal
from pathlib import Path

import pytest
import torch

pytest_plugins = ["loading", "packs", "pages", "small_runs", "story"]  # fixtures that several folders use
SHARED = Path(__file__).resolve().parents[2] / "shared"


def pytest_configure(config):
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        # As in what a shell starts in the background. Tests send Ctrl-C to themselves and to commands.
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if not torch.cuda.is_available():
        # Before anything imports triton. Ops do not choose the interpreter unasked: only tests of it see it.
        os.environ.setdefault("TRITON_INTERPRET", "1")
    torch.set_num_threads(1)
    # torch.empty returns NaN, so that a kernel which forgets to write an element is seen.
    torch.utils.deterministic.fill_uninitialized_memory = True
    torch.use_deterministic_algorithms(True, warn_only=True)


def pytest_collection_modifyitems(items):
    if not torch.cuda.is_available():
        for item in items:
            if "gpu" in item.keywords:
                item.add_marker(pytest.mark.skip(reason="needs an NVIDIA GPU; none here"))


@pytest.fixture
def shared():
    """Path of a file or folder of the given real data and reference numbers; skips where it is absent."""

    def path(name: str) -> Path:
        where = SHARED / name
        if not where.exists():
            pytest.skip(f"reference data {name} is not beside this checkout")
        return where

    return path
