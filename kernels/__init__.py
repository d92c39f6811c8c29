"""The ops of vreid_fast, for any Re-ID code: torch alone is needed, C++/CUDA and Triton are used when present.

Every op takes ``backend=None`` ("reference", "cpp" or "triton" forces one); `python -m vreid_fast.kernels`
shows what this machine has.
"""

from .batch_norm import batch_norm, batch_statistics
from .combined_regression import combined_regression
from .ema import EmaUpdater
from .fused_batch_norm import FusedBatchNorm
from .gather_clips import gather_clips
from .gradient_reversal import gradient_reversal
from .kmeans import kmeans
from .kmeans_assign import kmeans_assign
from .temporal_pool import temporal_pool

__all__ = [
    "EmaUpdater",
    "FusedBatchNorm",
    "batch_norm",
    "batch_statistics",
    "combined_regression",
    "gather_clips",
    "gradient_reversal",
    "kmeans",
    "kmeans_assign",
    "temporal_pool",
]
