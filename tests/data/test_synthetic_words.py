"""Words behind a style of the embedded people: who is seen how often, and in what."""

from collections import Counter

import numpy as np
import pytest
from PIL import Image

from vreid_fast.data.formats.folder import read_folder
from vreid_fast.data.overlaps import overlapping
from vreid_fast.data.synthetic import read_synthetic
from vreid_fast.data.synthetic.person import GARMENTS, draw_person, dressed_as
from vreid_fast.data.synthetic.rows import rows_of, seen_at
from vreid_fast.data.synthetic.style import STYLES
from vreid_fast.data.synthetic.walk import FRAMES, random
from vreid_fast.errors import InputError
from vreid_fast.evaluation.clothes import clothes_protocols

REAL = STYLES["real"]


def seen(rows, split="train"):
    return Counter(row.identity for row in rows if row.split == split)


def test_without_words_rows_know_no_clothes_and_nobody_changes():
    rows = rows_of(REAL)
    assert {(row.clothes, row.then) for row in rows} == {(None, None)}
    assert len(rows) == (72 + 60) * 3 * 2


def test_outfits_change_within_and_between_cameras():
    rows = rows_of(REAL, words=["outfits"])
    for identity in (1, 2, 100, 101):
        worn = {}
        for row in rows:
            if row.identity == identity:
                worn.setdefault(row.camera, set()).add(row.clothes)
        outfits = set().union(*worn.values())
        assert outfits == set(range(1, 3 + identity % 2))
        assert all(len(here) == 2 for here in worn.values())
        assert all(sum(outfit in here for here in worn.values()) >= 2 for outfit in outfits)


def test_an_outfit_changes_garments_alone():
    person, other = (draw_person(random(REAL, 0, 1, identity), REAL) for identity in (1, 2))
    changed = dressed_as(person, other)
    for name in vars(person):
        assert getattr(changed, name) is getattr(other if name in GARMENTS else person, name)


@pytest.mark.parametrize("word, each", [("single", 1), ("six", 6)])
def test_tracklets_by_person_and_camera(word, each):
    rows = rows_of(REAL, people=10, words=[word])
    assert set(Counter((row.identity, row.camera) for row in rows).values()) == {each}


def test_a_fifth_of_those_to_train_on_is_seen_once():
    rows = rows_of(REAL, words=["once"])
    often = seen(rows)
    assert Counter(often.values()) == {1: 72 // 5, 6: 72 - 72 // 5}
    assert len({row.camera for row in rows if often[row.identity] == 1}) == 3
    assert [row for row in rows if row.split != "train"] == [row for row in rows_of(REAL) if row.split != "train"]


def test_a_tenth_of_those_to_train_on_becomes_another():
    rows = rows_of(REAL, words=["switched"])
    train = [row for row in rows if row.split == "train"]
    switched = [row for row in train if row.then is not None]
    assert len(switched) == len(train) // 10
    assert all(1 <= row.then <= 72 and row.then != row.identity for row in switched)
    assert all(row.then is None for row in rows if row.split != "train")


def test_frames_show_what_rows_say(tmp_path):
    plain, dressed, switched = (
        read_synthetic(f"real{words}", cache=tmp_path, people=2) for words in ("", "+outfits", "+switched")
    )
    for one, other in zip(plain.train, dressed.train, strict=True):
        same = [pixels(a) == pixels(b) for a, b in zip(one.frames, other.frames, strict=True)]
        assert same == [other.clothes == 1] * FRAMES
    changed = [number for number, row in enumerate(rows_of(REAL, 2, ["switched"])) if row.then is not None]
    assert changed == [9]
    for number, (one, other) in enumerate(zip(plain.train, switched.train, strict=True)):
        same = [pixels(a) == pixels(b) for a, b in zip(one.frames, other.frames, strict=True)]
        assert same == [True] * (FRAMES // 2) + [number not in changed] * (FRAMES // 2)


def pixels(path):
    return np.asarray(Image.open(path)).tobytes()


def test_data_sets_with_outfits_have_both_protocols_and_read_back_as_folders(tmp_path):
    data = read_synthetic("real+outfits", cache=tmp_path, people=2)
    assert data.name == "synthetic:real+outfits"
    assert clothes_protocols(data) == (["same_clothes", "clothes_change"], [])
    (folder,) = (path for path in tmp_path.iterdir() if path.is_dir())
    again = read_folder(folder)
    for subset in ("train", "query", "gallery"):
        facts = [[(t.identity, t.camera, t.clothes) for t in getattr(one, subset)] for one in (data, again)]
        assert sorted(facts[0]) == sorted(facts[1])


@pytest.mark.parametrize("words", [(), ("six",), ("once",)])
def test_nobody_is_before_a_camera_twice_at_once(words):
    rows = rows_of(REAL, words=words)
    sightings = seen_at(rows, seed=3)
    assert {sightings[row.path].last_frame - sightings[row.path].first_frame + 1 for row in rows} == {FRAMES}
    pairs = overlapping([sightings[row.path] for row in rows], [row.camera for row in rows])
    others = np.bincount(pairs.ravel(), minlength=len(rows))
    assert 3.5 < others.mean() <= 4 == others.max()
    for one, other in pairs:
        assert rows[one].identity != rows[other].identity and rows[one].camera == rows[other].camera
        assert (rows[one].split == "train") == (rows[other].split == "train")
    assert seen_at(rows, seed=3) == sightings != seen_at(rows, seed=4)


def test_times_change_nothing_that_is_seen(tmp_path):
    timed = read_synthetic("real+timed", cache=tmp_path, people=2)
    plain = read_synthetic("real", cache=tmp_path, people=2)
    assert len(list(tmp_path.iterdir())) == 1
    assert [list(t.frames) for t in timed.train] == [list(t.frames) for t in plain.train]
    assert all(t.sighting for t in timed.train) and not any(t.sighting for t in plain.train)


def test_words_may_stand_in_any_order(tmp_path):
    one = read_synthetic("pair+single+outfits", cache=tmp_path, people=2)
    other = read_synthetic("pair+outfits+single", cache=tmp_path, people=2)
    assert [t.frames[0] for t in one.train] == [t.frames[0] for t in other.train]
    assert one.name == "synthetic:pair+single+outfits"
    assert len(one.train) == 2 * 2


@pytest.mark.parametrize(
    "style, message",
    [
        (
            "real+hats",
            "synthetic:real\\+hats: unknown word 'hats'; each of outfits, single, six, once, timed, switched may",
        ),
        ("real+once+once", "synthetic:real\\+once\\+once: 'once' is there twice; each of"),
        ("real+", "unknown word ''"),
        ("real+single+six", "synthetic:real\\+single\\+six: single and six contradict each other; leave one out"),
        ("unreal+once", "synthetic:unreal\\+once: unknown style; styles are source, real, alike, pair"),
    ],
)
def test_bad_words(style, message, tmp_path):
    with pytest.raises(InputError, match=message):
        read_synthetic(style, cache=tmp_path)
