"""Whole scenes in place of people: told by size, refused by training, pack and check unless --scenes allows them."""

import argparse
import json

import pytest
from media import write_images, write_video
from packs import run_pack
from PIL import Image

from vreid_fast.config import Config
from vreid_fast.data import read_dataset, scenes
from vreid_fast.data.commands import check
from vreid_fast.data.domains import Domains
from vreid_fast.data.reading import images
from vreid_fast.data.scenes import find_scenes, is_scene
from vreid_fast.errors import InputError
from vreid_fast.training import build


def data(root):
    return read_dataset(f"folder:{root}")


@pytest.mark.parametrize(
    "height, width, scene",
    [
        (128, 64, False), (256, 128, False), (300, 300, False), (999, 999, False),  # crops, people who sit
        (1400, 500, False), (1000, 600, False),  # crops of 4K cameras
        (8, 16, False), (40, 63, False),  # too small for a scene
        (180, 320, True), (1080, 1920, True), (1920, 1080, True), (120, 160, True), (63, 64, True),
    ],
)  # fmt: skip
def test_sizes(height, width, scene):
    assert is_scene(height, width) is scene


@pytest.mark.parametrize("kind", ["images", "video", "pack", "labelled"])
def test_scenes_of_every_kind_are_found(tmp_path, kind):
    root = tmp_path / "data"
    for name in ("a", "b"):
        if kind == "video":
            write_video(root / f"{name}.avi", 4, codec="mjpeg", height=64, width=96)
        else:
            write_images(root / name, 4, height=64, width=96)
    if kind == "labelled":
        (root / "tracklets.csv").write_text("path,identity,camera,split\na,1,1,query\nb,1,2,gallery\n")
    spec = run_pack(f"folder:{root}", tmp_path / "pack", "--scenes") if kind == "pack" else f"folder:{root}"
    found = find_scenes(read_dataset(spec))
    assert (found.count, found.looked_at) == (2, 2) and "96x64 pixels (width x height)" in found.why
    assert "vreid_fast.data crop" in found.why and "--scenes" in found.why and not found.notes(spec)


def test_a_minority_is_noted(tmp_path):
    for name in range(3):
        write_images(tmp_path / str(name), 3, height=96, width=48)
    write_images(tmp_path / "wide", 3, height=64, width=96)
    found = find_scenes(data(tmp_path))
    assert found.why is None and found.count == 1
    (note,) = found.notes("SPEC")
    assert note.startswith("SPEC: 1 of 4 tracklets looked at may be whole scenes") and f"{tmp_path}/wide" in note
    write_images(tmp_path / "0", 3, height=64, width=96)
    assert find_scenes(data(tmp_path)).why  # half of them


def test_a_few_wide_frames_make_no_scene(tmp_path):
    write_images(tmp_path / "a", 9, height=96, width=48)
    Image.new("RGB", (96, 64)).save(tmp_path / "a" / "F1.jpg")
    assert find_scenes(data(tmp_path)).count == 0


def test_orientation_counts(tmp_path):
    (tmp_path / "a").mkdir()
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (96, 64)).save(tmp_path / "a" / "F1.jpg", exif=exif)
    assert find_scenes(data(tmp_path)).count == 0


def test_only_headers_of_some_are_read(tmp_path, monkeypatch):
    for name in range(130):
        write_images(tmp_path / str(name), 1, height=64, width=96)
    write_images(tmp_path / "0", 9, height=64, width=96)
    write_images(tmp_path / "129", 1, ending="png", height=64, width=96)
    (tmp_path / "129" / "F1.jpg").unlink()
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "F1.jpg").write_bytes(b"no image")
    read, real = [], scenes.read_encoded
    monkeypatch.setattr(scenes, "read_encoded", lambda *frame: read.append(frame) or real(*frame))
    monkeypatch.setattr(images, "decode_jpeg", lambda *_: pytest.fail("decoded"))
    found = find_scenes(data(tmp_path))
    assert len(read) == 102 and found.looked_at in (99, 100) and found.count == found.looked_at


def test_training_refuses_source_and_target(tmp_path):
    people = tmp_path / "people"
    for name in ("a", "b"):
        write_images(people / name, 3)
        write_images(tmp_path / "wide" / name, 3, height=64, width=96)
    for root in (people, tmp_path / "wide"):
        (root / "tracklets.csv").write_text("path,identity,camera\na,1,1\nb,2,1\n")
    good, wide = f"folder:{people}", f"folder:{tmp_path / 'wide'}"
    for source, target, option in ((wide, good, "source"), (good, wide, "target")):
        with pytest.raises(InputError, match=f"--{option} {wide}: 2 of 2 tracklets looked at are whole scenes"):
            Domains.read(source, target)
        with pytest.raises(InputError, match=f"--{option}"):
            build.read_domains(Config.of(source=source, target=target))
        assert build.read_domains(Config.of(source=source, target=target, scenes=True)).identities == 2
    with pytest.raises(InputError, match="are whole scenes"):
        run_pack(wide, tmp_path / "pack")
    assert not (tmp_path / "pack").exists()


def test_check_says_no(tmp_path, capsys):
    write_images(tmp_path / "set" / "a", 3, height=64, width=96)
    parser = argparse.ArgumentParser()
    check.add_arguments(parser)
    words = [f"folder:{tmp_path / 'set'}", "--no_sheet", "--json", str(tmp_path / "report.json")]
    assert check.run(parser.parse_args(words)) == 1
    assert "as --target: no: 1 of 1 tracklets looked at are whole scenes" in capsys.readouterr().out
    assert "whole scenes" in json.loads((tmp_path / "report.json").read_text())["uses"]["target"]
    assert check.run(parser.parse_args([*words, "--scenes"])) == 0


def test_a_set_without_frames_to_look_at(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "F1.jpg").write_bytes(b"")
    found = find_scenes(data(tmp_path))
    assert (found.count, found.looked_at, found.why) == (0, 0, None)
