"""TensorBoard files: written, and given up in a line where the disk is full."""

import subprocess
import sys

from vreid_fast.training.board import Board


def test_scalars_are_written(tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    board = Board(tmp_path, start=1)
    board.add("loss", 0.5, 3)
    board.close()
    (event,) = EventAccumulator(str(tmp_path)).Reload().Scalars("loss")
    assert (event.step, event.value) == (3, 0.5)


def test_a_full_disk_ends_it_with_one_line_and_nothing_else(tmp_path):
    program = f"""
import resource, signal
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # a write beyond the limit is then an error, as on a full disk
from vreid_fast.training.board import Board
resource.setrlimit(resource.RLIMIT_FSIZE, (2000, resource.RLIM_INFINITY))
board = Board({str(tmp_path)!r}, start=1)
for step in range(300):
    board.add("loss", 0.5, step)
    board.flush()
board.close()
print("on")
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120)
    note, on = done.stdout.splitlines()
    assert note.startswith(f"note: {tmp_path}: no more is written for TensorBoard (") and on == "on"
    assert done.returncode == 0 and done.stderr == ""
