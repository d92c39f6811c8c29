import numpy as np
import pytest
from every_reader import write
from key_frames import KINDS, write_kind

from vreid_fast.data.reading.video import contents


def starts(path):
    layout = contents(str(path)).layout
    return None if layout is None else np.unique(layout.starts).tolist()


@pytest.mark.parametrize("kind", [kind for kind in KINDS if "open" not in kind])
def test_a_decoder_begins_at_each_key_frame(tmp_path, kind):
    assert starts(write_kind(tmp_path / "a", kind, 29, 7)) == [0, 7, 14, 21, 28]


@pytest.mark.parametrize("kind", ["h264 open", "hevc open"])
def test_not_where_frames_behind_it_refer_to_frames_before_it(tmp_path, kind):
    assert starts(write_kind(tmp_path / "a", kind, 29, 8)) == [0]


@pytest.mark.parametrize("kind", KINDS)
def test_packets_are_where_they_are_said_to_be(tmp_path, kind):
    import av

    path = write_kind(tmp_path / "a", kind, 11, 4)
    layout, data = contents(str(path)).layout, path.read_bytes()
    found = [data[at : at + size] for at, size in zip(layout.offsets.tolist(), layout.sizes.tolist())]
    with av.open(str(path)) as container:
        assert found == [bytes(packet) for packet in container.demux(video=0) if packet.size]


@pytest.mark.parametrize(
    "codec, options, ending",
    [
        ("libx264", {}, "ts"),
        ("libx264", {}, "avi"),
        ("libx264", {}, "h264"),
        ("libvpx", {"b": "1M"}, "webm"),
        ("mjpeg", {}, "avi"),
    ],
)
def test_others_have_none_and_are_read_as_whole_files(tmp_path, codec, options, ending):
    assert starts(write(tmp_path / "a", codec, options, "yuvj420p" if codec == "mjpeg" else "yuv420p", ending)) is None


def test_parameter_sets_among_the_packets_leave_no_layout(tmp_path):
    """They would hold for all packets behind them, which a decoder that begins later never sees."""
    path = write_kind(tmp_path / "a", "hevc", 6, 1)
    assert starts(path) == list(range(6))  # x265 says those of the header again
    data = bytearray(path.read_bytes())
    layout = contents(str(path)).layout
    at = int(layout.offsets[3])
    first = data.index(data[at + 4 : at + 20], at)  # of packet 3 itself
    data[first + 12] ^= 1
    path.write_bytes(data)
    assert starts(path) is None
