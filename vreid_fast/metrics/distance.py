"""Distances between query and gallery features."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch.nn.functional import linear, normalize

DISTANCES = ("cosine", "euclidean", "dot")


def pairwise_distances(query_features, gallery_features, distance: str = "cosine") -> torch.Tensor:
    """Distance of every query to every gallery item.

    Args:
        query_features: (Q, D) tensor or array of any float type.
        gallery_features: (G, D), likewise; moved to the device of the query features.
        distance: ``"cosine"``, 1 - cos in [0, 2], and 1 where a row is zero; ``"euclidean"``, the plain (not
            squared) distance; or ``"dot"``, the negative inner product of features as they are, by which the
            paper's authors rank data sets with clothes.

    Returns:
        (Q, G), float64 when either side is float64, else float32; autocast and TF32 have no effect.

    Raises:
        ValueError: features are not two float matrices of one width, hold NaN or infinity, or are so long that their
            distances do; or the distance is unknown.
    """
    distances = distance_rows(query_features, gallery_features, distance)(slice(None))
    if not all_finite(distances):
        raise ValueError(
            "pairwise_distances: distances must be finite, got NaN or infinity; are the features too long?"
        )
    return distances


def distance_rows(query_features, gallery_features, distance: str) -> Callable[[slice], torch.Tensor]:
    """`pairwise_distances` some queries at a time: ``rows(slice)`` gives those rows of the (Q, G) matrix."""
    if distance not in DISTANCES:
        raise ValueError(f"pairwise_distances: distance must be one of {', '.join(DISTANCES)}, got {distance!r}")
    query, gallery = as_pair("pairwise_distances", query_features, gallery_features)

    if distance == "cosine":
        query, gallery = unit(query), unit(gallery)

        def rows(part: slice) -> torch.Tensor:
            with full_precision(query.device.type):
                return torch.mm(query[part], gallery.T).neg_().add_(1)

    elif distance == "dot":

        def rows(part: slice) -> torch.Tensor:
            with full_precision(query.device.type):
                return torch.mm(query[part], gallery.T).neg_()

    else:
        query_squared, gallery_squared = query.square().sum(1, keepdim=True), gallery.square().sum(1)

        def rows(part: slice) -> torch.Tensor:
            with full_precision(query.device.type):
                product = torch.mm(query[part], gallery.T)
            return product.mul_(-2).add_(query_squared[part]).add_(gallery_squared).clamp_(min=0).sqrt_()

    return rows


def unit(features: torch.Tensor) -> torch.Tensor:
    """Rows (N, D) of length 1, however long they were; a row of zeros stays one."""
    units = normalize(features)
    # What `normalize` squares may be beyond the dtype, and it lengthens nothing below its eps.
    lengths = features.norm(dim=1)
    odd = (~(lengths < torch.inf) | (lengths < 1e-12)).nonzero().flatten()
    if len(odd):
        rows = features[odd]
        largest = rows.abs().amax(1, keepdim=True)
        units[odd] = normalize(rows / largest.where(largest > 0, 1))
    return units


def inner_products(rows: torch.Tensor, columns: torch.Tensor) -> torch.Tensor:
    """(N, M) inner products of the rows of two float matrices (N, D) and (M, D), within `full_precision`.

    On an AMD CPU oneDNN takes half the time of the library that `torch.mm` uses; its sums are in another order.
    """
    if rows.device.type == "cpu" and rows.dtype == torch.float32 and torch.backends.mkldnn.is_available():
        return linear(rows.to_mkldnn(), columns.to_mkldnn()).to_dense()
    return torch.mm(rows, columns.T)


def as_pair(function: str, query_features, gallery_features) -> tuple[torch.Tensor, torch.Tensor]:
    """(Q, D) and (G, D) as `as_features` has them, D at least 1, of one dtype, on the device of the first."""
    query = as_features(function, "query_features", query_features)
    gallery = as_features(function, "gallery_features", gallery_features).to(query.device)
    if query.shape[1] != gallery.shape[1]:
        raise ValueError(
            f"{function}: query_features and gallery_features must have the same width D, "
            f"got {query.shape[1]} and {gallery.shape[1]}"
        )
    if not query.shape[1]:
        raise ValueError(f"{function}: features must have a width D of at least 1, got 0")
    dtype = torch.promote_types(query.dtype, gallery.dtype)
    return query.to(dtype), gallery.to(dtype)


def as_features(function: str, name: str, features) -> torch.Tensor:
    """(N, D) finite features as a detached float32 or float64 tensor; ValueError for anything else."""
    features = as_tensor(function, name, features).detach()
    if features.ndim != 2 or not features.is_floating_point():
        raise ValueError(
            f"{function}: {name} must be a float matrix (N, D), got {tuple(features.shape)} {features.dtype}"
        )
    if not all_finite(features):
        rows = (~features.isfinite().all(1)).nonzero().flatten()
        raise ValueError(
            f"{function}: {name} must be finite, got NaN or infinity in {len(rows)} of {len(features)} rows, "
            f"the first in row {int(rows[0])}"
        )
    return features if features.dtype == torch.float64 else features.float()


def all_finite(values: torch.Tensor) -> bool:
    """Whether there is no NaN and no infinity: both show in the extremes, in a fortieth of the time of `isfinite`."""
    return values.numel() == 0 or bool(torch.stack(values.aminmax()).isfinite().all())


def as_tensor(function: str, name: str, values, device=None) -> torch.Tensor:
    """`torch.as_tensor`; ValueError that names what cannot become one."""
    try:
        return torch.as_tensor(values, device=device)
    except (TypeError, ValueError, RuntimeError) as error:
        kind = type(values).__name__
        raise ValueError(
            f"{function}: {name} must be numbers in a tensor, array or list, got {kind}: {error}"
        ) from error


@contextmanager
def full_precision(device_type: str) -> Iterator[None]:
    """Products in the features' own precision: a rounding to bfloat16 or TF32 would reorder rankings."""
    libraries = torch.backends.cuda.matmul, torch.backends.mkldnn.matmul
    before = [library.fp32_precision for library in libraries]
    for library in libraries:
        library.fp32_precision = "ieee"
    try:
        with torch.autocast(device_type, enabled=False):
            yield
    finally:
        for library, precision in zip(libraries, before, strict=True):
            library.fp32_precision = precision
