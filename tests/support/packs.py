"""A small data set of every kind that a pack may hold, and packing it as the command does."""

import argparse
from pathlib import Path

import pytest
from media import write_images, write_video

from vreid_fast.data.commands import pack

ROWS = """path,identity,camera,clothes,split
jpg,7,1,3,train|gallery
png,7,2,,query|gallery
mixed,9,,4,gallery|query
unknown,,3,,train
videos/vp9.webm,9,1,,query|gallery|train
videos/mjpeg.avi,-4,2,,gallery
"""


def write_data(root: Path) -> str:
    """SPEC of six tracklets: images of several endings, one unknown person, two videos."""
    write_images(root / "jpg", 5)
    write_images(root / "png", 3, ending="png")
    write_images(root / "mixed", 2)
    write_images(root / "mixed", 1, ending="bmp")
    (root / "mixed" / "F1.bmp").rename(root / "mixed" / "F0.bmp")
    (root / "mixed" / "F2.jpg").rename(root / "mixed" / "F2.JPEG")
    write_images(root / "unknown", 40, height=20, width=10)
    write_video(root / "videos" / "vp9.webm", 6)
    write_video(root / "videos" / "mjpeg.avi", 3, codec="mjpeg")
    (root / "tracklets.csv").write_text(ROWS)
    return f"folder:{root}"


def run_pack(spec: str, out: Path, *options: str) -> str:
    """`python -m vreid_fast.data pack SPEC OUT ...`; returns the SPEC of the pack."""
    parser = argparse.ArgumentParser()
    pack.add_arguments(parser)
    assert pack.run(parser.parse_args([spec, str(out), *options])) == 0
    return f"pack:{out}"


def labels(tracklet) -> tuple:
    return tracklet.identity, tracklet.camera, tracklet.clothes, len(tracklet)


@pytest.fixture
def source(tmp_path):
    """SPEC of the data set."""
    return write_data(tmp_path / "source")


@pytest.fixture
def packed(source, tmp_path):
    """Folder of its pack, of several shards."""
    run_pack(source, tmp_path / "pack", "--shard_size", "4K")
    return tmp_path / "pack"
