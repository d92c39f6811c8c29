"""python -m vreid_fast.search: questions, filters, files of answers, and what is refused in a line."""

import csv
import html.parser
import importlib.util
import os
import shutil
import stat
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from media import write_video
from PIL import Image

from vreid_fast.data import read_dataset, read_frames
from vreid_fast.search.__main__ import main
from vreid_fast.search.folder import read_index, write_index

pytest.importorskip("faiss")


@pytest.fixture
def home(story, tmp_path, monkeypatch):
    """The index of a story, to change; the working folder is beside it."""
    shutil.copytree(story / "index", tmp_path / "index")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def query(*words):
    return main(["query", "index", *map(str, words)])


def answers(*words):
    """Rows of the table of answers."""
    assert query(*words, "--csv", "answers.csv") == 0
    with open("answers.csv", newline="") as file:
        return list(csv.DictReader(file))


def refused(capsys, *words):
    assert main(list(map(str, words))) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ") and error.count("\n") == 1
    return error


def test_a_tracklet_of_the_index(home, capsys):
    found = answers("--tracklet", "0003C1T0", "--top", 30)
    assert len(found) == 23 and "0003C1T0" not in [row["path"] for row in found]
    similar = [float(row["similarity"]) for row in found]
    index = read_index(home / "index")
    asked = next(row.row for row in index.rows if row.path == "0003C1T0")
    unit = index.unit_vectors(np.arange(24))
    assert (
        similar
        == sorted(similar, reverse=True)
        == pytest.approx(sorted(np.delete(unit @ unit[asked], asked))[::-1], abs=1e-5)
    )
    assert [int(row["rank"]) for row in found] == list(range(1, 24))
    assert all(0 < float(row["strangers_as_alike"]) <= 1 for row in found)
    said = capsys.readouterr().out
    assert "who looks like 0003C1T0, among 24 tracklets" in said and "alike is not the same person" in said


def test_filters(home):
    others = answers("--tracklet", "0003C1T0", "--other_cameras", "--top", 30)
    assert len(others) == 12 and {row["camera"] for row in others} == {"0"}
    assert others == answers("--tracklet", "0003C1T0", "--camera", 0, "--top", 30)
    assert others == answers("--tracklet", "0003C1T0", "--not-camera", 1, 5, "--top", 30)
    # A tracklet begins every two seconds and lasts three.
    late = answers("--tracklet", "0003C1T0", "--camera", 0, "--from", "2026-05-04T08:00:20")
    assert sorted(row["start"] for row in late) == ["2026-05-04T08:00:18", "2026-05-04T08:00:20", "2026-05-04T08:00:22"]
    early = answers("--tracklet", "0003C1T0", "--camera", 0, "--to", "2026-05-04T08:00:01")
    assert [row["end"] for row in early] == ["2026-05-04T08:00:03"]


def test_re_ranking_keeps_the_answers_and_orders_them_anew(home):
    changed = 0
    for asked in ("0003C1T0", "0001C0T1", "0002C1T1", "0004C0T0"):
        plain, again = (
            [row["path"] for row in answers("--tracklet", asked, "--top", 23, *more)] for more in ([], ["--rerank"])
        )
        assert sorted(plain) == sorted(again)
        changed += plain != again
    assert changed


def test_pictures_that_are_in_the_index_are_found(story, home):
    folder = story / "my_cameras" / "0003C1T0"
    (first, *_) = answers("--pictures", folder, "--filmed_by", 1)
    assert first["path"] == "0003C1T0" and float(first["similarity"]) > 0.99
    images = sorted(folder.iterdir())
    assert answers("--pictures", *images, "--filmed-by", 1)[0]["path"] == "0003C1T0"
    assert len(answers("--pictures", images[0])) == 20  # its camera is not known: those of the whole target serve


