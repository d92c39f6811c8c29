import os
from contextlib import nullcontext
from pathlib import Path

import pytest
from media import write_images, write_video

from vreid_fast.data import read_dataset
from vreid_fast.data.formats.frame_order import in_order
from vreid_fast.data.formats.listing import natural_key
from vreid_fast.errors import InputError


@pytest.fixture
def root(tmp_path):
    write_images(tmp_path / "tracklets" / "a", 12)
    write_images(tmp_path / "tracklets" / "b", 3)
    write_images(tmp_path / "tracklets" / "c10", 2)
    return tmp_path


def table(root, *lines):
    (root / "tracklets.csv").write_text("\n".join(lines) + "\n")
    return f"folder:{root}"


def names(tracklet):
    return [Path(path).name for path in tracklet.frames]


def test_real_sets_are_read_whole(shared):
    for name, tracklets, people, images in (("pets09", 75, 10, 4362), ("intel_one_by_one", 22, 6, 979)):
        data = read_dataset(f"folder:{shared(f'data/{name}')}")
        for subset in (data.train, data.query, data.gallery):
            assert len(subset) == tracklets and len({t.identity for t in subset}) == people
            assert sum(map(len, subset)) == images
            assert {t.camera for t in subset} == {1, 2}
        assert data.notes == () and all(os.path.exists(t.frames[-1]) for t in data.train)
        assert all(one is two for one, two in zip(data.query, data.gallery))
        assert all(f"{t.identity:04d}C{t.camera}" in t.frames[0] for t in data.train)


def test_frames_are_in_natural_order_whatever_the_file_system_says(root, monkeypatch):
    def turned(path, real=os.scandir):
        with real(path) as entries:
            return nullcontext(sorted(entries, key=lambda entry: entry.name, reverse=True))

    monkeypatch.setattr(os, "scandir", turned)
    spec = table(root, "path,identity,camera", "tracklets/a,1,1")
    assert names(read_dataset(spec).train[0]) == [f"F{n}.jpg" for n in range(1, 13)]


def test_natural_order():
    shuffled = ["a1b10", "F10.jpg", "b", "F2.jpg", "F1.jpg", "a02", "F01.jpg", "a1b2"]
    ordered = ["F01.jpg", "F1.jpg", "F2.jpg", "F10.jpg", "a1b2", "a1b10", "a02", "b"]
    assert sorted(shuffled, key=natural_key) == ordered


def test_natural_order_of_names_of_one_length():
    assert in_order(["a10b1.jpg", "a1b10.jpg"]).names == ["a1b10.jpg", "a10b1.jpg"]
    assert in_order(["F3.png", "F1.png", "F2.png"]).names == ["F1.png", "F2.png", "F3.png"]


def test_without_a_table_every_leaf_and_video_is_unlabelled(root):
    write_video(root / "tracklets" / "walk.webm", 7)
    write_images(root / "tracklets", 1)
    (root / "notes").mkdir()
    (root / "notes" / "readme.txt").write_text("no images here")
    (root / "tracklets" / "a" / "._F1.jpg").write_bytes(b"")
    write_images(root / ".cache" / "x", 2)
    data = read_dataset(f"folder:{root}")
    assert [len(t) for t in data.train] == [7, 12, 3, 2]
    assert data.train[0].video.endswith("walk.webm") and data.train[0].frames == range(7)
    assert {(t.identity, t.camera) for t in data.train} == {(None, None)}
    assert not data.query and not data.gallery
    beside, left_out, unlabelled = data.notes
    assert "1 images beside folders" in beside and "nothing can be scored" in unlabelled
    assert left_out.endswith("left out 1 hidden or system folders (.*) and 1 system files (._*)")


def test_labels_splits_and_unknown_cells(root):
    write_video(root / "videos" / "d.avi", 5, codec="mjpeg")
    spec = table(
        root,
        "identity, split, camera, path, visit, clothes, frames",
        "7, train|gallery, 2, tracklets/a, , red, 12",
        "9, query, 1, tracklets/b/, 4, blue,",
        ", train, 3, tracklets/c10, , ,",
        "7,,,./videos/d.avi,,red,5",
        "",
    )
    data = read_dataset(spec)
    assert [(t.identity, t.camera, t.clothes, len(t)) for t in data.train] == [
        (7, 2, 1, 12),
        (None, 3, None, 2),
        (7, None, 1, 5),
    ]
    assert [t.identity for t in data.query] == [9, 7] and [t.identity for t in data.gallery] == [7, 7]
    assert data.gallery[0] is data.train[0] and data.train[2].video.endswith("d.avi")


def test_words_for_identities_are_numbered_in_sorted_order_and_numbers_stay(root):
    spec = table(root, "path,identity,camera", "tracklets/a,zoe,1", "tracklets/b,adam,1", "tracklets/c10,12,2")
    assert [t.identity for t in read_dataset(spec).train] == [1, 0, 12]


def test_cameras_without_identities_are_an_unlabelled_target(root):
    spec = table(root, "path,identity,camera", "tracklets/a,,1", "tracklets/b,,2")
    data = read_dataset(spec)
    assert [t.camera for t in data.train] == [1, 2] and not data.query and not data.gallery
    assert "no identities: nothing can be scored" in data.notes[0]


