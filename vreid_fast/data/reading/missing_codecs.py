"""Leaves out what nvImageCodec writes where its parts for JPEG 2000 and TIFF are not installed: DALI gets JPEGs alone.

It writes them itself, past its own levels of logging, and again for each pipeline.
"""

from __future__ import annotations

import os
import re
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

LINES = re.compile(rb"[^\n]*(?:nvjpeg2k|nvjpeg2000|nvtiff)[^\n]*\n?", re.IGNORECASE)


@contextmanager
def without_missing_codecs() -> Iterator[None]:
    """What the process writes to stderr in the block comes out at its end, but for those lines."""
    with tempfile.TemporaryFile() as written:
        sys.stderr.flush()
        stderr = os.dup(2)
        os.dup2(written.fileno(), 2)
        try:
            yield
        finally:
            sys.stderr.flush()
            os.dup2(stderr, 2)
            os.close(stderr)
            written.seek(0)
            if others := LINES.sub(b"", written.read()):
                os.write(2, others)
