"""Every kind of image through every reader: the same pixels, or refused by all by name."""

import io
import re
import struct
import zlib

import numpy as np
import pytest
import torch
from loading import BACKENDS
from media import picture
from packs import run_pack
from PIL import Image

from vreid_fast.data import read_dataset, read_frames
from vreid_fast.data.commands.frame_check import read_tracklet
from vreid_fast.data.reading.decoder import ReadingOptions
from vreid_fast.data.reading.limits import MOST_PIXELS
from vreid_fast.data.reading.make_decoder import make_decoder
from vreid_fast.errors import InputError

SIZE = (48, 32)
COLOURS = picture(5)
GREY = COLOURS[:, :, 0]
RGB_OF_GREY = np.repeat(GREY[:, :, None], 3, axis=2)


def saved(array_or_image, kind, **options):
    image = array_or_image if isinstance(array_or_image, Image.Image) else Image.fromarray(array_or_image)
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def png(header, rows, interlaced=0, palette=None):
    """A PNG of kinds that Pillow does not write: header is (width, height, bits, colours)."""

    def part(kind, content):
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    head = struct.pack(">IIBBBBB", *header, 0, 0, interlaced)
    parts = [part(b"IHDR", head), part(b"IDAT", zlib.compress(rows)), part(b"IEND", b"")]
    if palette is not None:
        parts.insert(1, part(b"PLTE", palette))
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def lines(pixels):
    """Rows as PNG has them, unfiltered."""
    return b"".join(b"\0" + row.tobytes() for row in pixels)


def interlaced(pixels):
    steps = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))
    return b"".join(lines(pixels[top::down, left::right]) for left, top, right, down in steps)


def tiff(grey, bits, photometric, more=()):
    """A TIFF of one strip."""
    height, width = grey.shape
    pixels = np.ascontiguousarray(grey).astype("<u2")
    if bits == 12:  # two pixels in three bytes, the first one's upper bits first
        one, two = pixels.reshape(-1, 2).T
        pixels = np.stack([one >> 4, (one & 15) << 4 | two >> 8, two & 255], axis=1).astype(np.uint8)
    content = (pixels.astype(np.uint8) if bits == 8 else pixels).tobytes()
    tags = [(256, width), (257, height), (258, bits), (259, 1), (262, photometric), (273, 8)]
    tags += [(277, 1), (278, height), (279, len(content)), *more]
    table = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags)
    return b"II*\0" + struct.pack("<I", 8 + len(content)) + content + struct.pack("<H", len(tags)) + table + bytes(4)


