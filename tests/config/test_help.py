"""--help of train: a first page that fits a screen or two, and every knob on the page of its group."""

import re

import pytest

from vreid_fast.config import Config, parse_command
from vreid_fast.config.help import OFTEN
from vreid_fast.errors import InputError


def page(capsys, *words):
    with pytest.raises(SystemExit, match="0"):
        parse_command(list(words))
    return capsys.readouterr().out


@pytest.mark.parametrize("words", [["--help"], ["-h"], ["--people", "4", "--help"], ["--help", "--people", "4"]])
def test_the_first_page_is_short_and_leads_to_all_groups(capsys, words):
    text = page(capsys, *words)
    lines = text.splitlines()
    assert lines[0].startswith("usage: ") and len(lines) <= 75 and max(map(len, lines)) <= 100
    assert set(OFTEN) <= set(re.findall(r"^  --(\w+)", text, re.MULTILINE))
    assert set(re.findall(r"^  (\w+) +.*\(\d+\)$", text, re.MULTILINE)) == set(Config.groups())
    assert f"All {len(Config().knobs())} knobs" in text and "authors_release" in text


def test_each_knob_is_on_its_groups_page_with_choices_and_default(capsys):
    for name, group in Config.groups().items():
        text = page(capsys, "--help", name)
        assert re.findall(r"^  --(\w+)", text, re.MULTILINE) == list(group.__dataclass_fields__)
    text = " ".join(page(capsys, "--help=schedule").split())
    assert (
        "--drops Of schedule steps:" in text and "[40,80,120,150]" in text and "One of cosine, steps. [cosine]" in text
    )


def test_all_knobs_at_once(capsys):
    text = page(capsys, "--help", "all")
    assert sorted(re.findall(r"^  --(\w+)", text, re.MULTILINE)) == sorted(["config", "resume", *Config().knobs()])
    assert not re.search(r"^  --\w+ +\[", text, re.MULTILINE)  # each is explained


def test_a_knobs_name_shows_its_group(capsys):
    assert page(capsys, "--help", "l1s") == page(capsys, "--help", "adversarial")


def test_a_group_that_is_not_there():
    with pytest.raises(InputError, match="--help nothing: no such group; there are data, clip, .* and all"):
        parse_command(["--help", "nothing"])


def test_narrow_terminals(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "60")
    assert "Label smoothing" in page(capsys, "--help", "identity")
