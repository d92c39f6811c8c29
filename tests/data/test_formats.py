import sys
import types

import pytest
from media import write_images

from vreid_fast.data import FORMATS, Dataset, read_dataset
from vreid_fast.errors import InputError


@pytest.mark.parametrize("spec", ["market:/data", "market", "", ":/data", "/data/mars"])
def test_an_unknown_format_is_refused_with_those_known(spec):
    with pytest.raises(
        InputError, match=r"unknown format .*; known: synthetic, synthetic:STYLE, folder:PATH, mars:PATH"
    ):
        read_dataset(spec)


def test_a_folder_without_its_format_is_told_how_to_say_it(tmp_path):
    with pytest.raises(InputError, match=f"say folder:{tmp_path}$"):
        read_dataset(str(tmp_path))


@pytest.mark.parametrize("name", FORMATS)
def test_a_format_needs_a_path_that_exists(name, tmp_path):
    with pytest.raises(InputError, match=f"wanted {name}:PATH, found no path"):
        read_dataset(name)
    with pytest.raises(InputError, match=f"{name}:.*missing"):
        read_dataset(f"{name}:{tmp_path / 'missing'}")


def test_a_path_may_hold_colons(tmp_path):
    write_images(tmp_path / "a:b" / "one", 2)
    data = read_dataset(f"folder:{tmp_path / 'a:b'}")
    assert data.name == f"folder:{tmp_path / 'a:b'}" and len(data.train) == 1


def test_synthetic_gets_style_seed_and_cache(monkeypatch):
    asked = []
    stand_in = types.ModuleType("vreid_fast.data.synthetic")
    stand_in.read_synthetic = lambda *arguments: asked.append(arguments) or Dataset("synthetic", [], [], [])
    monkeypatch.setitem(sys.modules, "vreid_fast.data.synthetic", stand_in)
    read_dataset("synthetic", seed=3)
    read_dataset("synthetic:real", seed=4, cache="here")
    assert asked == [("source", 3, None), ("real", 4, "here")]
