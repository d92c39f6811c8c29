"""The knobs of a run, read from YAML files and the command line."""

from __future__ import annotations

import re
import sys
from pathlib import Path

from vreid_fast.errors import InputError

from .flat import near
from .knobs import Config


def parse_command(argv: list[str] | None = None) -> tuple[Config, str | None]:
    """Configuration and the folder to resume, if any, from a command line.

    Later words win over earlier ones: defaults, then `--config` files and `--KNOB VALUE` in their order. `--config`
    takes a file or the name of a preset. `--resume DIR` starts from DIR/config.yaml and goes on in DIR.

    Raises:
        InputError: unknown knob or preset, wrong type, missing file.
    """
    argv = _with_presets(underscored(sys.argv[1:] if argv is None else argv))
    parser = _parser()
    resume = _value_of("--resume", argv)
    if resume is not None:
        saved = Path(resume) / "config.yaml"
        if not saved.is_file():
            raise InputError(f"--resume {resume}: no config.yaml there; name the folder of an earlier run")
        argv = [f"--config={saved}", f"--run={resume}", *argv]
    try:
        values = vars(parser.parse_args(argv))
    except Exception as error:  # jsonargparse raises argparse's and its own kinds
        raise InputError(_one_line(str(error))) from error
    return Config.of(**{name: values[name] for name in Config().knobs()}), resume


def presets() -> dict[str, Path]:
    """The YAML files of the package by name, for `--config NAME`."""
    return {path.stem: path for path in sorted((Path(__file__).parent / "presets").glob("*.yaml"))}


def underscored(argv: list[str]) -> list[str]:
    """Words of a command line with hyphens in the names of options taken as underscores."""
    return [re.sub(r"^--[^=]*", lambda name: "--" + name[0][2:].replace("-", "_"), word) for word in argv]


def _with_presets(argv: list[str]) -> list[str]:
    """The words with the file of a preset for its name; a name has no folder and no suffix."""
    known = presets()

    def file_of(word: str) -> str:
        if not re.fullmatch(r"[\w-]+", word) or (word not in known and Path(word).is_file()):
            return word
        if word not in known:
            raise InputError(f"--config {word}: no such preset; there are {', '.join(known)}, or give a YAML file")
        return str(known[word])

    words = []
    for before, word in zip([None, *argv], argv):
        flag, equals, value = word.partition("=")
        if before == "--config":
            word = file_of(word)
        elif flag == "--config" and equals:
            word = f"{flag}={file_of(value)}"
        words.append(word)
    return words


def _parser():
    import jsonargparse

    jsonargparse.set_parsing_settings(docstring_parse_attribute_docstrings=True)
    parser = jsonargparse.ArgumentParser(
        prog="python -m vreid_fast.train",
        description="Train on labelled synthetic tracklets and adapt to real, unlabelled ones.",
        exit_on_error=False,
    )
    parser.add_argument("--config", action="config", help=f"YAML file of knobs, or a preset: {', '.join(presets())}")
    parser.add_argument("--resume", metavar="DIR", default=None, help="go on with the run in DIR")
    for group in Config.groups().values():
        parser.add_class_arguments(group)
    return parser


def _value_of(flag: str, argv: list[str]) -> str | None:
    for position, word in enumerate(argv):
        if word == flag and position + 1 < len(argv):
            return argv[position + 1]
        if word.startswith(flag + "="):
            return word.split("=", 1)[1]
    return None


def _one_line(message: str) -> str:
    """jsonargparse's message on one line, with the nearest knob where one was misspelled."""
    message = re.sub(r"\s+", " ", message).strip()
    unknown = re.search(r"unrecognized arguments: -*(\w+)|option '(\w+)' is not accepted", message, re.IGNORECASE)
    if unknown:
        word = unknown.group(1) or unknown.group(2)
        message += f"; {near(word, list(Config().knobs()))}"
    return message
