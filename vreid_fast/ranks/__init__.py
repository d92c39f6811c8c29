"""The processes of a run, as torchrun starts them: each has a rank and computes a part of every batch.

A plan, a loss or a memory never learns how many there are: `part` takes a rank's slice of a batch before it is read,
`gather` makes outputs of all slices those of the whole batch again, and from there on every rank computes the same.
`average` makes one of what each found of the parts that were computed in slices. With one process each function
does nothing, and nothing is imported.
"""

from .collectives import add_up, anyone, average, of_all, of_each, of_first, of_first_here
from .group import Lost, begun, first, joined, local, one_voice, restarted, several, wait_at_most
from .slices import gather, part, share, whole

__all__ = [
    "Lost",
    "add_up",
    "anyone",
    "average",
    "begun",
    "first",
    "gather",
    "joined",
    "local",
    "of_all",
    "of_each",
    "of_first",
    "of_first_here",
    "one_voice",
    "part",
    "restarted",
    "several",
    "share",
    "wait_at_most",
    "whole",
]
