"""`vreid_fast.train` in float64, where runs that compute the same in another order stay near each other.

The variable SIGNAL = "RANK STEP NUMBER" sends a signal to the process of that rank in that step, unless torchrun has
started it again.
"""

import functools
import os
import sys

import torch

torch.set_default_dtype(torch.float64)

from vreid_fast.data.reading import loader  # noqa: E402, after the type is set
from vreid_fast.train import main  # noqa: E402
from vreid_fast.training.session import Session  # noqa: E402

loader.gather_clips = functools.partial(loader.gather_clips, backend="reference")  # the others have no float64
rank, step, number = map(int, os.environ.get("SIGNAL", "-1 0 0").split())
if rank == int(os.environ.get("RANK", "0")) and os.environ.get("TORCHELASTIC_RESTART_COUNT", "0") == "0":
    plain = Session.advance

    def advance(self, *arguments, **options):
        if self.learner.step + 1 == step:
            os.kill(os.getpid(), number)
        plain(self, *arguments, **options)

    Session.advance = advance
sys.exit(main())
