"""`vreid_fast.train` in float64, where runs that compute the same in another order stay near each other.

The variable SIGNAL = "RANK STEP NUMBER" sends a signal to the process of that rank in that step, unless torchrun has
started it again. With "clusters" for STEP it is sent between two steps, where `plus` looks for clusters: as the
teacher's statistics are measured of the second camera. With "kmeans" it is sent within a step, before the second
k-means of `paper`.
"""

import functools
import itertools
import os
import sys

import torch

torch.set_default_dtype(torch.float64)

from vreid_fast.data.reading import loader  # noqa: E402, after the type is set
from vreid_fast.losses import consistency  # noqa: E402
from vreid_fast.models.batch_norm import _Average  # noqa: E402
from vreid_fast.train import main  # noqa: E402
from vreid_fast.training.session import Session  # noqa: E402

loader.gather_clips = functools.partial(loader.gather_clips, backend="reference")  # the others have no float64
rank, place, number = os.environ.get("SIGNAL", "-1 0 0").split()


def signalled(plain, here):
    """The function, before which the signal is sent where `here(self)` says so."""

    def function(self, *arguments, **options):
        if here(self):
            os.kill(os.getpid(), int(number))
        return plain(self, *arguments, **options)

    return function


if rank == os.environ.get("RANK", "0") and os.environ.get("TORCHELASTIC_RESTART_COUNT", "0") == "0":
    if place == "clusters":
        cameras = itertools.count(1)
        _Average.begin = signalled(_Average.begin, lambda _: next(cameras) == 2)
    elif place == "kmeans":
        times = itertools.count(1)
        consistency.kmeans = signalled(consistency.kmeans, lambda _: next(times) == 2)
    else:
        Session.advance = signalled(Session.advance, lambda session: session.learner.step + 1 == int(place))
sys.exit(main())
