"""Knobs: defaults, YAML files, the command line, and what is said of bad ones."""

import os
import subprocess
import sys

import pytest
import yaml

from vreid_fast.config import Config, parse_command, underscored
from vreid_fast.errors import InputError


def test_later_words_win(tmp_path):
    (tmp_path / "a.yaml").write_text("l1s: 0.25\nclusters: 7\n")
    config, resume = parse_command(["--config", str(tmp_path / "a.yaml"), "--clusters", "9"])
    assert (config.adversarial.l1s, config.clusters.clusters, config.clip.frames, resume) == (0.25, 9, 4, None)


def test_yaml_holds_every_knob_and_reads_back(tmp_path):
    config = Config.of(combined_sizes=(3, 5), target="folder:/x", weights="w.pth")
    (tmp_path / "config.yaml").write_text(config.to_yaml())
    assert list(yaml.safe_load(config.to_yaml())) == list(Config().knobs())
    assert parse_command(["--config", str(tmp_path / "config.yaml")])[0] == config


def test_a_split_is_a_number_or_all(tmp_path):
    (tmp_path / "a.yaml").write_text("split: 3\n")
    assert parse_command(["--config", str(tmp_path / "a.yaml")])[0].data.split == "3"
    assert parse_command(["--split", "all"])[0].data.split == "all" and Config().data.split == "0"


def test_resume_takes_the_knobs_of_the_run(tmp_path):
    (tmp_path / "config.yaml").write_text(Config.of(seed=5).to_yaml())
    config, resume = parse_command(["--resume", str(tmp_path)])
    assert config.run.seed == 5 and config.run.run == str(tmp_path) == resume
    assert parse_command([f"--resume={tmp_path}", "--log_every", "3"])[0].run.log_every == 3
    with pytest.raises(InputError, match=f"--resume {tmp_path} goes on in that folder; leave --run other out"):
        parse_command([f"--resume={tmp_path}", "--run=other"])


@pytest.mark.parametrize(
    ("word", "why"),
    [
        ("", "an empty name"), ("run", "is a folder; its last.pt may be meant"), ("pipe", "is a named pipe"),
        ("http://a/b.yaml", "is an address"), ("/nowhere.yaml", "no such file"), ("nowhere", "no such preset"),
    ],
)  # fmt: skip
def test_what_is_no_file_of_knobs_is_called_by_its_kind(word, why, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    os.mkfifo("pipe")
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "last.pt").touch()
    for words in (["--config", word], [f"--config={word}"]):
        with pytest.raises(InputError, match=f"^--config {word}: {why}.*; there are .*demo.*, or give a YAML file$"):
            parse_command(words)


def test_a_config_of_another_command_is_read():
    script = "import sys; from vreid_fast.config import parse_command; print(parse_command(sys.argv[1:])[0].run.seed)"
    words = ["bash", "-c", f"{sys.executable} -c '{script}' --config <(echo 'seed: 7')"]
    assert subprocess.run(words, capture_output=True, text=True, check=True).stdout == "7\n"


@pytest.mark.parametrize("content", ["seed: [1,\n", "seed: \x1b[2J\n"])
def test_an_error_in_a_file_of_knobs_names_the_file(content, tmp_path):
    (tmp_path / "mine.yaml").write_text(content)
    with pytest.raises(InputError, match=r'mine.yaml: cannot be read: .* in "mine.yaml", (line 2|position 6)'):
        parse_command(["--config", str(tmp_path / "mine.yaml")])


@pytest.mark.parametrize("content", [b"", b"sour", b"seed: 1\n\xff: 2\n", b"seed:\n", b"seed: [1\n"])
def test_a_damaged_config_of_a_run_is_named_and_can_be_written_again(tmp_path, content):
    (tmp_path / "config.yaml").write_bytes(content)
    with pytest.raises(
        InputError, match=f"--resume {tmp_path}: {tmp_path}/config.yaml: .*; write the knobs of the run"
    ):
        parse_command(["--resume", str(tmp_path)])


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (["--l1x", "0"], r"l1x.*did you mean --l1s"),
        (["--xyzzyx", "0"], "xyzzyx.*--help lists the knobs"),
        (["--l1s", "much"], "--l1s: wanted a number, found 'much'"),
        (["--people", "3.5"], "--people: wanted a whole number, found '3.5'"),
        (["--recompute", "maybe"], "--recompute: wanted true or false, found 'maybe'"),
        (["--drops", "x"], r"--drops: wanted whole numbers, as in \[1, 2\], found 'x'"),
        (["--people"], "--people: has no value; wanted --people VALUE"),
        (["--people", "--seed=1"], "--people: has no value"),
        (["--people", "2", "3"], "^3: belongs to no option; wanted --KNOB VALUE"),
        (["paper"], "paper: belongs to no option"),
        (["--method", "magic"], "--method: wanted source, bn_adapt, paper, .* or glt, found 'magic'"),
        (["--config", "/nowhere.yaml"], "/nowhere.yaml"),
        (["--resume", "/nowhere"], "no config.yaml there"),
        (["--people", "1"], "--people must be at least 2, got 1"),
        (["--flip", "1.5"], "--flip must be between 0 and 1, got 1.5"),
        (["--adapt_lr", "0"], "--adapt_lr must be above 0"),
        (["--split", "first"], "--split must be a number from 0, or all, got first"),
        (["--split=-1"], "--split must be a number from 0, or all, got -1"),
        (["--authors_pieces_test=-1"], "--authors_pieces_test must be at least 0"),
        (["--combined_sizes", "[0]"], "--combined_sizes must be positive"),
    ],
)
def test_bad_knobs_are_named_on_one_line(argv, said):
    with pytest.raises(InputError, match=said) as error:
        parse_command(argv)
    assert "\n" not in str(error.value)


