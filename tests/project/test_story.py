"""The story that the README tells first, executed: from videos of two cameras to an answer."""

import re
import shlex
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from small_runs import TINY, write_people

from vreid_fast.data.__main__ import main as data
from vreid_fast.data.__main__ import make_parser as track_parser
from vreid_fast.extract import main as extract
from vreid_fast.search.__main__ import main as search
from vreid_fast.train import main as train

MAINS = {"data": data, "train": train, "extract": extract, "search": search}
README = (Path(__file__).resolve().parents[2] / "README.md").read_text()
PEOPLE, STAY, SIZE = 6, 12, (96, 160)


def commands():
    """The words of each command of the block in which `crop` is."""
    (block,) = [block for block in re.findall(r"```\n(.*?)```", README, re.DOTALL) if "vreid_fast.data crop" in block]
    return [shlex.split(line, comments=True) for line in block.splitlines()]


def film(folder, camera):
    """Frames of a scene in which people in coloured clothes pass one by one, each twice, and the tracker's boxes."""
    rng, rows = np.random.default_rng(camera), []
    colours = np.random.default_rng(9).integers(30, 220, (PEOPLE, 2, 3))
    (folder / f"cam{camera}.mp4").mkdir()  # crop takes a folder of frames for a video
    for frame in range(2 * PEOPLE * STAY):
        track, step = divmod(frame, STAY)
        scene = np.full((*SIZE, 3), 90 + 30 * camera, np.uint8)
        left = 20 + 8 * step
        scene[30:46, left : left + 16], scene[46:62, left : left + 16] = colours[track % PEOPLE]
        noise = rng.integers(-15, 15, scene.shape)
        Image.fromarray((scene + noise).clip(0, 255).astype(np.uint8)).save(folder / f"cam{camera}.mp4/{frame:04d}.png")
        rows.append(f"{frame + 1},{track + 1},{left},30,16,32,0.9")
    (folder / f"cam{camera}.txt").write_text("\n".join(rows))


@pytest.mark.slow
def test_the_story(tmp_path, monkeypatch, capsys):
    pytest.importorskip("faiss")
    monkeypatch.chdir(tmp_path)
    film(tmp_path, 1)
    film(tmp_path, 2)
    source = write_people(tmp_path / "source", 0)
    small = [
        word for name, value in {**TINY, "source": f"folder:{source}"}.items() for word in (f"--{name}", str(value))
    ]
    told = commands()
    names = [words[2].removeprefix("vreid_fast.") for words in told]
    assert names == ["data", "data", "train", "extract", "search", "search"]
    assert told[0][3] == "track" and track_parser().parse_args(told[0][3:])  # its own tests have a detector
    second = [word.replace("cam1", "cam2") for word in told[1]]
    second[second.index("--camera") + 1] = "2"
    for words in (told[1], second, *told[2:]):
        _, _, module, *rest = (word.replace("/data/my_cameras", str(tmp_path / "my_cameras")) for word in words)
        name = module.removeprefix("vreid_fast.")
        assert MAINS[name]([*rest, *(small if name == "train" else [])]) == 0, words
    page = (tmp_path / "answer.html").read_text()
    assert "Who looks like tracklets/camera1_track7_1?" in page and "tracklets/camera2_track" in page
    assert page.count("<li>") == 2 * PEOPLE and "tracklets/camera1_track1_1" not in page
    assert (tmp_path / "runs" / "mine" / "report.html").exists()
