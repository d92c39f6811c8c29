"""How hard each term of the loss pulls at the backbone."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

from vreid_fast import ranks


def gradient_norms(losses: dict[str, Tensor], parameters: Iterable[Tensor]) -> dict[str, Tensor]:
    """L2 norm of each loss's own gradient with respect to `parameters`, zero where it does not reach them.

    A backward pass a loss: call it every so many steps. The graph stays for the backward pass to come, `.grad`
    is neither read nor written, and nothing waits for the device.

    Args:
        losses: scalars, each times the weight by which it enters the total.
        parameters: of the backbone; those that need no gradient are left out.

    Returns:
        0-d tensors by the names of `losses`.
    """
    parameters = [parameter for parameter in parameters if parameter.requires_grad]
    return {name: _norm(loss, parameters) for name, loss in losses.items()}


def _norm(loss: Tensor, parameters: list[Tensor]) -> Tensor:
    gradients: tuple[Tensor | None, ...] = ()
    if loss.requires_grad and parameters:
        gradients = torch.autograd.grad(loss, parameters, retain_graph=True, allow_unused=True)
    reached = [gradient for gradient in gradients if gradient is not None]
    ranks.average(reached)
    return torch.nn.utils.get_total_norm(reached) if reached else torch.zeros_like(loss.detach())
