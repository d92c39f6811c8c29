"""The one exception that command lines show to a user."""


class InputError(ValueError):
    """Something the user gave is wrong: a knob, a path, a file, a checkpoint.

    The message names the thing, what was wanted, what came and what to do. The command lines
    print it as one line and exit with 2; anything else is a bug and keeps its traceback.
    """


class Diverged(RuntimeError):
    """A loss became infinite or not a number; the message names the step, the term and the last checkpoint."""


class Stopped(Exception):
    """The user stopped the run; the message says where it can go on."""
