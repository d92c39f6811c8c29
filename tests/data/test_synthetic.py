"""The embedded data sets: what is in them, that a seed fixes them, and how the cache behaves when things go wrong."""

import colorsys
import errno
import io
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from vreid_fast.data import synthetic
from vreid_fast.data.formats.folder import read_folder
from vreid_fast.data.synthetic import read_synthetic
from vreid_fast.data.synthetic.cache import INDEX, cached_tree
from vreid_fast.data.synthetic.camera import HEIGHT, WIDTH, View
from vreid_fast.data.synthetic.gait import FOREARM, SHIN, THIGH, UPPER_ARM, joints
from vreid_fast.data.synthetic.person import BAGS, BOTTOMS, HAIR, HATS, SLEEVES, TEXTURES, draw_person
from vreid_fast.data.synthetic.render import Canvas, Light
from vreid_fast.data.synthetic.rows import Row, rows_of
from vreid_fast.data.synthetic.style import STYLES
from vreid_fast.data.synthetic.walk import FRAMES, PEOPLE, cameras, film, random
from vreid_fast.errors import InputError

FRONTAL = Light(np.array([0.0, 0.0, 1.0]), 0.5)


@pytest.fixture(scope="module", params=STYLES)
def dataset(request, tmp_path_factory):
    """A small data set of each style, rendered once."""
    folder = tmp_path_factory.mktemp("cache")
    return request.param, folder, read_synthetic(request.param, cache=folder, people=2)


@pytest.fixture
def film_black(monkeypatch):
    """Tracklets of black frames on one process, for tests of the cache alone; returns the calls made."""
    file = io.BytesIO()
    Image.new("RGB", (WIDTH, HEIGHT)).save(file, "JPEG")
    calls = []

    def black(*arguments):
        calls.append(arguments)
        return [file.getvalue()] * FRAMES

    monkeypatch.setattr(os, "cpu_count", lambda: 1)
    monkeypatch.setattr(synthetic, "film", black)
    return calls


