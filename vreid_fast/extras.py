"""Packages that only some commands need: which extra of this package brings each, and what is said of one missing."""

from __future__ import annotations

import importlib.util
import sys

EXTRAS = {
    **dict.fromkeys(
        ("numpy", "PIL", "simplejpeg", "sklearn", "scipy", "threadpoolctl", "docstring_parser", "tqdm",
         "tensorboard", "matplotlib", "jinja2", "av", "h5py", "yaml", "safetensors"), "train"),
    **dict.fromkeys(("nvidia", "triton"), "gpu"),
    **dict.fromkeys(("trackers", "supervision"), "track"),
    "faiss": "search",
    **dict.fromkeys(("onnx", "onnxscript", "onnxruntime"), "export"),
    "pyarrow": "parquet",
}  # fmt: skip
"""The extra that brings a module, as setup.py has them."""
COMMANDS = ("numpy", "yaml", "tqdm", "PIL")
"""What every command imports before it knows what it is to do."""


def needs(*modules: str) -> None:
    """Raise ModuleNotFoundError where one of these is not installed, with the extra that brings it."""
    for module in modules:
        if importlib.util.find_spec(module) is None:
            raise ModuleNotFoundError(said(module), name=module)


def said(module: str) -> str:
    """What is said of a module that is missing."""
    return f"{module} is not installed; pip install 'vreid-fast[{EXTRAS[module]}]' brings it"


def needs_or_exit() -> None:
    """End a command with one line where it cannot even be imported, as after an installation without extras."""
    try:
        needs(*COMMANDS)
    except ModuleNotFoundError as error:
        print("error:", error, file=sys.stderr)
        sys.exit(2)
