"""Which decoder reads: DALI's where it is installed, otherwise that of PIL, PyAV and torch."""

from __future__ import annotations

import sys

from vreid_fast.errors import InputError

from .decoder import Decoder, ReadingOptions
from .torch_decoder import TorchDecoder


def make_decoder(reading: ReadingOptions) -> Decoder:
    """The decoder that `reading` names: DALI's, or where that cannot be imported the one of PIL, PyAV and torch.

    Raises:
        InputError: DALI was asked for and is not installed, or Python leaves docstrings out.
    """
    docstrings = sys.flags.optimize < 2  # DALI adds to its own when it is imported
    if reading.backend == "dali" and not docstrings:
        raise InputError(
            "--loader dali: needs docstrings, and Python runs without; unset PYTHONOPTIMIZE, leave out -OO, "
            "or use --loader torch"
        )
    if reading.backend != "torch" and docstrings:
        try:
            from .dali import DaliDecoder

            return DaliDecoder(reading)
        except ModuleNotFoundError as error:
            if error.name is None or error.name.split(".")[0] != "nvidia":
                raise
            if reading.backend == "dali":
                raise InputError(
                    "--loader dali: not installed; pip install nvidia-dali-cuda130 or use --loader torch"
                ) from error
    return TorchDecoder(reading)
