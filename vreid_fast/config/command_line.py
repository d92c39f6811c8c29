"""The knobs of a run, read from YAML files and the command line."""

from __future__ import annotations

import re
import sys
from functools import cache
from pathlib import Path

import yaml

from vreid_fast.errors import InputError
from vreid_fast.files import why_no_file, with_home

from .flat import near
from .help import help_text, help_wanted
from .knobs import Config
from .yaml_text import load_yaml, read_yaml


def parse_command(argv: list[str] | None = None) -> tuple[Config, str | None]:
    """Configuration and the folder to resume, if any, from a command line.

    Later words win over earlier ones: defaults, then `--config` files and `--KNOB VALUE` in their order. `--config`
    takes a file or the name of a preset. `--resume DIR` starts from DIR/config.yaml and goes on in DIR. `--help` prints
    a page, see `help`, and ends the program.

    Raises:
        InputError: unknown knob or preset, wrong type, missing or damaged file.
    """
    argv = underscored(sys.argv[1:] if argv is None else argv)
    topic = help_wanted(argv)
    if topic is not None:
        print(help_text(topic, presets()))
        raise SystemExit(0)
    argv = _with_presets(argv)
    parser = _parser()
    resume = next(iter(_values_of("--resume", argv)), None)
    if resume is not None:
        argv = [f"--config={_saved(resume)}", f"--run={resume}", *argv]
    for file in _values_of("--config", argv):
        if Path(file).is_file():
            _check_file(file)
    for name in Config().knobs():
        for word in _values_of(f"--{name}", argv):
            _check_number(f"--{name}", name, word)
    try:
        values = vars(parser.parse_args(argv))
    except Exception as error:  # jsonargparse raises argparse's and its own kinds
        raise InputError(_one_line(str(error))) from error
    if resume is not None and values["run"] != resume:
        raise InputError(f"--resume {resume} goes on in that folder; leave --run {values['run']} out")
    return Config.of(**{name: values[name] for name in Config().knobs()}), resume


def presets() -> dict[str, Path]:
    """The YAML files of the package by name, for `--config NAME`."""
    return {path.stem: path for path in sorted((Path(__file__).parent / "presets").glob("*.yaml"))}


def underscored(argv: list[str]) -> list[str]:
    """Words of a command line with hyphens in the names of options taken as underscores, and ~ as the home folder."""
    return [with_home(re.sub(r"^--[^=]*", lambda name: "--" + name[0][2:].replace("-", "_"), word)) for word in argv]


def _saved(resume: str) -> Path:
    """The config.yaml of a run.

    Raises:
        InputError: there is none, or it is damaged.
    """
    path = Path(resume) / "config.yaml"
    if not path.is_file():
        raise InputError(f"--resume {resume}: no config.yaml there; name the folder of an earlier run")
    try:
        _check_file(path)
    except InputError as error:
        raise InputError(
            f"--resume {resume}: {error}; write the knobs of the run into it again (the checkpoint has them too, and "
            "names each that differs)"
        ) from None
    return path


def _check_file(path: str | Path) -> None:
    """Refuse what is no file of knobs, or has one without a value.

    Raises:
        InputError: with the file and the knob.
    """
    knobs = Config().knobs()
    for name, value in read_yaml(path).items():
        if name not in knobs:
            below = "; knobs stand side by side, not below a name" if isinstance(value, dict) else ""
            raise InputError(f"{path}: {name}: no such knob; {near(str(name), list(knobs), dashes='')}{below}")
        if value is None and knobs[name] is not None:
            raise InputError(f"{path}: {name}: has no value; give it one, or take the line out")
        _check_number(f"{path}: {name}", name, value)


def _check_number(where: str, name: str, value: object) -> None:
    """Refuse 1:30 and 1_000, which the parser would take as ninety and a thousand, where a number is wanted."""
    default = Config().knobs()[name]
    if isinstance(default, int | float | tuple) and re.search("[:_]", str(value)):
        raise InputError(f"{where}: wanted {'numbers' if isinstance(default, tuple) else 'a number'}, found {value!r}")


def _with_presets(argv: list[str]) -> list[str]:
    """The words with the file of a preset for its name; a name has no folder and no suffix."""
    known = presets()

    def file_of(word: str) -> str:
        if word in known:
            return str(known[word])
        why = why_no_file(word)
        if why is None or (word.startswith("/dev/") and Path(word).is_fifo()):  # <(a command), or standard input
            return word
        if re.fullmatch(r"[\w-]+", word) and not Path(word).exists():
            why = "no such preset"
        raise InputError(f"--config {word}: {why}; there are {', '.join(known)}, or give a YAML file")

    words = []
    for before, word in zip([None, *argv], argv):
        flag, equals, value = word.partition("=")
        if before == "--config":
            word = file_of(word)
        elif flag == "--config" and equals:
            word = f"{flag}={file_of(value)}"
        words.append(word)
    return words


@cache  # a ladder reads a command line for each of its rows
def _parser():
    import jsonargparse

    jsonargparse.set_loader("knobs", load_yaml, (yaml.YAMLError, InputError))
    parser = jsonargparse.ArgumentParser(
        prog="python -m vreid_fast.train",
        description="Train on labelled synthetic tracklets and adapt to real, unlabelled ones.",
        exit_on_error=False,
        parser_mode="knobs",
    )
    parser.add_argument("--config", action="config", help=f"YAML file of knobs, or a preset: {', '.join(presets())}")
    parser.add_argument("--resume", metavar="DIR", default=None, help="go on with the run in DIR")
    for group in Config.groups().values():
        parser.add_class_arguments(group)
    return parser


def _values_of(flag: str, argv: list[str]) -> list[str]:
    """What follows an option, each time that it is given."""
    after = [following for word, following in zip(argv, argv[1:]) if word == flag]
    return after + [word.split("=", 1)[1] for word in argv if word.startswith(flag + "=")]


def _one_line(message: str) -> str:
    """jsonargparse's message on one line, with the nearest knob where one was misspelled."""
    message = re.sub(r"\s+", " ", message).strip()
    unknown = re.search(r"unrecognized arguments: -*(\w+)|option '(\w+)' is not accepted", message, re.IGNORECASE)
    if unknown:
        word = unknown.group(1) or unknown.group(2)
        message += f"; {near(word, list(Config().knobs()))}"
    return message