def turned(kind, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    how = {2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}[orientation]  # what Pillow must do to store it so
    return saved(Image.fromarray(COLOURS).transpose(how), kind, exif=exif, quality=100, lossless=True)


def with_alpha(transparent):
    return np.dstack([COLOURS, np.full(GREY.shape, 255 - 255 * transparent, np.uint8)])


def turned_by_xmp(kind):
    words = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:Description tiff:Orientation="3"/></x:xmpmeta>'
    return saved(Image.fromarray(COLOURS[::-1, ::-1].copy()), kind, xmp=words, quality=100, lossless=True)


def tiff_of_eight_bit_palette():
    """One whose palette counts to 255, as some programs write it, where 65,535 is wanted."""
    image = Image.fromarray(GREY).convert("P")
    content = bytearray(saved(image, "TIFF"))
    at = content.index(struct.pack("<HHI", 320, 3, 768)) + 8
    place = int.from_bytes(content[at : at + 4], "little")
    content[place : place + 1536] = np.tile(np.arange(256, dtype="<u2"), 3).tobytes()
    return bytes(content)


def netpbm(kind, highest, pixels):
    """A PGM or PPM of numbers up to `highest`."""
    return b"%s 32 48 %d\n" % (kind, highest) + pixels.astype(np.uint8 if highest < 256 else ">u2").tobytes()


def too_high(highest):
    """Grey up to `highest`, and a pixel above."""
    pixels = np.full(GREY.shape, highest // 2)
    pixels[7, 5] = highest + 1
    return pixels


def sampled(*factors):
    """A JPEG that says that its planes are sampled so."""
    content = bytearray(saved(COLOURS, "JPEG", subsampling=0))
    at = content.index(b"\xff\xc0") + 11
    content[at : at + 9 : 3] = bytes(factors)
    return bytes(content)


def damaged_exif(kind, cut):
    """Pixels to be turned, by an entry of Exif that `cut` bytes of are there behind the count of five."""
    exif = b"Exif\0\0II*\0\x08\0\0\0\x05\0" + b"\x12\x01\x03\0\x01\0\0\0\x03\0\0\0"[:cut]
    pixels = COLOURS[::-1, ::-1] if cut == 12 else COLOURS
    return saved(Image.fromarray(pixels.copy()), kind, exif=exif, quality=100, lossless=True)


WIDE = GREY.astype(np.uint16) * 257
RIGHT = {
    "jpeg": (saved(COLOURS, "JPEG", quality=95), COLOURS),
    "jpeg, grey": (saved(GREY, "JPEG", quality=95), RGB_OF_GREY),
    "jpeg, cmyk": (saved(Image.fromarray(COLOURS).convert("CMYK"), "JPEG", quality=95), COLOURS),
    "png": (saved(COLOURS, "PNG"), COLOURS),
    "png, grey": (saved(GREY, "PNG"), RGB_OF_GREY),
    "png, grey of 16 bits": (saved(Image.fromarray(WIDE), "PNG"), RGB_OF_GREY),
    "png, colours of 16 bits": (
        png((32, 48, 16, 2), b"".join(b"\0" + (row.astype(">u2") * 257).tobytes() for row in COLOURS)),
        COLOURS,
    ),
    "png, palette": (saved(Image.fromarray(COLOURS).quantize(256), "PNG"), COLOURS),
    "png, transparent": (saved(with_alpha(1), "PNG"), COLOURS),
    "png, one bit": (saved(Image.fromarray(GREY > 60), "PNG"), np.where(RGB_OF_GREY > 60, 255, 0)),
    "png, interlaced": (png((32, 48, 8, 2), interlaced(COLOURS), 1), COLOURS),
    "png, that ends black": (saved(np.where(np.arange(48)[:, None, None] < 40, COLOURS, 0), "PNG"),
                             np.where(np.arange(48)[:, None, None] < 40, COLOURS, 0)),
    "jpeg, turned by XMP": (turned_by_xmp("JPEG"), COLOURS),
    "webp, turned by XMP": (turned_by_xmp("WEBP"), COLOURS),
    "tiff, palette of eight bits": (tiff_of_eight_bit_palette(), RGB_OF_GREY),
    "tiff": (saved(COLOURS, "TIFF"), COLOURS),
    "tiff, lzw": (saved(COLOURS, "TIFF", compression="tiff_lzw"), COLOURS),
    "tiff, cmyk": (saved(Image.fromarray(COLOURS).convert("CMYK"), "TIFF"), COLOURS),
    "tiff, grey of 16 bits": (saved(Image.fromarray(WIDE), "TIFF"), RGB_OF_GREY),
    "tiff, ink of 16 bits": (tiff(65535 - WIDE, 16, 0), RGB_OF_GREY),
    "tiff, grey of 12 bits": (tiff(GREY.astype(np.uint16) * 16, 12, 1), RGB_OF_GREY),
    "webp": (saved(COLOURS, "WEBP", lossless=True), COLOURS),
    "bmp": (saved(COLOURS, "BMP"), COLOURS),
    "gif": (saved(Image.fromarray(GREY), "GIF"), RGB_OF_GREY),
    "ppm": (saved(COLOURS, "PPM"), COLOURS),
    **{
        f"{name} up to {highest}": (netpbm(kind, highest, np.rint(pixels / 255 * highest)), wanted)
        for highest in (100, 255, 256, 1023, 4095, 65535)
        for name, kind, pixels, wanted in (("pgm", b"P5", GREY, RGB_OF_GREY), ("ppm", b"P6", COLOURS, COLOURS))
    },
    "pgm of two colours": (netpbm(b"P5", 1, GREY > 60), np.where(RGB_OF_GREY > 60, 255, 0)),
    **{f"{kind}, exif damaged after {cut}": (damaged_exif(kind, cut), COLOURS)
       for kind in ("JPEG", "PNG", "WEBP") for cut in (0, 7, 12)},
    "pgm of 16 bits": (b"P5 32 48 65535\n" + WIDE.astype(">u2").tobytes(), RGB_OF_GREY),
    "jpeg 2000": (saved(COLOURS, "JPEG2000"), COLOURS),
    "jpeg 2000, grey of 16 bits": (saved(Image.fromarray(WIDE), "JPEG2000"), RGB_OF_GREY),
    "avif": (saved(COLOURS, "AVIF", quality=100, subsampling="4:4:4"), COLOURS),
    **{f"jpeg, turned {n}": (turned("JPEG", n), COLOURS) for n in range(2, 9)},
    **{f"{kind}, turned {n}": (turned(kind, n), COLOURS) for kind in ("PNG", "TIFF", "WEBP") for n in (3, 5, 6)},
}  # fmt: skip
REFUSED = {
    "tiff, real numbers": (saved(GREY.astype(np.float32), "TIFF"), "real numbers, which have no agreed scale"),
    "tiff, 32 bits": (saved(GREY.astype(np.int32), "TIFF"), "numbers of 32 bits"),
    "tiff, pages": (saved(COLOURS, "TIFF", save_all=True, append_images=[Image.fromarray(COLOURS)]), "2 pictures"),
    "png, animated": (saved(COLOURS, "PNG", save_all=True, append_images=[Image.fromarray(~COLOURS)]), "2 pictures"),
    "webp, animated": (saved(COLOURS, "WEBP", save_all=True, append_images=[Image.fromarray(~COLOURS)]), "2 pictures"),
    "gif, animated": (saved(COLOURS, "GIF", save_all=True, append_images=[Image.fromarray(~COLOURS)]), "2 pictures"),
    "png, wrong checksum": (saved(COLOURS, "PNG")[:-30] + b"\0" + saved(COLOURS, "PNG")[-29:], "checksum"),
    "png, cut": (saved(COLOURS, "PNG")[:-40], "ends at byte"),
    "png, rows missing": (png((32, 48, 8, 2), lines(COLOURS[:30])), "2,910 bytes of pixels, wanted 4,656"),
    "png, interlaced, rows missing": (
        png((32, 48, 8, 2), interlaced(COLOURS)[: -24 * 97], 1),
        f"{len(interlaced(COLOURS)) - 24 * 97:,} bytes of pixels, wanted {len(interlaced(COLOURS)):,}",
    ),
    "png, no palette": (png((32, 48, 8, 3), lines(GREY)), "palette of 0 colours"),
    "png, short palette": (png((32, 48, 8, 3), lines(GREY), palette=bytes(30)), "palette of 10 colours"),
    "tiff, signed": (tiff(GREY, 8, 1, [(339, 2)]), "numbers with a sign"),
    "tiff, half numbers": (tiff(GREY, 16, 1, [(339, 3)]), "a TIFF that is damaged, or of a kind that is not read"),
    "png, gigantic": (png((30_000, 30_000, 8, 0), bytes(9)), f"at most {MOST_PIXELS:,}"),
    "jpeg, one pixel": (saved(COLOURS[:1, :1], "JPEG"), "1x1 pixels"),
    **{
        f"pgm above {highest}": (netpbm(b"P5", highest, too_high(highest)), f"pixels of {highest + 1}, and says that")
        for highest in (1, 100, 254, 256, 1023, 65534)
    },
    "ppm above 100": (netpbm(b"P6", 100, np.dstack([too_high(100)] * 3)), "pixels of 101, and says that 100 is white"),
    "pam": (
        b"P7\nWIDTH 32\nHEIGHT 48\nDEPTH 3\nMAXVAL 255\nTUPLTYPE RGB\nENDHDR\n" + COLOURS.tobytes(),
        r"it is a PAM \(save it as PNG or JPEG\)",
    ),
    "jpeg, sampled 3x1": (sampled(0x31, 0x11, 0x11), r"a JPEG \(usual, 8 bits, planes sampled 3x1, 1x1, 1x1\)"),
    "jpeg, sampled 2x2 throughout": (sampled(0x22, 0x22, 0x22), "planes sampled 2x2, 2x2, 2x2.*save it anew"),
    "icon": (saved(COLOURS, "ICO"), "an icon .* no image of a kind that is read"),
    "postscript": (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 32 48\n", "a page of PostScript"),
    "git lfs": (b"version https://git-lfs.github.com/spec/v1\nsize 4\n", "git lfs pull"),
    "html": (b"\n<!DOCTYPE html><html></html>", "an HTML page"),
    "heic": (b"\0\0\0\x18ftypheic" + bytes(99), "a HEIC"),
    "mp4": (b"\0\0\0\x18ftypisom" + bytes(99), "a video .*no image of a kind that is read"),
    "zeros": (bytes(999), "all zeros, no image of a kind that is read"),
    "zip": (b"PK\3\4" + bytes(99), "an archive"),
    "text": (b"not an image " * 30, "begins 'not an image', no image of a kind that is read"),
}


def tracklet_of(content, folder):
    """Three frames: it, and two good ones."""
    folder.mkdir()
    (folder / "F1.jpg").write_bytes(content)
    for number in (2, 3):
        (folder / f"F{number}.jpg").write_bytes(saved(picture(number), "PNG"))
    return read_dataset(f"folder:{folder}").train[0]


def by_loader(backend):
    def read(tracklet):
        decoder = make_decoder(ReadingOptions(size=SIZE, backend=backend))
        try:
            pixels, rows = decoder.decode(decoder.read([(tracklet, np.arange(3))] * 30))
            return pixels.numpy()[rows][0]
        finally:
            decoder.rest()

    return read


def by_pack(tmp_path, *options):
    def read(tracklet):
        folder = tracklet.frames.folder
        packed = run_pack(f"folder:{folder}", tmp_path / "pack", *options)
        return read_frames(read_dataset(packed).train[0], [0])[0]

    return read


@pytest.fixture
def readers(tmp_path):
    pytest.importorskip("nvidia.dali")
    return {
        "read_frames": lambda tracklet: read_frames(tracklet, [0])[0],
        **{backend: by_loader(backend) for backend in BACKENDS},
        "pack": by_pack(tmp_path),
        "video pack": by_pack(tmp_path, "--video", "vp9", "--crf", "1", "--overwrite"),
    }


@pytest.mark.parametrize("kind", RIGHT)
def test_all_readers_see_the_same(tmp_path, readers, kind):
    content, wanted = RIGHT[kind]
    tracklet = tracklet_of(content, tmp_path / "a")
    assert not read_tracklet(tracklet, range(3)).faults
    for name, read in readers.items():
        # Video has half the colours; sharp ones are for images.
        if name != "video pack" or "one bit" not in kind:
            assert np.abs(read(tracklet).astype(int) - wanted).max() <= 6, name


@pytest.mark.parametrize("kind", REFUSED)
def test_all_readers_refuse_the_same_by_name(tmp_path, readers, kind):
    content, reason = REFUSED[kind]
    tracklet = tracklet_of(content, tmp_path / "a")
    (fault,) = read_tracklet(tracklet, range(3)).faults
    assert fault.frames == [0] and re.search(reason, fault.reason)
    for read in readers.values():
        with pytest.raises(InputError, match=rf"a/F1\.jpg cannot be decoded \(.*{reason}"):
            read(tracklet)


def test_a_tracklet_may_hold_images_of_many_sizes(tmp_path):
    pytest.importorskip("nvidia.dali")
    (tmp_path / "a").mkdir()
    for number, (height, width) in enumerate([(48, 32), (30, 17), (90, 64)]):
        (tmp_path / "a" / f"F{number}.jpg").write_bytes(saved(picture(number, height, width), "JPEG", quality=95))
    tracklet = read_dataset(f"folder:{tmp_path / 'a'}").train[0]
    for backend in BACKENDS:
        decoder = make_decoder(ReadingOptions(size=SIZE, backend=backend))
        pixels, rows = decoder.decode(decoder.read([(tracklet, np.arange(3))]))
        assert pixels.dtype == torch.uint8
        for number, frame in enumerate(pixels.numpy()[rows]):
            assert abs(frame.mean() - picture(number).mean()) < 1.5
        decoder.rest()
