import os

import pytest

from vreid_fast.data.reading.missing_codecs import without_missing_codecs

SAID = """Failed to load nvjpeg2k library! Please install nvJPEG2000 (see https://docs.nvidia.com/cuda/nvjpeg2000).
Note: If using nvImageCodec's Python distribution, it is enough to install `nvidia-nvjpeg2k-cu13`
\033[0;31m[ERROR] \033[0m[nvtiff_ext] Failed to load nvTIFF library or retrieve version.
"""


def test_lines_on_missing_codecs_are_left_out_and_others_come_in_order(capfd):
    with without_missing_codecs():
        os.write(2, b"first\n")
        os.write(2, SAID.encode())
        os.write(2, b"second\n")
        os.write(2, b"last, without an end")
    os.write(2, b", and what follows\n")
    assert capfd.readouterr().err == "first\nsecond\nlast, without an end, and what follows\n"


def test_an_error_keeps_what_was_written(capfd):
    with pytest.raises(RuntimeError), without_missing_codecs():
        os.write(2, SAID.encode() + b"why\n")
        raise RuntimeError
    assert capfd.readouterr().err == "why\n"
