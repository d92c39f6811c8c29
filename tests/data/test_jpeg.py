import io

import numpy as np
import pytest
from media import encoded_picture, picture
from PIL import Image

from vreid_fast.data.reading.images import decode
from vreid_fast.data.reading.jpeg import END, header_of

SIZE = {"height": 96, "width": 64}


def jpeg(number=3, mode="RGB", **options):
    """The bytes of a noisy JPEG: what is damaged in smooth ones hardly shows."""
    noise = np.random.default_rng(number).normal(0, 12, (*SIZE.values(), 3))
    image = Image.fromarray((picture(number, **SIZE) + noise).clip(0, 255).astype(np.uint8)).convert(mode)
    file = io.BytesIO()
    image.save(file, "JPEG", **{"quality": 90, **options})
    return file.getvalue()


def by_pillow(content):
    return np.asarray(Image.open(io.BytesIO(content)).convert("RGB"))


KINDS = {
    "baseline": {},
    "progressive": {"progressive": True},
    "optimised": {"optimize": True},
    "4:4:4": {"subsampling": "4:4:4"},
    "4:2:2": {"subsampling": "4:2:2"},
    "RGB": {"keep_rgb": True},
    "restarts": {"restart_marker_blocks": 1},
    "grey": {"mode": "L"},
    "CMYK": {"mode": "CMYK"},
    "comment": {"comment": b"x" * 60_000},
    "profile": {"icc_profile": bytes(3000)},
    "thumbnail": {"exif": b"Exif\0\0MM\0*\0\0\0\x08\0\0" + encoded_picture(40).tobytes()},
}


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_has_the_pixels_that_pillow_gives(kind):
    content = jpeg(**KINDS[kind])
    found = decode(content)
    assert found.shape == (96, 64, 3) and np.abs(found.astype(int) - by_pillow(content)).max() <= 1
    assert header_of(content).size == (96, 64)


def test_a_subsampling_that_few_programs_write():
    # Four blocks of grey to one of each colour, two by two or in a column: of a plain image it is the same data.
    file = io.BytesIO()
    Image.new("RGB", (32, 32), (200, 90, 40)).save(file, "JPEG", quality=95, subsampling="4:2:0")
    content = bytearray(file.getvalue())
    content[content.index(b"\xff\xc0") + 11] = 0x14
    assert np.abs(decode(bytes(content)).astype(int) - (200, 90, 40)).max() <= 3


@pytest.mark.parametrize("more", [bytes(3), bytes(100) + jpeg(9)[:300], jpeg(9)])
def test_bytes_after_a_whole_jpeg_do_no_harm(more):
    assert (decode(jpeg() + more) == decode(jpeg())).all()


def test_a_few_zeros_before_the_end_are_padding_and_other_bytes_are_damage():
    assert (decode(jpeg()[:-2] + bytes(6) + END) == decode(jpeg())).all()
    for more in (bytes(40), b"\x55\xaa" * 20, b"\x55\xaa" * 3):
        with pytest.raises(ValueError, match="extraneous bytes"):
            decode(jpeg()[:-2] + more + END)


DAMAGE = {
    "cut": lambda content: content[: len(content) // 2],
    "cut, with an end": lambda content: content[: len(content) // 2] + END,
    "without an end": lambda content: content[:-2],
    "zeros in the middle": lambda content: content[:1000] + bytes(200) + content[1200:],
    "bytes put in": lambda content: content[:1000] + b"\x13\x37" * 99 + content[1000:],
    "cut in a segment": lambda content: content[:100],
    "a segment without end": lambda content: content[:2] + b"\xff\xe1\xff\xff" + content[2:],
    "no segment": lambda content: content[:2] + b"\0" + content[2:],
    "only a start": lambda content: content[:2],
}


@pytest.mark.parametrize("damage", DAMAGE)
@pytest.mark.parametrize(
    "options", [{}, {"progressive": True}, {"mode": "CMYK"}], ids=["baseline", "progressive", "CMYK"]
)
def test_damage_is_an_error_though_other_decoders_fill_it_in(damage, options):
    with pytest.raises(ValueError):
        decode(DAMAGE[damage](jpeg(**options)))


def test_damaged_exif_leaves_the_image_upright():
    exif = Image.Exif()
    exif[0x0112] = 6
    assert decode(jpeg(exif=exif)).shape == (64, 96, 3)
    assert decode(jpeg(exif=b"Exif\0\0MM\0*\xff\xff\xff\xff")).shape == (96, 64, 3)


def mutated(content, random):
    """One fault of a disk or a line, anywhere."""
    content, at = bytearray(content), int(random.integers(len(content)))
    kind, length = random.integers(5), int(random.integers(1, 60))
    if kind == 0:
        content[at] ^= 1 << random.integers(8)
    elif kind == 1:
        content[at:at] = random.bytes(length)
    elif kind == 2:
        del content[at : at + length]
    elif kind == 3:
        content[at : at + length] = bytes(len(content[at : at + length]))
    else:
        del content[at:]
    return bytes(content)


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_mutants_are_refused_or_whole(kind):
    """Of a damaged file no decoder may make the process end, and no half of an image may come out."""
    random = np.random.default_rng(7)
    originals = [jpeg(n, progressive=n % 2) if kind == "JPEG" else encoded_picture(n, kind).tobytes() for n in range(4)]
    refused = 0
    for draw in range(2000):
        original = originals[draw % 4]
        content = mutated(original, random)
        try:
            pixels = decode(content)
        except Exception as error:
            assert str(error) and not isinstance(error, (MemoryError, RecursionError))
            refused += 1
        else:
            assert pixels.dtype == np.uint8 and pixels.ndim == 3 and pixels.shape[2] == 3
            if kind == "PNG":  # its checksums see every fault
                assert (pixels == decode(original)).all()
    assert refused > 1000