def test_unknown_knob_in_a_file_is_named(tmp_path):
    (tmp_path / "a.yaml").write_text("clustrs: 3\n")
    with pytest.raises(InputError, match="clustrs.*did you mean clusters[?]"):
        parse_command(["--config", str(tmp_path / "a.yaml")])


VALUES = {
    "seed: 010": ("seed", 10), "seed: 0o10": ("seed", 8), "seed: 0x10": ("seed", 16),
    "source_lr: 1e-4": ("source_lr", 1e-4), "source_lr: 1": ("source_lr", 1.0),
    'source_lr: "0.001"': ("source_lr", 1e-3), "run: 2026-01-01": ("run", "2026-01-01"),
    "camera_aware: no": ("camera_aware", False), "combined_sizes: [010, 3]": ("combined_sizes", (10, 3)),
    '{"seed": 3,\n "l1s": 0.5}': ("seed", 3), "\ufeffseed: 4\r\n": ("seed", 4), "weights:": ("weights", None),
    "graph: off": ("graph", "off"), "drops: 3, 4": ("drops", (3, 4)),
    "transport_groups: 0.5": ("transport_groups", (0.5,)),
    "run: ~/x": ("run", "/home/me/x"), "target: folder:~/x": ("target", "folder:/home/me/x"),
}  # fmt: skip


@pytest.mark.parametrize("text", VALUES)
def test_a_file_means_what_it_says(tmp_path, monkeypatch, text):
    monkeypatch.setenv("HOME", "/home/me")
    (tmp_path / "a.yaml").write_text(text, newline="")
    name, value = VALUES[text]
    assert parse_command(["--config", str(tmp_path / "a.yaml")])[0].knobs()[name] == value


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("seed: 1:30", "a.yaml: seed: wanted a whole number, found '1:30'"),
        ("seed: 1_000", "seed: wanted a whole number"),
        ("combined_sizes: [1:30]", "combined_sizes: wanted whole numbers, as in"),
        ("seed: 1\nl1s: 0\nseed: 2", "line 3: seed is there twice, in line 1 too"),
        ('{"seed": 1,\n"seed": 1}', "line 2: seed is there twice, in line 1 too"),
        ("seed: 99999999999999999999", "--seed must be at most 9223372036854775807, got 99999999999999999999"),
        ("seed: " + "9" * 5000, "a.yaml: cannot be read"),
        ("source_lr: .inf", "--source_lr must be finite"),
        ("source-steps: 3", "source-steps: no such knob; did you mean source_steps[?]"),
        ("threads:", "threads: has no value; give it one, or take the line out"),
        ("threads: ~", "threads: has no value"),
        ("train:\n  seed: 1", "train: no such knob; .*; knobs stand side by side, not below a name"),
        ("config: demo", "config: no such knob"),
        ("resume: x", "resume: no such knob"),
        ("seed: 1\n--- \nseed: 2", "a.yaml: cannot be read: expected a single document"),
        ("? [a]\n: 3", "a.yaml: cannot be read"),
        ("seed: " + "[" * 3000, "a.yaml: cannot be read"),
        ("method: magic", "a.yaml: method: wanted source, .*, found 'magic'"), ("run: 5", "run: wanted text; quotes"),
        ("scenes: 1", "scenes: wanted true or false, found 1"), ("graph: 1", "graph: wanted auto, on or off, found 1"),
        ("- seed", "wanted lines such as `seed: 1`, found .'seed'"),
        ("", "found nothing"),
    ],
)  # fmt: skip
def test_a_wrong_file_is_refused_with_its_knob_or_line(tmp_path, text, said):
    (tmp_path / "a.yaml").write_text(text)
    with pytest.raises(InputError, match=said) as error:
        parse_command(["--config", str(tmp_path / "a.yaml")])
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("word", "meant"),
    [
        ("~/x", "/home/me/x"), ("~", "/home/me"), ("--run=~/x", "--run=/home/me/x"),
        ("folder:~/x", "folder:/home/me/x"),
        ("--da-ta=mars:~/x", "--da_ta=mars:/home/me/x"), ("a~/x", "a~/x"), ("--run=a:b~", "--run=a:b~"), ("", ""),
        ("./~/x", "./~/x"), ("3", "3"),
    ],
)  # fmt: skip
def test_home_where_the_shell_left_it(monkeypatch, word, meant):
    monkeypatch.setenv("HOME", "/home/me")
    assert underscored([word]) == [meant]
    if word.startswith("~"):
        assert parse_command(["--run", word])[0].run.run == meant


def test_aliases_of_aliases_are_looked_at_once(tmp_path):
    """Ten of ten of ... ten: looked at from each place it would be ten thousand million nodes."""
    lines = ["a0: &a0 [1, 1]", *(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 11))]
    (tmp_path / "bomb.yaml").write_text("\n".join(lines))
    with pytest.raises(InputError, match="a0: no such knob"):
        parse_command(["--config", str(tmp_path / "bomb.yaml")])


def test_a_switch_that_stands_alone_is_switched_on():
    assert parse_command(["--scenes", "--seed", "3"])[0].data.scenes and parse_command(["--scenes"])[0].data.scenes
    assert not parse_command(["--scenes=no"])[0].data.scenes


def test_several_numbers_need_no_brackets():
    for word in ("3,4", "3, 4", "[3, 4]"):
        assert parse_command(["--combined_sizes", word])[0].adversarial.combined_sizes == (3, 4)
