"""Video person re-identification from synthetic to real cameras (arXiv 2402.02108), fast."""

from pathlib import Path

__version__ = "0.1.0"

# In a checkout the kernels live beside this package (setup.py installs them as vreid_fast.kernels).
_beside = Path(__file__).resolve().parent.parent
if (_beside / "kernels" / "backends.py").exists() and (_beside / "csrc").is_dir():
    __path__.append(str(_beside))
