"""SINet's two modules written down directly from their description, in 3-D convolutions: what ours are held against.

Each takes one of our modules for its weights, and maps (B, C, T, h, w).
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from vreid_fast.models import build
from vreid_fast.models.convert import author_names
from vreid_fast.models.integration_distribution import IntegrationDistribution
from vreid_fast.models.salient_to_broad import SalientToBroad


def integrate_and_distribute(module: IntegrationDistribution, x: Tensor) -> Tensor:
    clips, _, frames, height, width = x.shape
    squeezed = F.conv3d(x, module.squeeze.weight[..., None], module.squeeze.bias)
    squeezed = _norm(squeezed, module.squeeze_norm)
    places = squeezed.reshape(clips, -1, frames * height * width, 1).transpose(1, 2)
    integrated = F.conv2d(places, module.integrate.weight[..., None, None], module.integrate.bias)
    integrated = _norm(integrated, module.integrate_norm)
    mixed = places + F.conv2d(integrated, module.distribute.weight[..., None, None], module.distribute.bias)
    mixed = mixed.transpose(1, 2).reshape(squeezed.shape)
    return torch.relu(x + F.conv3d(mixed, module.expand.weight[..., None], module.expand.bias))


def salient_to_broad(module: SalientToBroad, x: Tensor) -> Tensor:
    """One group of frames a clip; with gated copies of the maps and a grouped convolution of a kernel a clip."""
    clips, channels, frames, height, width = x.shape
    squeeze, excite, kernel = (
        layer.weight[..., None, None, None] for layer in (module.squeeze, module.excite, module.kernel)
    )
    means = x.mean((2, 3, 4), keepdim=True)
    attention = F.conv3d(torch.relu(F.conv3d(means, squeeze, module.squeeze.bias)), excite, module.excite.bias)
    inside = x[..., 1:-1, 1:-1].mean((2, 3, 4), keepdim=True)
    gate = torch.sigmoid(attention) * (inside / (means + 1e-8) > 1)

    first, last = x[:, :, : module.first], x[:, :, module.first :]
    gated_first, gated_last = torch.relu(first * gate), torch.relu(last * gate)
    scores = torch.relu(_norm(F.conv3d(gated_first, kernel, module.kernel.bias), module.kernel_norm))
    scores = F.normalize(F.normalize(scores.flatten(2).transpose(1, 2), p=1, dim=2), p=1, dim=1)
    kernels = (gated_first.flatten(2) @ scores).reshape(clips, channels, 1, 3, 3)
    padded = F.pad(gated_last, (1, 1, 1, 1, 0, 0), mode="replicate").reshape(1, -1, frames - module.first, *_grown(x))
    answers = F.conv3d(padded, kernels, groups=clips).squeeze(0) / 9
    shares = answers.flatten(2).softmax(2).clamp_min(1e-4)
    weakness = 1 / (shares * height * width)
    kept = torch.where(weakness >= 1, torch.ones_like(weakness), torch.exp(5 * (weakness - 1)))
    kept = kept.reshape(clips, 1, frames - module.first, height, width)
    suppressed = ((1 - kept) * last).mean((2, 3, 4), keepdim=True) / (1 - kept).mean((2, 3, 4), keepdim=True)
    return torch.cat([first + 0.1 * suppressed, last * kept + 0.1 * first.mean((2, 3, 4), keepdim=True)], 2)


def _norm(x: Tensor, norm) -> Tensor:
    return F.batch_norm(
        x, norm.running_mean, norm.running_var, norm.weight, norm.bias, norm.training, norm.momentum, norm.eps
    )


def _grown(x: Tensor) -> tuple[int, int]:
    return x.shape[3] + 2, x.shape[4] + 2


def author_state(name: str, identities: int = 5, seed: int = 0) -> dict[str, torch.Tensor]:
    """A small-sized network, each weight its own, under the authors' names, convolutions with their temporal axis."""
    torch.manual_seed(seed)
    network = build(name, identities=identities, frames=4, size=(64, 48))
    own, state = network.state_dict(), {}
    for ours, theirs in author_names(network).items():
        value = own[ours] + 0.01 * torch.rand_like(own[ours]) if own[ours].is_floating_point() else own[ours]
        state[theirs] = value[:, :, None] if value.dim() == 4 else value
    return state
