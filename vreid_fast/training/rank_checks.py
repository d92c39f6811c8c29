"""What several processes cannot do together."""

from __future__ import annotations

from vreid_fast import ranks
from vreid_fast.config import Config
from vreid_fast.errors import InputError
from vreid_fast.models import MATCHING


def check_ranks(config: Config, domain_norms: bool) -> None:
    """Refuse what several processes cannot do together.

    Args:
        domain_norms: whether the method has batch norms of each domain.

    Raises:
        InputError: a batch that does not divide by them, a --split, --graph, --network, --per_epoch or --method of
            one process.
    """
    if not ranks.several():
        return
    network, method = config.network.network, config.stages.method
    if config.data.split == "all":
        raise InputError("--split all: works in one process; start one run for each split, as --split 0")
    if config.device.graph == "on":
        raise InputError("--graph on: works in one process; leave it out, or start one")
    if network == "cavit":
        raise InputError("--network cavit: draws which blocks a clip skips, in one process; take another, or start one")
    if network in MATCHING:
        raise InputError(f"--network {network}: compares the pairs of one process; take another, or start one")
    if config.batch.per_epoch == "graph":
        raise InputError("--per_epoch graph: makes batches in one process; set --per_epoch tracklets, or start one")
    if domain_norms:
        raise InputError(f"--method {method}: works in one process; take another, or start one")
    ranks.check_divides("--people", config.batch.people)
    ranks.check_divides("--target_batch", config.batch.target_batch)
