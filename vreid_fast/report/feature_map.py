"""A 2-D map of source and target clips, before and after adaptation, and how well the two can be told apart."""

from __future__ import annotations

import numpy as np

from .drawing import drawn_axes

# Told apart by shape and colour: the source is a ring, a camera of the target a filled shape in a blue of its own.
SOURCE = ("o", "○", "#b34700")
CAMERAS = (
    ("^", "▲", "#0072b2"),
    ("s", "■", "#56a3d6"),
    ("D", "◆", "#00456e"),
    ("v", "▼", "#2b8cc4"),
    ("P", "✚", "#003a7a"),
    ("*", "★", "#7ab3dc"),
)
_NEIGHBOURS = 5
_FOLDS = 5


def embed_2d(features: np.ndarray) -> np.ndarray:
    """t-SNE of L2-normalised features: (N, D) -> (N, 2); the same features give the same map.

    Raises:
        ValueError: fewer than 3 features, or one that is not finite.
    """
    from sklearn.manifold import TSNE
    from threadpoolctl import threadpool_limits

    features = _normalised(features)
    if len(features) < 3:
        raise ValueError(f"embed_2d: wanted 3 features or more, got {len(features)}")
    perplexity = min(30.0, (len(features) - 1) / 3)
    with threadpool_limits(
        1
    ):  # its threads wait for each other by spinning: beside others, a minute instead of seconds
        return TSNE(init="pca", perplexity=perplexity, learning_rate="auto", random_state=0).fit_transform(features)


def domain_accuracy(features: np.ndarray, domains: np.ndarray) -> float | None:
    """How well nearest neighbours tell the domains: five-fold accuracy of 5 of them, each domain weighted alike.

    Args:
        features: (N, D).
        domains: (N,) 0 = source, 1 = target.

    Returns:
        A fraction, 0.5 by chance; None where a domain has fewer than 2 clips.
    """
    from sklearn.model_selection import StratifiedKFold, cross_val_predict
    from sklearn.neighbors import KNeighborsClassifier

    fewest = int(np.bincount(domains, minlength=2).min())
    if fewest < 2:
        return None
    folds = StratifiedKFold(min(_FOLDS, fewest), shuffle=True, random_state=0)
    neighbours = min(_NEIGHBOURS, len(domains) // 2)
    told = cross_val_predict(KNeighborsClassifier(neighbours), _normalised(features), domains, cv=folds)
    return float(np.mean([(told[domains == domain] == domain).mean() for domain in (0, 1)]))


def map_plot(points: np.ndarray, domains: np.ndarray, cameras: np.ndarray) -> str:
    """A map as the data: URI of an SVG: points (N, 2), domains (N,) and cameras (N,), -1 where not known."""
    with drawn_axes(5.0, 4.2) as (axes, finish):
        axes.set_axis_off()
        axes.set_aspect("equal", adjustable="datalim")
        axes.margins(0.03)
        source = domains == 0
        for camera, (marker, _, colour) in _shapes(domains, cameras).items():
            chosen = points[~source & ((cameras == camera) | (camera is None))]
            axes.scatter(*chosen.T, s=17, marker=marker, color=colour, linewidths=0, alpha=0.9)
        ring, _, colour = SOURCE  # last: a ring hides nothing
        axes.scatter(*points[source].T, s=17, marker=ring, facecolors="none", edgecolors=colour, linewidths=0.9)
        return finish()


def legend(domains: np.ndarray, cameras: np.ndarray) -> list[dict[str, str]]:
    """Sign, colour and name of everything on a map."""
    signs = [{"sign": SOURCE[1], "colour": SOURCE[2], "name": "source"}]
    for camera, (_, sign, colour) in _shapes(domains, cameras).items():
        name = "target" if camera is None else f"target, camera {camera}"
        signs.append({"sign": sign, "colour": colour, "name": name})
    return signs


def _shapes(domains: np.ndarray, cameras: np.ndarray) -> dict[int | None, tuple[str, str, str]]:
    """The look of each camera of the target; of all of it (None) where cameras are unknown, single or too many."""
    known = np.unique(cameras[domains == 1])
    if len(known) < 2 or len(known) > len(CAMERAS) or known[0] < 0:
        return {None: CAMERAS[0]}
    return dict(zip(known.tolist(), CAMERAS))


def _normalised(features: np.ndarray) -> np.ndarray:
    features = np.asarray(features, dtype=np.float32)
    if not np.isfinite(features).all():
        raise ValueError("a feature is not finite")
    squares = np.einsum("nd,nd->n", features, features, dtype=np.float64)  # of large ones float32 makes infinity
    return features / np.sqrt(squares).clip(1e-12)[:, None].astype(np.float32)
