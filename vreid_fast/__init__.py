"""Video person re-identification from synthetic to real cameras (arXiv 2402.02108), fast."""

import sys
from pathlib import Path

__version__ = "0.1.0"

# In a checkout the kernels live beside this package (setup.py installs them as vreid_fast.kernels).
_beside = Path(__file__).resolve().parent.parent
if (_beside / "kernels" / "backends.py").exists() and (_beside / "csrc").is_dir():
    __path__.append(str(_beside))


def __getattr__(name: str) -> object:
    """`vreid_fast.Extractor`, imported when it is asked for: the package itself costs torch alone."""
    if name == "Extractor":
        from .extraction.extractor import Extractor

        return Extractor
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


# "-m": Python is looking for a command of this package, and has imported nothing of it yet.
if sys.argv[:1] == ["-m"] and any(word.startswith(("vreid_fast.", "-mvreid_fast.")) for word in sys.orig_argv):
    from . import environment, extras, interrupt, terminal

    if not any("vreid_fast.kernels" in word for word in sys.orig_argv):
        extras.needs_or_exit()
    interrupt.leave_when_asked()
    terminal.fill_descriptors()
    environment.drop_junk()
    environment.wait_briefly()
