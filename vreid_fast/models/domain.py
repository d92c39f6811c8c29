"""Domain heads behind gradient reversal: on frames, on clips, on combined clips.

Eq. 7-9 of arXiv 2402.02108; gradient reversal after Ganin and Lempitsky, ICML 2015.
"""

from __future__ import annotations

import math

from torch import Tensor, nn

from vreid_fast.kernels import combined_regression, gradient_reversal


def reversal_strength(progress: float) -> float:
    """2 / (1 + exp(-10 p)) - 1, from 0 to 1 as the progress p of adaptation goes from 0 to 1."""
    return 2.0 / (1.0 + math.exp(-10.0 * progress)) - 1.0


class DomainHeads(nn.Module):
    """Three heads D -> hidden -> ReLU -> dropout -> 2, each behind a gradient reversal.

    Class 0 is the source and class 1 the target. The backbone receives -strength times the gradient that
    would make its features easier to tell apart.

    Args:
        width: D of the features.
        frame_width: of those of frames; None = as of clips.
        hidden: hidden units of each head.
        dropout: dropout of each head, in training.
    """

    def __init__(self, width: int, hidden: int = 128, dropout: float = 0.5, frame_width: int | None = None):
        super().__init__()
        self.dropout = dropout
        self.frame = _head(frame_width or width, hidden, dropout)
        self.clip = _head(width, hidden, dropout)
        # This head's forward is inside combined_regression, fused with gather, mean, reversal and loss.
        self.combined_hidden = nn.Linear(width, hidden)
        self.combined_out = nn.Linear(hidden, 2)

    def classify_frames(self, frames: Tensor, strength: float | Tensor) -> Tensor:
        """Cls_f: frames (B, T, D) -> logits (B, T, 2)."""
        return self.frame(gradient_reversal(frames, strength))

    def classify_clips(self, clips: Tensor, strength: float | Tensor) -> Tensor:
        """Cls_v: clips (B, D) -> logits (B, 2)."""
        return self.clip(gradient_reversal(clips, strength))

    def regress_combined(
        self, clips: Tensor, domains: Tensor, groups: Tensor, strength: float | Tensor, seed: int | Tensor
    ) -> Tensor:
        """Loss of Reg on combined clips, see `combined_regression`: clips (N, D), groups (J, S) -> scalar."""
        hidden, out = self.combined_hidden, self.combined_out
        dropout = self.dropout if self.training else 0.0
        return combined_regression(
            clips, domains, groups, hidden.weight, hidden.bias, out.weight, out.bias,
            strength, dropout=dropout, seed=seed,
        ).loss  # fmt: skip


def _head(width: int, hidden: int, dropout: float) -> nn.Sequential:
    return nn.Sequential(nn.Linear(width, hidden), nn.ReLU(), nn.Dropout(dropout), nn.Linear(hidden, 2))
