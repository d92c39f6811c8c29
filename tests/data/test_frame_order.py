"""The order that the names of a folder's frames mean, told by all of them together."""

import random

import pytest

from vreid_fast.data.formats.frame_order import in_order

PLAIN = {
    "numbers": [f"{n}.jpg" for n in range(1, 13)],
    "padded, then longer": [f"frame_{n:02d}.png" for n in range(95, 107)],
    "number in front": [f"{n}_cam2_person10.jpg" for n in range(1, 13)],
    "clock": [f"{word}.jpg" for word in ("9-59-58", "9-59-59", "10-00-00", "10-00-01")],
    "dates": [f"2024-{month:02d}-{day}.jpg" for month in (9, 10) for day in (2, 11)],
    "dates of letters": [f"day-{day}.jpg" for day in range(8, 12)],
    "nanoseconds": [f"{1_700_000_000_000_000_000 + n * 40_000_000}.jpg" for n in range(8)],
    "seconds": ["0.04.jpg", "0.2.jpg", "1.25.jpg", "1.5.jpg"],
    "seconds with whole ones": [f"{t:g}.jpg" for t in (0.5, 1, 1.25, 1.5, 2, 2.5, 10, 10.25, 12)],
    "seconds in words": [f"t{t}s_cam1.jpg" for t in ("0.0", "0.04", "0.12", "0.2", "0.36", "0.4", "10.08")],
    "seconds of one length": ["9.25.jpg", "9.50.jpg", "10.00.jpg"],
    "a counter behind a point": [f"cam1.{n}.jpg" for n in range(1, 13)],
    "versions": ["1.2.3.jpg", "1.2.10.jpg", "1.10.1.jpg"],
    "signs": [f"F{n}.jpg" for n in range(-13, 5)],
    "signs in front": [f"{n}.jpg" for n in range(-13, 5)],
    "signs of decimals": [f"t{n}.jpg" for n in ("-1.5", "-0.25", "0", "0.04", "0.2")],
    "capitals": [f"{'f' if n % 2 else 'F'}{n}.jpg" for n in range(12)],
    "endings": [f"F{n}.{'png' if n % 2 else 'JPG'}" for n in range(12)],
    "letters behind": ["1a.jpg", "2a.jpg", "9a.jpg", "10a.jpg", "30a.jpg"],
    "no digits": ["a.jpg", "B.jpg", "c.jpg"],
}
ASSUMED = {
    "hexadecimal": ([f"{n:x}.jpg" for n in range(8, 40)], "hexadecimal numbers"),
    "hexadecimal with zeros": ([f"F_{n:02x}.jpg" for n in range(40)], "hexadecimal numbers"),
    "hexadecimal in capitals": ([f"0x{n:X}.jpg" for n in range(5, 40)], "hexadecimal numbers"),
    "hexadecimal, each third": ([f"frame{n:x}.jpg" for n in range(5, 60, 3)], "hexadecimal numbers"),
    "hexadecimal of one length": (["x11a.jpg", "x1a1.jpg", "x2b9.jpg"], "hexadecimal numbers"),
    "decimals or counters": (["1.2.jpg", "1.25.jpg", "1.3.jpg"], "decimals"),
    "signs or separators": ([f"{n}.jpg" for n in range(-12, 0)], "negative numbers"),
}


def shuffled(names):
    return random.Random(0).sample(names, len(names))


@pytest.mark.parametrize("names", PLAIN.values(), ids=PLAIN)
def test_names_that_mean_one_order(names):
    order = in_order(shuffled(names))
    assert order.names == names and order.assumed is None


@pytest.mark.parametrize("names, assumed", ASSUMED.values(), ids=ASSUMED)
def test_what_could_mean_another_order_is_said(names, assumed):
    order = in_order(shuffled(names))
    assert order.names == names and order.assumed.startswith(assumed)


def test_frames_of_one_number():
    order = in_order(["F10.jpg", "F0_mask.jpg", "F0.jpg", "F1_mask.jpg", "F1.jpg", "f1.jpg"])
    assert order.names == ["F0.jpg", "F0_mask.jpg", "F1.jpg", "f1.jpg", "F1_mask.jpg", "F10.jpg"]
    assert order.doubles == 3 and order.doubled == "F0_mask.jpg"
    assert in_order(["F1.jpg", "F01.jpg"]).doubles == 1 and in_order(["a.jpg", "b1.jpg"]).doubles == 0


def word(rng):
    pieces = [
        rng.choice(("F", "f", "frame", "cam1_", "-", "_", ".", "", "", "t", "0x", "é", "\udcff", "٣", " ", "x" * 200)),
        rng.choice((str, hex, "{:04d}".format, "{:g}".format, "{:.2f}".format, "{:x}".format))(rng.randrange(200)),
        rng.choice(("", "", "a", "-", ".", "_1", "-02-03", "9" * 30, ".5")),
    ]
    rng.shuffle(pieces)
    return "".join(pieces)[:230]


@pytest.mark.timeout(60)
def test_any_names_have_one_order_that_is_their_own():
    """It holds each name once, and does not depend on the order that the file system gives them in."""
    rng = random.Random(0)
    for _ in range(2000):
        pattern = word(rng)
        names = {
            pattern.replace("1", str(number)) if rng.random() < 0.7 else word(rng)
            for number in range(rng.randint(1, 15))
        }
        names = sorted({f"{name}{rng.choice(('.jpg', '.jpg', '.png'))}" for name in names})
        order = in_order(names)
        assert sorted(order.names) == names
        assert in_order(shuffled(names)) == order == in_order(order.names), names


@pytest.mark.timeout(60)
def test_a_counter_in_any_writing_is_in_order():
    rng = random.Random(1)
    for _ in range(2000):
        before = rng.choice(("", "F", "img_", "cam2-", "2024-01-02_", "a.b_", "P1_"))
        behind = rng.choice(("", "_c1", " (2)", "-x"))
        first, step, count = rng.choice((0, 1, 7, 95, 10**9)), rng.choice((1, 1, 2, 5)), rng.randint(2, 30)
        write = rng.choice(("{}", "{:03d}", "{:012d}")).format
        names = [f"{before}{write(first + step * n)}{behind}.jpg" for n in range(count)]
        assert in_order(shuffled(names)).names == names
