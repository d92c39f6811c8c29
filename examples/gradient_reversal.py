"""Features in which two domains look alike: a domain classifier behind `gradient_reversal`.

A classifier learns shapes from a source alone; in the target all samples are shifted. The domain classifier tells the
domains by the features, which through the reversal learn to give it nothing to go by. A fresh probe, trained on them at
the end, knows the domain without reversal and guesses with it; and the shapes of the target are then all recognised.

    python examples/gradient_reversal.py     # about three seconds
"""

import math

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from vreid_fast.kernels import gradient_reversal

SHAPES, INPUTS, WIDTH = 4, 16, 8


def sample(count: int, centres: Tensor, shift: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Samples (N, INPUTS), their shapes, and their domains: 0 source, 1 target, by turns."""
    shapes, domains = torch.randint(SHAPES, (count,)), torch.arange(count) % 2
    return centres[shapes] + 0.5 * torch.randn(count, INPUTS) + domains[:, None] * shift, shapes, domains


def make_domain_classifier() -> nn.Module:
    return nn.Sequential(nn.Linear(WIDTH, 64), nn.ReLU(), nn.Linear(64, 2))


def learn(highest: float, steps: int, seed: int) -> dict[str, float]:
    """Train with a reversal that rises to the strength `highest`; accuracies of probe and shapes afterwards."""
    torch.manual_seed(seed)
    world = torch.randn(SHAPES, INPUTS), 2 * torch.randn(INPUTS)
    network, classifier, opponent = nn.Linear(INPUTS, WIDTH), nn.Linear(WIDTH, SHAPES), make_domain_classifier()
    # So that features and opponent settle instead of chasing round in circles, the opponent is the faster one and its
    # weights decay, and nothing has momentum.
    fast = {"params": opponent.parameters(), "lr": 0.5, "weight_decay": 0.03}
    optimiser = torch.optim.SGD([{"params": [*network.parameters(), *classifier.parameters()]}, fast], lr=0.05)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
    strength = torch.zeros(())  # a tensor: under torch.compile a number would recompile at each step
    for step in range(steps):
        strength.fill_(highest * (2 / (1 + math.exp(-10 * step / steps)) - 1))
        samples, shapes, domains = sample(128, *world)
        features, of_source = network(samples), domains == 0
        of_shapes = cross_entropy(classifier(features[of_source]), shapes[of_source])
        of_domains = cross_entropy(opponent(gradient_reversal(features, strength)), domains)
        optimiser.zero_grad()
        (of_shapes + of_domains).backward()
        optimiser.step()
        schedule.step()
    samples, shapes, domains = sample(4000, *world)
    features = network(samples).detach()
    right = (classifier(features).argmax(1) == shapes)[domains == 1]
    return {"probe": probe(features, domains), "target": float(right.float().mean())}


def probe(features: Tensor, domains: Tensor) -> float:
    """How often a new domain classifier, trained on half of the features, is right on the other half."""
    features = (features - features.mean(0)) / features.std(0)
    classifier, half = make_domain_classifier(), len(features) // 2
    optimiser = torch.optim.Adam(classifier.parameters(), lr=1e-2)
    for _ in range(150):
        optimiser.zero_grad()
        cross_entropy(classifier(features[:half]), domains[:half]).backward()
        optimiser.step()
    return float((classifier(features[half:]).argmax(1) == domains[half:]).float().mean())


def main(steps: int = 1000, seed: int = 0) -> dict[str, dict[str, float]]:
    found = {"without reversal": learn(0, steps, seed), "with reversal": learn(1, steps, seed)}
    for name, share in found.items():
        print(f"{name}: domains right {share['probe']:.0%} (chance 50%), target's shapes {share['target']:.0%}")
    return found


if __name__ == "__main__":
    torch.set_num_threads(1)  # on tensors so small threads wait for each other longer than they work
    main()
