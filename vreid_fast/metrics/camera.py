"""Per-camera standardisation of features: the baseline that needs no training."""

import torch

from .distance import all_finite, as_features, as_tensor


def camera_standardise(features, cameras, reference_features, reference_cameras, eps: float = 1e-5) -> torch.Tensor:
    """Remove each camera's own mean and spread: (x - mean_c) / sqrt(var_c + eps) for every feature column.

    The statistics of camera c come from its reference items, which need no identities (the target
    training tracklets). A camera without at least two reference items, and every item when either
    side's cameras are None, takes the statistics over the whole reference.

    Args:
        features: (N, D) tensor or array of any float type.
        cameras: (N,) integers, or None when unknown.
        reference_features: (R, D).
        reference_cameras: (R,) integers, or None when unknown.
        eps: added to the variance, in squared feature units.

    Returns:
        (N, D), float64 when `features` are, else float32, on their device.

    Raises:
        ValueError: a wrong shape, an empty reference, NaN or infinity in either side, or a reference so long that its
            variance is beyond float64; an `eps` below zero.
    """
    if not 0 <= eps < float("inf"):
        raise ValueError(f"camera_standardise: eps must be 0 or more, got {eps}")
    features = as_features("camera_standardise", "features", features)
    reference = as_features("camera_standardise", "reference_features", reference_features).to(features)
    if len(reference) == 0 or reference.shape[1] != features.shape[1]:
        raise ValueError(
            f"camera_standardise: reference_features must be (R, {features.shape[1]}) with R at least 1, "
            f"got {tuple(reference.shape)}"
        )
    standardised = _standardise(features, reference, eps)
    if cameras is None or reference_cameras is None:
        return standardised
    cameras = _as_cameras("cameras", cameras, features)
    reference_cameras = _as_cameras("reference_cameras", reference_cameras, reference)
    for camera in cameras.unique():
        seen = reference_cameras == camera
        if seen.sum() >= 2:
            here = cameras == camera
            standardised[here] = _standardise(features[here], reference[seen], eps)
    return standardised


def _standardise(features: torch.Tensor, reference: torch.Tensor, eps: float) -> torch.Tensor:
    variance, mean = torch.var_mean(reference, dim=0, correction=0)
    if not all_finite(variance):
        if features.dtype != torch.float64:  # which a square of float32 cannot be too large for
            return _standardise(features.double(), reference.double(), eps).to(features)
        raise ValueError("camera_standardise: the variance of the reference is not finite; are the features too long?")
    return (features - mean) / (variance + eps).sqrt()


def _as_cameras(name: str, cameras, features: torch.Tensor) -> torch.Tensor:
    cameras = as_tensor("camera_standardise", name, cameras, features.device)
    integers = not (cameras.is_floating_point() or cameras.is_complex())
    if cameras.shape != features.shape[:1] or (len(cameras) and not integers):
        raise ValueError(
            f"camera_standardise: {name} must be ({len(features)},) integers, one for each feature row, "
            f"got {tuple(cameras.shape)} {cameras.dtype}"
        )
    return cameras
