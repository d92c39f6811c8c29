"""What several processes cannot do together, and batches that do not divide by them or into micro-batches."""

from __future__ import annotations

from vreid_fast import ranks
from vreid_fast.config import Config
from vreid_fast.errors import InputError


def check_ranks(config: Config) -> None:
    """Refuse what several processes cannot do together, and what does not divide.

    Raises:
        InputError: a --split or --graph of one process, or --graph with --accumulate; a batch that does not divide by
            the processes and --accumulate, or of which batch norm would see one clip.
    """
    if ranks.several():
        if config.data.split == "all":
            raise InputError("--split all: works in one process; start one run for each split, as --split 0")
        if config.device.graph == "on":
            raise InputError("--graph on: works in one process; leave it out, or start one")
    micro = config.batch.accumulate
    if config.device.graph == "on" and micro > 1:
        raise InputError(f"--graph on: a step of --accumulate {micro} is not recorded; leave one of them out")
    for knob, value in (("--people", config.batch.people), ("--target_batch", config.batch.target_batch)):
        _check_divides(knob, value, micro)
    _check_statistics(config)


def _check_divides(knob: str, value: int, micro: int) -> None:
    processes = ranks.whole(1)
    parts = processes * micro
    if not value % parts:
        return
    near = " or ".join(str(one) for one in sorted({max(1, value // parts) * parts, -(-value // parts) * parts}))
    by = [f"the {processes} processes of this run"] * (processes > 1) + [f"--accumulate {micro}"] * (micro > 1)
    other = "start another number of them" if processes > 1 else "--accumulate to another number"
    raise InputError(f"{knob} {value}: does not divide by {' times '.join(by)}; set {knob} to {near}, or {other}")


def _check_statistics(config: Config) -> None:
    """Batch norm wants two clips at least."""
    batch, alone = config.batch, config.device.batch_norm == "rank"
    parts = batch.accumulate * (ranks.whole(1) if alone else 1)
    if parts == 1 or batch.target_batch >= 2 * parts:
        return
    why = f"--accumulate {batch.accumulate}" if batch.accumulate > 1 else "--batch_norm rank"
    raise InputError(
        f"--target_batch {batch.target_batch}: batch norm would see one clip in each of its {parts} parts ({why}); set "
        f"--target_batch to {2 * parts} or more"
    )


def batch_norm_used(config: Config) -> dict[str, str]:
    """What batch norm takes statistics of, in words, where that is not the whole batch; for the log and the report."""
    batch, processes = config.batch, ranks.whole(1)
    alone = config.device.batch_norm == "rank" and processes > 1
    parts = batch.accumulate * (processes if alone else 1)
    if parts == 1:
        return {}
    knobs = [f"--accumulate {batch.accumulate}"] * (batch.accumulate > 1)
    knobs += [f"--batch_norm rank, {processes} processes"] * alone
    source, target = batch.people * batch.per_person // parts, batch.target_batch // parts
    return {
        "batch norm": f"of {source} clips of the source or {target} of the target at a time ({'; '.join(knobs)}): "
        "another method than of the whole batch"
    }