def test_a_person_in_a_video_of_a_scene(story, home):
    """The frames of a tracklet, pasted into a scene, and found by their boxes again."""
    (tracklet,) = [t for t in read_dataset(f"folder:{story / 'my_cameras'}").train if "0003C1T0" in t.name]
    os.mkdir("scene")
    for number in range(12):
        scene = np.zeros((96, 160, 3), np.uint8)
        scene[20:52, 30:46] = read_frames(tracklet, [number // 4])[0]
        Image.fromarray(scene).save(f"scene/{number:02d}.png")
    rows = [f"{number + 1},{track},{left},20,16,32" for number in range(12) for track, left in ((4, 30), (9, 100))]
    (home / "scene.txt").write_text("\n".join(rows))
    found = answers("--video", "scene", "--tracks", "scene.txt", "--track", 4, "--filmed_by", 1)
    assert found[0]["path"] == "0003C1T0" and float(found[0]["similarity"]) > 0.9
    other = answers("--video", "scene", "--tracks", "scene.txt", "--track", 9, "--filmed_by", 1)
    assert float(other[0]["similarity"]) < float(found[0]["similarity"])


class Text(html.parser.HTMLParser):
    def __init__(self, page):
        super().__init__()
        self.tags, self.links, self.text = [], [], ""
        self.feed(page)

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.links += [value for name, value in attributes if name in ("src", "href")]

    def handle_data(self, data):
        self.text += data


def test_a_page_of_answers(home):
    assert query("--tracklet", "0003C1T0", "--other_cameras", "--top", 5, "--html", "answer.html") == 0
    page = Text((home / "answer.html").read_text())
    assert "script" not in page.tags and all(link.startswith("data:") for link in page.links)
    assert page.tags.count("li") == 5 and page.tags.count("img") == 3 * 6  # three frames a tracklet
    assert "Who looks like 0003C1T0?" in page.text and "Alike is not the same person." in page.text
    assert "not camera 1" in page.text and "22 pairs of people that one camera saw at the same time" in page.text
    assert query("--tracklet", "0003C1T0", "--html", "answer.html") == 0  # an earlier page is replaced


@pytest.mark.skipif(not shutil.which("chromium"), reason="no chromium here")
@pytest.mark.parametrize("width", [375, 1400])
@pytest.mark.parametrize("dark", [False, True])
def test_the_page_in_a_browser(home, width, dark):
    query("--tracklet", "0003C1T0", "--top", 4, "--html", "answer.html")
    command = ["chromium", "--headless", "--no-sandbox", "--hide-scrollbars", f"--user-data-dir={home / 'browser'}"]
    command += ["--blink-settings=preferredColorScheme=0"] if dark else []
    command += [f"--window-size={width},900", f"--screenshot={home / 'shot.png'}", f"file://{home / 'answer.html'}"]
    subprocess.run(command, check=True, capture_output=True, timeout=120)
    shot = np.asarray(Image.open(home / "shot.png").convert("RGB"))
    assert shot.shape[1] == width
    assert shot[-1, 0].mean() < 60 if dark else shot[-1, 0].mean() > 200  # the ground
    assert len(np.unique(shot.reshape(-1, 3), axis=0)) > 500  # pictures are on it


def test_hostile_names_are_escaped(story, tmp_path, monkeypatch):
    index = read_index(story / "index")
    names = ["<script>alert(1)</script>", "=cmd|'/C calc'!A0", "@x", "-1+1"]
    index.rows[:4] = [type(row)(**{**vars(row), "path": name}) for row, name in zip(index.rows, names)]
    write_index(index, tmp_path / "index")
    monkeypatch.chdir(tmp_path)
    assert query("--tracklet", "0003C1T0", "--top", 30, "--html", "answer.html", "--csv", "answers.csv") == 0
    assert "<script" not in (tmp_path / "answer.html").read_text()
    assert "&lt;script&gt;alert(1)" in (tmp_path / "answer.html").read_text()
    with open("answers.csv", newline="") as file:
        paths = [row["path"] for row in csv.DictReader(file)]
    assert {"'=cmd|'/C calc'!A0", "'@x", "'-1+1"} <= set(paths)


def test_pictures_that_are_gone_leave_a_note(story, tmp_path, monkeypatch, capsys):
    index = read_index(story / "index")
    index.facts["sources"][0]["data"] = "folder:/nowhere"
    write_index(index, tmp_path / "index")
    monkeypatch.chdir(tmp_path)
    assert query("--tracklet", "0003C1T0", "--html", "answer.html") == 0
    assert "note: no pictures of folder:/nowhere: " in capsys.readouterr().out
    assert "no picture" in (tmp_path / "answer.html").read_text()


def test_files_are_their_owners_alone(story, home):
    assert main(["index", str(story / "features"), "--out", "mine", "--standardise", "camera"]) == 0
    query("--tracklet", "0003C1T0", "--html", "answer.html")
    for path in [home / "mine", *(home / "mine").iterdir(), home / "answer.html"]:
        assert stat.S_IMODE(path.stat().st_mode) == (0o700 if path.is_dir() else 0o600), path


def test_forgetting(home, capsys):
    assert main(["forget", "index", "--tracklet", "0003C1T0", "0003C1T1"]) == 0
    said = capsys.readouterr().out
    assert "index: 2 tracklets forgotten, 22 remain" in said and "note: their vectors are still in " in said
    assert main(["forget", "index", "--camera", "1", "--from", "2026-05-04T08:00:20"]) == 0
    assert main(["forget", "index", "--camera", "1"]) == 0
    assert {row.camera for row in read_index(home / "index").rows} == {0}
    assert "none of the index's 12 tracklets is meant" in refused(capsys, "forget", "index", "--camera", 7)
    assert "wanted what to forget: --tracklet, --camera" in refused(capsys, "forget", "index")
    assert main(["forget", "index", "--camera", "0"]) == 0
    for words in (["query", "index", "--tracklet", "0003C1T0"], ["forget", "index", "--camera", 0]):
        assert "index: the index is empty, all of it was forgotten; add features to it" in refused(capsys, *words)


def test_adding_to_an_index(story, home, capsys):
    error = refused(capsys, "index", story / "features", "--out", "index")
    assert "features: its tracklets are in the index already" in error
    error = refused(capsys, "index", story / "features", "--out", "index", "--kind", "hnsw")
    assert "--kind hnsw: the index at index has flat; leave it out to add to it" in error
    assert main(["index", str(story / "features"), "--out", "other", "--kind", "hnsw", "--dtype", "float16"]) == 0
    assert "recall of the 50 nearest against --kind flat: " in capsys.readouterr().out


@pytest.mark.parametrize(
    "words, wrong",
    [
        (["--tracklet", "0003C1T9"], "--tracklet 0003C1T9: not in the index; near to it: 0003C1T"),
        (["--tracklet", "me"], "--tracklet me: not in the index; there are names such as 0000C0T0"),
        ([], "wanted one of --tracklet, --pictures and --video, found none"),
        (["--tracklet", "a", "--video", "b"], "found tracklet and video"),
        (["--video", "cam.mp4"], "--video: wanted --tracks and --track with it"),
        (["--pictures", "nowhere"], "tracklet nowhere: no such file; wanted a folder of images, a video or an image"),
        (["--tracklet", "0003C1T0", "--camera", "7"], "the filters leave none of the index's 24 tracklets; widen them"),
        (["--tracklet", "0003C1T0", "--from", "2026-05-04T08:00:00+02:00"], "clocks here are without a time zone, as"),
        (["--tracklet", "0003C1T0", "--html", "no/where.html"], "--html no/where.html: cannot be written"),
        (["--tracklet", "0003C1T0", "--csv", "/dev/null/x"], "--csv /dev/null/x: cannot be written"),
    ],
)
def test_questions_that_cannot_be_answered(home, capsys, words, wrong):
    assert wrong in refused(capsys, "query", "index", *words)


def test_other_cameras_of_an_unknown_one(story, home, capsys):
    words = ["--pictures", story / "my_cameras" / "0003C1T0", "--other_cameras"]
    assert "--other_cameras: the camera of who is asked for is not known" in refused(capsys, "query", "index", *words)
    words = ["--pictures", story / "my_cameras" / "0003C1T0", "--filmed_by", 5]
    assert "camera 5: " in refused(capsys, "query", "index", *words)


def test_another_checkpoint_is_refused(story, home, capsys):
    (home / "last.pt").write_bytes(b"other")
    words = ["query", "index", "--pictures", story / "my_cameras" / "0003C1T0", "--checkpoint"]
    assert "last.pt: not the one that the index was made with" in refused(capsys, *words, "last.pt")
    assert "no such file; the index was made with it" in refused(capsys, *words, "nowhere.pt")


def test_a_page_is_not_written_over_other_files(home, capsys):
    (home / "notes.html").write_text("mine")
    error = refused(capsys, "query", "index", "--tracklet", "0003C1T0", "--html", "notes.html")
    assert "is there and something else" in error and (home / "notes.html").read_text() == "mine"


def test_a_track_that_is_not_there(home, capsys):
    write_video(home / "cam.avi", 12, codec="mjpeg", height=64, width=96)
    (home / "cam.txt").write_text("\n".join(f"{n + 1},4,10,10,2,2" for n in range(12)))
    words = ["query", "index", "--video", "cam.avi", "--tracks", "cam.txt", "--track"]
    assert "--track 3: not in cam.txt; there are 4" in refused(capsys, *words, 3)
    rows = [f"{n + 1},{track},10,10,20,40" for track, length in ((4, 3), (5, 12)) for n in range(length)]
    (home / "short.txt").write_text("\n".join(rows))
    words[5] = "short.txt"
    assert "--track 4: nothing of it can be cut out of cam.avi: " in refused(capsys, *words, 4)


def test_without_faiss_it_says_what_brings_it(home, capsys, monkeypatch):
    plain = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *w: None if name == "faiss" else plain(name, *w))
    error = refused(capsys, "query", "index", "--tracklet", "0003C1T0")
    assert error == "error: faiss is not installed; pip install 'vreid-fast[search]' brings it\n"


def test_help_needs_no_faiss():
    code = "import sys; sys.modules['faiss'] = None; from vreid_fast.search.__main__ import main; main(['query', '-h'])"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert ran.returncode == 0 and "--other_cameras" in ran.stdout, ran.stderr


def test_page_and_table_are_two_files(home, capsys):
    error = refused(capsys, "query", "index", "--tracklet", "0003C1T0", "--html", "answer", "--csv", "./answer")
    assert "--csv ./answer: is the file of --html too; give it another name" in error


def test_cameras_below_zero(home, capsys):
    index = read_index(home / "index")
    index.rows = [replace(row, camera=-1 - row.camera) for row in index.rows]
    write_index(index, home / "index")
    found = answers("--tracklet", "0003C1T0", "--camera", "-1")
    assert len(found) == 12 and {row["camera"] for row in found} == {"-1"}
    assert len(answers("--tracklet", "0003C1T0", "--not_camera", "-1", "--top", 30)) == 11


def test_several_folders_are_no_pictures_of_one_person(story, home, capsys):
    """Of each the first image alone was taken."""
    folders = [story / "my_cameras" / name for name in ("0003C1T0", "0003C1T1")]
    error = refused(capsys, "query", "index", "--pictures", *folders)
    assert "0003C1T0: wanted images where several are named, found 3 frames in it; name one folder" in error


def test_an_index_of_one_tracklet(home, capsys):
    names = [row.path for row in read_index(home / "index").rows]
    assert main(["forget", "index", "--tracklet", *names[1:]]) == 0
    error = refused(capsys, "query", "index", "--tracklet", names[0])
    assert "nobody else is in the index: it has 1 tracklet; add features to it" in error


def test_pictures_of_others_that_lie_there_by_now_are_not_shown(home, capsys):
    index = read_index(home / "index")
    index.rows = [replace(row, identity=77, first_frame=row.first_frame + (row.row % 2)) for row in index.rows]
    write_index(index, home / "index")
    asked = next(row.row for row in index.rows if row.path == "0003C1T0")
    assert query("--tracklet", "0003C1T0", "--top", 23, "--html", "answer.html") == 0
    assert Text((home / "answer.html").read_text()).tags.count("img") == 3 * 12
    assert "has another tracklet there by now" in capsys.readouterr().out and asked % 2 in (0, 1)


def test_a_network_that_is_scored_by_another_distance_is_told(story, home, capsys):
    shutil.copytree(story / "features", "features")
    path = home / "features" / "extract.json"
    path.write_text(path.read_text().replace('"distance": "cosine"', '"distance": "dot"'))
    assert main(["index", "features", "--out", "other"]) == 0
    assert "note: features: its network is scored by another distance, dot; an index compares by the" in (
        capsys.readouterr().out
    )
