"""Learning without labels: k-means gives labels, a network learns them, and its features are clustered again.

Twelve patterns were each photographed twenty times, under light of any colour and with much noise. The features of an
untrained network fall apart by light. What the loop adds is knowledge: light and noise are drawn anew in training, so
images that differ in nothing else come together, and the next clusters are purer. Purity is the part of the images
that belong to the most frequent pattern of their cluster; it is measured with the true patterns, which never train.

    python examples/pseudo_labels.py     # two seconds on two cores
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vreid_fast.kernels import kmeans

PATTERNS, PHOTOGRAPHS = 12, 20
HEIGHT, WIDTH = 24, 12
TEMPERATURE = 0.1


def photograph(images: Tensor, random: torch.Generator) -> Tensor:
    """Images (N, 3, H, W) under another light, and with other noise."""
    light = torch.randn(len(images), 3, 1, 1, generator=random)
    return images + light + 0.7 * torch.randn(images.shape, generator=random)


def make_images(random: torch.Generator) -> tuple[Tensor, Tensor]:
    """Photographs of smooth random patterns, and which pattern each of them shows."""
    coarse = torch.randn(PATTERNS, 3, HEIGHT // 4, WIDTH // 4, generator=random)
    patterns = F.interpolate(coarse, (HEIGHT, WIDTH), mode="bilinear")
    truth = torch.arange(PATTERNS).repeat_interleave(PHOTOGRAPHS)
    return photograph(patterns[truth], random), truth


def purity(labels: Tensor, truth: Tensor) -> float:
    counts = torch.bincount(labels * PATTERNS + truth, minlength=PATTERNS * PATTERNS).view(PATTERNS, PATTERNS)
    return float(counts.amax(1).sum() / len(labels))


def main(epochs: int = 8, seed: int = 0) -> list[float]:
    """Purity of the clusters in each epoch, before it trains; the first is that of the untrained network."""
    torch.manual_seed(seed)
    random = torch.Generator().manual_seed(seed)
    images, truth = make_images(random)
    network = nn.Sequential(
        nn.Flatten(), nn.Linear(3 * HEIGHT * WIDTH, 64), nn.BatchNorm1d(64), nn.ReLU(), nn.Linear(64, 64)
    )
    optimiser = torch.optim.Adam(network.parameters(), lr=1e-3)
    found = []
    for epoch in range(epochs):
        with torch.no_grad():
            features = F.normalize(network.eval()(images))
        clusters = kmeans(features, PATTERNS, restarts=10, seed=epoch)
        found.append(purity(clusters.labels, truth))
        print(f"epoch {epoch}: purity {found[-1]:.1%}")

        # Clusters have other numbers after each k-means: centroids as weights carry on, a classifier would start anew.
        weights = F.normalize(clusters.centroids)
        network.train()
        for batch in torch.randperm(len(images), generator=random).repeat(3).split(40):
            logits = F.normalize(network(photograph(images[batch], random))) @ weights.T / TEMPERATURE
            optimiser.zero_grad()
            F.cross_entropy(logits, clusters.labels[batch]).backward()
            optimiser.step()
    return found


if __name__ == "__main__":
    torch.set_num_threads(1)  # on tensors so small threads wait for each other longer than they work
    main()
