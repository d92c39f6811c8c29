"""What a network can take of test clips, losses, methods and samplers, and what can be had of it."""

from __future__ import annotations

from vreid_fast.config import Config
from vreid_fast.errors import InputError
from vreid_fast.models import MATCHING, VideoNetwork


def check_matching(config: Config) -> None:
    """Raises InputError for what a network that compares pairs has nothing for: it has no vectors of single tracklets,
    no features of frames, no classifier; and others have no scores of pairs."""
    name, identity, method = config.network.network, config.identity, config.stages.method
    if name not in MATCHING:
        return
    wants = f"network {name} compares pairs of tracklets and has no"
    if method != "source":
        raise InputError(f"--method {method}: {wants} vectors and frame features to adapt by; set --method source")
    if config.test.statistics not in ("auto", "running"):
        raise InputError(
            f"--statistics {config.test.statistics}: {wants} batch norms that follow a domain; set --statistics auto"
        )
    for loss in ("cross_entropy", "info_nce"):
        if factor := getattr(identity, loss):
            raise InputError(f"--{loss} {factor}: {wants} classifier and no projection; set --{loss} 0")
    if config.clothes.clothes:
        raise InputError(f"--clothes {config.clothes.clothes}: {wants} vectors for it; set --clothes 0")
    if config.test.distance != "cosine":
        raise InputError(f"--distance {config.test.distance}: {wants} vectors to compare by it; leave it out")


def check_sampler(config: Config, adapts: bool) -> None:
    """Raises InputError for a sampler that a method which adapts has no use for."""
    if config.batch.per_epoch == "graph" and adapts:
        raise InputError(
            f"--per_epoch graph: it makes batches of the source alone, and --method {config.stages.method} adapts; set "
            "--per_epoch tracklets, or --method source"
        )


def check_vectors(network: VideoNetwork, what: str) -> None:
    """Raises InputError for a network that compares pairs where vectors are wanted, by `what`."""
    if network.compares_pairs:
        raise InputError(
            f"{what}: the network of the checkpoint compares pairs of tracklets and has no vectors of single ones; "
            "python -m vreid_fast.evaluate scores it, or take the checkpoint of another network"
        )


def compare_by(config: Config, network: VideoNetwork) -> None:
    """Have a network compare what `--compare` says.

    Raises:
        InputError: one that compares vectors, or test clips that are not one of T frames for each tracklet.
    """
    test = config.test
    if network.compares_pairs:
        network.compare_frames((test.test_frames or config.clip.frames) if test.compare == "frames" else 0)
    elif test.compare == "frames":
        raise InputError(
            f"--compare frames: network {config.network.network} compares vectors, not pairs; leave it out"
        )
    if test.compare == "frames" and test.test_clips not in ("even", "chunks", "begin"):
        raise InputError(
            f"--test_clips {test.test_clips}: with --compare frames a tracklet is one clip; set --test_clips even, "
            "chunks or begin, or --compare maps"
        )


def check_test_clips(config: Config, network: VideoNetwork) -> None:
    """Raises InputError for test clips of another T than the network can take."""
    name, frames, test = config.network.network, config.clip.frames, config.test
    if "frames" in network.fixed and test.test_frames not in (0, frames):
        raise InputError(
            f"--test_frames {test.test_frames}: network {name} is built for clips of {frames} frames; leave it out"
        )
    if network.whole_clips and test.test_clips == "contiguous":
        raise InputError(
            f"--test_clips contiguous: its last clip is shorter, and network {name} takes none; set --test_clips "
            "completed, or another"
        )
    if test.test_frames:
        network.check_frames(test.test_frames, "--test_frames")