def test_lines_that_begin_with_a_hash_are_comments_but_for_rows_of_what_is_there(root):
    write_images(root / "#1", 2)
    lines = [
        "# of May, camera 1",
        "",
        "path,identity,camera",
        "",
        "#tracklets/x,1,1",
        "tracklets/a,1,1",
        "# b",
        "#1,7,2",
        "",
    ]
    data = read_dataset(table(root, *lines))
    assert [(t.identity, len(t)) for t in data.train] == [(1, 12), (7, 2)]
    assert f"folder:{root}: tracklets.csv: 3 lines that begin with # are left out, as comments" in data.notes
    with pytest.raises(InputError, match="row 5, column identity|row 5 has 2 cells, the header 3"):
        read_dataset(table(root, "# one", "path,identity,camera", "", "#, two", "tracklets/a,1"))
    with pytest.raises(InputError, match="no column path, identity, camera.* found nothing"):
        read_dataset(table(root, "# path,identity,camera"))


def test_a_spreadsheets_byte_order_mark_is_no_column_name(root):
    (root / "tracklets.csv").write_bytes("\ufeffpath,identity,camera\r\ntracklets/a,1,1\r\n".encode())
    assert len(read_dataset(f"folder:{root}").train) == 1


@pytest.mark.parametrize(
    "lines, message",
    [
        (["path,camera", "tracklets/a,1"], "no column identity; wanted path, identity, camera"),
        (["path;identity;camera", "tracklets/a;1;1"], "no column path, identity, camera"),
        ([""], "no column path, identity, camera.*found nothing"),
        (["path,identity,camera"], "no rows below the header"),
        (["path,identity,camera", "tracklets/a,1"], "row 2 has 2 cells, the header 3"),
        (["path,identity,camera", "tracklets/a,1,left"], "row 2, column camera: wanted an integer, found 'left'"),
        (["path,identity,camera,frames", "tracklets/a,1,1,12", "tracklets/b,1,1,2.5"], "row 3, column frames: wanted"),
        (["path,identity,camera,frames", "tracklets/b,1,1,4"], "row 2, column frames: 4 there, but .*b has 3"),
        (["path,identity,camera,split", "tracklets/a,1,1,train|test"], "row 2, column split: .*found 'test'"),
        (["path,identity,camera,split", "tracklets/a,,1,query"], "row 2, column split: query needs an identity"),
        (["path,identity,camera", "../tracklets/a,1,1"], "row 2, column path: wanted a path inside"),
        (["path,identity,camera", "tracklets/../../x,1,1"], "row 2, column path: wanted a path inside"),
        (["path,identity,camera", "/tracklets/a,1,1"], "row 2, column path: wanted a path inside"),
        (["path,identity,camera", ",1,1"], "row 2, column path: wanted a path inside"),
        (["path,identity,camera", "tracklets/none,1,1"], "row 2, column path: no folder or video .*none"),
        (["path,identity,camera", "tracklets/empty,1,1"], "row 2, column path: .*empty holds no images"),
        (["path,identity,camera", "tracklets/a,1,1", "tracklets//a/,2,1"], "row 3, column path: .* already in row 2"),
        (["path,identity,camera", "tracklets/torn.mp4,1,1"], r"torn.mp4: cannot be decoded"),
    ],
)  # fmt: skip
def test_a_table_that_does_not_hold_names_row_and_column(root, lines, message):
    (root / "tracklets" / "empty").mkdir()
    (root / "tracklets" / "torn.mp4").write_bytes(b"no video at all" * 10)
    with pytest.raises(InputError, match=message):
        read_dataset(table(root, *lines))


def test_a_table_that_is_no_text_is_refused(root):
    (root / "tracklets.csv").write_bytes(b"path,identity,camera\n\xff\xfe\x00,1,1\n")
    with pytest.raises(InputError, match=r"tracklets.csv: not a readable table"):
        read_dataset(f"folder:{root}")


def test_a_folder_without_tracklets_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"no images \(.jpg .* and no videos"):
        read_dataset(f"folder:{tmp_path}")
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="wanted a folder, found a file"):
        read_dataset(f"folder:{tmp_path / 'file'}")


def test_opening_touches_no_image(root, monkeypatch):
    """A million frames are listed, not opened: an empty image is found when it is decoded."""
    (root / "tracklets" / "a" / "F3.jpg").write_bytes(b"")
    assert len(read_dataset(table(root, "path,identity,camera", "tracklets/a,1,1")).train[0]) == 12


def test_a_table_that_is_a_pipe_a_folder_or_a_link_to_nowhere_is_refused(root):
    os.mkfifo(root / "tracklets.csv")
    with pytest.raises(InputError, match="tracklets.csv: wanted a file, found a pipe"):
        read_dataset(f"folder:{root}")
    (root / "tracklets.csv").unlink()
    (root / "tracklets.csv").mkdir()
    with pytest.raises(InputError, match="tracklets.csv: wanted a file, found a folder"):
        read_dataset(f"folder:{root}")
    (root / "tracklets.csv").rmdir()
    (root / "tracklets.csv").symlink_to("elsewhere.csv")
    with pytest.raises(InputError, match="tracklets.csv: is a link to elsewhere.csv, which is missing"):
        read_dataset(f"folder:{root}")