def tree(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_subsets(dataset):
    style, _, data = dataset
    number = STYLES[style].cameras
    train, test = ({t.identity for t in subset} for subset in (data.train, data.gallery))
    assert data.name == ("synthetic" if style == "source" else f"synthetic:{style}")
    assert len(train) == 2 and len(test) == 2 and not train & test
    assert len(data.train) == len(data.gallery) == 2 * number * 2 and len(data.query) == 2 * number
    assert {(t.identity, t.camera) for t in data.query} == {(t.identity, t.camera) for t in data.gallery}
    assert all(any(t is other for other in data.gallery) for t in data.query)
    assert {t.camera for t in data.train} == set(range(1, number + 1))
    assert len({t.frames[0] for t in data.train + data.gallery}) == len(data.train) + len(data.gallery)


def test_frames_are_jpeg_images_of_the_promised_size(dataset):
    for tracklet in dataset[2].train:
        assert len(tracklet) == FRAMES
        for path in tracklet.frames:
            with Image.open(path) as image:
                assert (image.format, image.mode, image.size) == ("JPEG", "RGB", (WIDTH, HEIGHT))


def test_pair_is_two_cameras_of_real_with_one_tracklet_a_person_and_camera(tmp_path):
    real, pair = (read_synthetic(style, cache=tmp_path, people=3) for style in ("real", "pair"))
    train, query, gallery = ([(t.identity, t.camera) for t in part] for part in (pair.train, pair.query, pair.gallery))
    assert pair.name == "synthetic:pair" and {camera for _, camera in train} == {1, 2}
    assert train == [(t.identity, t.camera) for t in real.train if t.camera != 3]
    tested = sorted({t.identity for t in real.query})
    assert sorted(query) == [(identity, 1) for identity in tested]
    assert sorted(gallery) == [(identity, 2) for identity in tested]


def test_the_cameras_of_alike_differ_in_scene_and_lane_alone():
    for style, alike in (("real", False), ("alike", True)):
        of_style = cameras(style, 0)
        for attribute in ("pitch", "resolution"):
            assert (len({getattr(camera, attribute) for camera in of_style}) == 1) == alike
        assert (len({camera.curve.tobytes() for camera in of_style}) == 1) == alike
        assert len({camera.scene.tobytes() for camera in of_style}) == len({c.yaw for c in of_style}) == len(of_style)


def test_full_sizes():
    for name, people, tested, number in (("source", 100, 16, 4), ("real", 72, 60, 3), ("alike", 72, 60, 3)):
        rows = rows_of(STYLES[name])
        subsets = [[row for row in rows if subset in row.split] for subset in ("train", "query", "gallery")]
        assert [len(rows) for rows in subsets] == [people * number * 2, tested * number, tested * number * 2]


def test_folder_format_reads_the_same_tree(dataset):
    _, folder, data = dataset
    (home,) = folder.iterdir()
    again = read_folder(str(home))
    for subset in ("train", "query", "gallery"):
        ours, theirs = getattr(data, subset), getattr(again, subset)
        assert [list(t.frames) for t in ours] == [list(t.frames) for t in theirs]
        assert [(t.identity, t.camera) for t in ours] == [(t.identity, t.camera) for t in theirs]


@pytest.mark.parametrize("processes", (1, 3))
def test_frames_do_not_depend_on_the_number_of_processes(dataset, processes, tmp_path, monkeypatch):
    style, folder, _ = dataset
    monkeypatch.setattr(os, "cpu_count", lambda: processes)
    read_synthetic(style, cache=tmp_path, people=2)
    assert tree(tmp_path) == tree(folder)


def test_seed_and_style_change_people_cameras_and_frames():
    keys = [(style, seed) for style in STYLES for seed in (0, 1)]
    assert len({b"".join(film(*key, 1, 0, 1)) for key in keys}) == len(keys)
    assert len({cameras(*key)[0].scene.tobytes() for key in keys}) == len(keys)
    people = [
        draw_person(random(STYLES[style], seed, PEOPLE, identity), STYLES[style])
        for style, seed in keys
        for identity in range(50)
    ]
    assert len({person.legs for person in people}) == len(people)


def test_tracklets_differ_in_walk_not_in_person():
    first, second = film("source", 0, 1, 0, 1), film("source", 0, 1, 0, 2)
    assert first != second and film("source", 0, 1, 0, 1) == first


def test_population_is_varied_and_the_real_one_muted():
    saturation = {}
    for name, style in STYLES.items():
        people = [draw_person(random(style, 0, PEOPLE, identity), style) for identity in range(300)]
        for kinds, attribute in (
            (HAIR, "hair"),
            (HATS, "hat"),
            (BAGS, "bag"),
            (BOTTOMS, "bottom"),
            (SLEEVES, "sleeves"),
        ):
            assert {getattr(person, attribute) for person in people} == set(kinds)
        assert {person.top.texture for person in people} == set(TEXTURES)
        saturation[name] = np.mean([colorsys.rgb_to_hsv(*person.top.colour)[1] for person in people])
    assert saturation["real"] < 0.75 * saturation["source"]


def test_people_stand_out_from_their_background():
    """The middle of the box changes from person to person far more than its corners."""
    style = "source"
    shots = np.stack(
        [np.asarray(Image.open(io.BytesIO(film(style, 0, identity, 1, 1)[0])), np.float32) for identity in range(1, 13)]
    )
    change = shots.std(0).mean(-1)
    assert change[40:60, 27:37].mean() > 1.5 * change[100:120, :8].mean()


def test_gait_keeps_limbs_rigid_and_a_foot_on_the_ground():
    person = draw_person(np.random.default_rng(3), STYLES["source"])
    cycle = np.linspace(0, 1, 40, endpoint=False)
    pose = joints(person, cycle)
    for side in ("left", "right"):
        for start, end, length in (("hip", "knee", THIGH), ("knee", "ankle", SHIN)):
            bone = pose[f"{side}_{end}"] - pose[f"{side}_{start}"]
            np.testing.assert_allclose(np.linalg.norm(bone, axis=1), length, rtol=1e-9)
        for start, end, length in (("shoulder", "elbow", UPPER_ARM), ("elbow", "hand", FOREARM)):
            bone = pose[f"{side}_{end}"] - pose[f"{side}_{start}"]
            np.testing.assert_allclose(np.linalg.norm(bone, axis=1), length, rtol=0.01)
    feet = np.stack([pose[f"{side}_{name}"][:, 1] for side in ("left", "right") for name in ("ankle", "toe")])
    np.testing.assert_allclose(feet.min(0), 0.02, atol=1e-12)
    # Half a cycle later the other leg does the same.
    np.testing.assert_allclose(np.roll(pose["left_knee"][:, 2], 20), pose["right_knee"][:, 2], atol=1e-9)
    assert 0.95 < pose["crown"][:, 1].max() < 1.02


@pytest.mark.parametrize(
    "yaw, point, expected",
    (
        (0.0, (0.0, 1.0, 0.0), (32, 20, 0)),
        (0.0, (0.1, 0.0, 0.0), (42, 120, 0)),  # towards the camera, one's left is its right
        (np.pi / 2, (0.0, 0.0, 0.1), (42, 120, 0)),
        (np.pi, (0.0, 0.0, 0.1), (32, 120, -10)),
    ),
)
def test_projection(yaw, point, expected):
    view = View(np.array([yaw]), 0.0, np.array([100.0]), np.array([[32.0, 120.0]]))
    np.testing.assert_allclose(view.project(np.array([point]))[0], expected, atol=1e-4)


def test_projection_from_above_raises_what_is_far():
    view = View(np.zeros(1), np.radians(30), np.array([100.0]), np.array([[32.0, 120.0]]))
    far, near = (view.project(np.array([[0.0, 0.0, z]]))[0] for z in (-1.0, 1.0))
    assert far[1] == pytest.approx(120 - 50, abs=1e-3) and near[1] == pytest.approx(120 + 50, abs=1e-3)


def black_canvas(frames=1):
    return Canvas(np.zeros((3, frames, HEIGHT, WIDTH)), FRONTAL)


def at(x, y, depth=0.0, frames=1):
    return np.tile(np.array([x, y, depth]), (frames, 1))


@pytest.mark.parametrize("end", ((32, 90), (45, 60), (20, 30)))
def test_capsule_covers_its_area(end):
    canvas = black_canvas()
    canvas.capsule(at(32, 40), at(*end), (6, 6, 6), (1, 1, 1), lit=False)
    length = np.hypot(end[0] - 32, end[1] - 40)
    assert canvas.colour[0].sum() == pytest.approx(2 * 6 * length + np.pi * 6**2, rel=0.01)


def test_nearer_part_hides_the_farther_in_either_order():
    pictures = []
    for order in (1, -1):
        canvas = black_canvas()
        for depth, colour in ((0, (1, 0, 0)), (50, (0, 1, 0)))[::order]:
            canvas.capsule(at(32, 40, depth), at(32, 80, depth), (8, 8, 8), colour)
        pictures.append(canvas.colour[:, 0, 60, 32])
    for red, green, blue in pictures:
        assert green > 0.9 and red == blue == 0


def test_part_outside_the_image_draws_nothing():
    canvas = black_canvas(2)
    for x in (-80, 300):
        canvas.capsule(at(x, 40, frames=2), at(x, 60, frames=2), (5, 5, 5), (1, 1, 1))
    assert not canvas.colour.any()


def test_second_read_renders_nothing(film_black, tmp_path):
    first = read_synthetic(cache=tmp_path, people=2)
    calls = len(film_black)
    second = read_synthetic(cache=tmp_path, people=2)
    assert calls == len(first.train) + len(first.gallery) and len(film_black) == calls
    assert [list(t.frames) for t in first.train] == [list(t.frames) for t in second.train]


def test_cache_is_named_by_style_seed_and_people(film_black, tmp_path):
    for style, seed, people in (("source", 0, 2), ("source", 1, 2), ("real", 0, 2), ("source", 0, 3)):
        read_synthetic(style, seed, tmp_path, people)
    assert len(list(tmp_path.iterdir())) == 4


@pytest.mark.parametrize("damage", ("index", "shortened index", "frame", "tracklet"))
def test_damaged_cache_is_rebuilt(film_black, tmp_path, damage):
    read_synthetic(cache=tmp_path, people=2)
    whole = tree(tmp_path)
    (home,) = tmp_path.iterdir()
    if damage == "index":
        (home / INDEX).unlink()
    elif damage == "shortened index":
        (home / INDEX).write_text((home / INDEX).read_text()[:200])
    elif damage == "frame":
        (home / "0001C1T0001" / "F003.jpg").unlink()
    else:
        (home / "0001C1T0001").rename(home / "elsewhere")
    read_synthetic(cache=tmp_path, people=2)
    assert tree(tmp_path) == whole and list(tmp_path.iterdir()) == [home]


@pytest.mark.parametrize(
    "failure, raised",
    ((OSError(errno.ENOSPC, "No space left on device"), InputError), (KeyboardInterrupt(), KeyboardInterrupt)),
)
def test_interrupted_render_leaves_nothing(film_black, tmp_path, monkeypatch, failure, raised):
    black = synthetic.film

    def film_until_failure(*arguments):
        if len(film_black) == 5:
            raise failure
        return black(*arguments)

    monkeypatch.setattr(synthetic, "film", film_until_failure)
    with pytest.raises(raised, match="No space left.*--synthetic_cache" if raised is InputError else None):
        read_synthetic(cache=tmp_path, people=2)
    assert not list(tmp_path.iterdir())


def test_workers_end_when_their_parent_is_killed(tmp_path):
    task = Path("/proc/self/task")
    if not task.exists():
        pytest.skip("needs /proc to list a process's children")
    code = (
        "import os; os.cpu_count = lambda: 2\n"
        "from vreid_fast.data.synthetic import read_synthetic\n"
        f"read_synthetic(cache={str(tmp_path)!r}, people=100)"
    )
    parent = subprocess.Popen([sys.executable, "-c", code], cwd=Path(__file__).parents[2])
    wait_until(lambda: list(tmp_path.glob(".*/*/F012.jpg")))
    workers = Path(f"/proc/{parent.pid}/task/{parent.pid}/children").read_text().split()
    parent.kill()
    parent.wait()
    assert len(workers) == 2
    wait_until(lambda: not any(running(worker) for worker in workers))
    assert not list(tmp_path.glob("synthetic*"))


def wait_until(condition):
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline, "waited a minute in vain"
        time.sleep(0.05)


def running(process: str) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_slower_of_two_processes_keeps_the_tree_of_the_faster(tmp_path):
    rows, home = [Row("0001C1T0001", 1, 1, 1, "train")], tmp_path / "home"

    def write(folder, content):
        (folder / "0001C1T0001").mkdir()
        (folder / "0001C1T0001" / "F001.jpg").write_bytes(content)

    def overtaken(folder):
        cached_tree(home, rows, lambda other: write(other, b"faster"))
        write(folder, b"slower")

    assert cached_tree(home, rows, overtaken) == home
    assert (home / "0001C1T0001" / "F001.jpg").read_bytes() == b"faster" and list(tmp_path.iterdir()) == [home]


def test_default_cache_follows_xdg(film_black, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert read_synthetic(people=2).train[0].frames[0].startswith(str(tmp_path / "xdg" / "vreid_fast"))
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert read_synthetic(people=2).train[0].frames[0].startswith(str(tmp_path / "home" / ".cache" / "vreid_fast"))


@pytest.mark.parametrize(
    "arguments, message",
    (
        ({"style": "cartoon"}, "synthetic:cartoon.*source, real"),
        ({"seed": -1}, "synthetic_seed must be 0 or more, got -1"),
        ({"people": 1}, "people must be 2 or more, got 1"),
    ),
)
def test_bad_input(arguments, message, tmp_path):
    with pytest.raises(InputError, match=message):
        read_synthetic(cache=tmp_path, **arguments)
    assert not list(tmp_path.iterdir())


def test_unwritable_cache_is_named_with_its_knob(tmp_path):
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(InputError, match=r"file.*--synthetic_cache"):
        read_synthetic(cache=tmp_path / "file", people=2)
