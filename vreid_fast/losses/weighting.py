"""The learnable loss weights of eq. 17, over the three groups identity, domain and consistency."""

from __future__ import annotations

import torch
from torch import Tensor, nn

GROUPS = ("identity", "domain", "consistency")
# Logarithms of the weights that the authors' code starts from: 1, 0.212, 0.638.
AUTHORS_START = (0.0, -1.55, -0.45)


class LossWeights(nn.Module):
    """Sum of the groups' losses, weighted.

    * "fixed": all weights 1.
    * "authors": exp(w), w learned from the authors' start; nothing holds w up, so the weights shrink.
    * "uncertainty": exp(-s) L + s, s learned from zero (Kendall et al., "Multi-Task Learning Using
      Uncertainty to Weigh Losses", CVPR 2018); the optimum of each weight is one over its loss.

    Raises:
        ValueError: another rule.
    """

    def __init__(self, rule: str = "fixed"):
        super().__init__()
        if rule not in ("fixed", "authors", "uncertainty"):
            raise ValueError(f"loss weights must be fixed, authors or uncertainty, got {rule!r}")
        self.rule = rule
        start = torch.tensor(AUTHORS_START) if rule == "authors" else torch.zeros(len(GROUPS))
        self.log_weights = nn.Parameter(start, requires_grad=rule != "fixed")

    def forward(self, losses: dict[str, Tensor]) -> Tensor:
        """`losses`: scalars by group, any of GROUPS; a group that is absent has no part and no regulariser."""
        # Not indexed by a list, which would be brought to the device each time.
        log_weights = torch.stack([self.log_weights[GROUPS.index(group)] for group in losses])
        total = (log_weights.exp() * torch.stack(list(losses.values()))).sum()
        return total - log_weights.sum() if self.rule == "uncertainty" else total

    def named(self) -> dict[str, Tensor]:
        """The weights by group."""
        return dict(zip(GROUPS, self.log_weights.detach().exp().unbind(), strict=True))
