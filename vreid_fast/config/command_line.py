"""The knobs of a run, read from YAML files and the command line."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from vreid_fast.errors import InputError
from vreid_fast.files import why_no_file, with_home

from .flat import near
from .help import help_text, help_wanted
from .knobs import Config
from .values import value_of
from .yaml_text import read_yaml


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
    options = list(_options(argv))
    resume = dict(options).get("resume")
    values = {} if resume is None else {**_saved(resume), "run": resume}
    kinds = Config.kinds()
    for name, word in options:
        if name == "config":
            values |= _read_knobs(_file_of(word))
        elif name != "resume":
            values[name] = _value(f"--{name}", kinds[name], word)
    if resume is not None and values["run"] != resume:
        raise InputError(f"--resume {resume} goes on in that folder; leave --run {values['run']} out")
    return Config.of(**values), resume


def presets() -> dict[str, Path]:
    """The YAML files of the package by name, for `--config NAME`."""
    return {path.stem: path for path in sorted((Path(__file__).parent / "presets").glob("*.yaml"))}


def underscored(argv: list[str]) -> list[str]:
    """Words of a command line with hyphens in the names of options taken as underscores, and ~ as the home folder."""
    return [with_home(re.sub(r"^--[^=]*", lambda name: "--" + name[0][2:].replace("-", "_"), word)) for word in argv]


def _options(argv: list[str]) -> Iterator[tuple[str, str]]:
    """Name and value of each `--NAME VALUE` and `--NAME=VALUE`; a switch that stands alone is switched on.

    Raises:
        InputError: a word that belongs to no option, a name that is none, an option without its value.
    """
    kinds = Config.kinds()
    words = list(reversed(argv))
    while words:
        word = words.pop()
        name, equals, value = word.removeprefix("--").partition("=")
        if not word.startswith("--"):
            raise InputError(f"{word}: belongs to no option; wanted --KNOB VALUE")
        if name not in ("config", "resume") and name not in kinds:
            raise InputError(f"--{name}: no such knob; {near(name, list(kinds))}")
        if not equals:
            if words and not words[-1].startswith("--"):
                value = words.pop()
            elif kinds.get(name) is bool:
                value = "true"
            else:
                raise InputError(f"--{name}: has no value; wanted --{name} VALUE")
        yield name, value


def _value(where: str, kind: Any, given: Any) -> Any:
    """`value_of`, whose error names the place.

    Raises:
        InputError: it is of another type.
    """
    try:
        return value_of(kind, given)
    except ValueError as error:
        found = f"{given!r}" if len(f"{given!r}") <= 60 else f"{given!r:.60}..."
        raise InputError(f"{where}: wanted {error}, found {found}") from None


def _saved(resume: str) -> dict[str, Any]:
    """The knobs in the config.yaml of a run.

    Raises:
        InputError: there is none, or it is damaged.
    """
    path = Path(resume) / "config.yaml"
    if not path.is_file():
        raise InputError(f"--resume {resume}: no config.yaml there; name the folder of an earlier run")
    try:
        return _read_knobs(path)
    except InputError as error:
        raise InputError(
            f"--resume {resume}: {error}; write the knobs of the run into it again (the checkpoint has them too, and "
            "names each that differs)"
        ) from None


def _read_knobs(path: Path) -> dict[str, Any]:
    """The knobs in a YAML file.

    Raises:
        InputError: with the file and the knob, of what is no knob, has no value, or one of another type.
    """
    kinds, found = Config.kinds(), {}
    for name, given in read_yaml(path).items():
        if name not in kinds:
            below = "; knobs stand side by side, not below a name" if isinstance(given, dict) else ""
            raise InputError(f"{path}: {name}: no such knob; {near(str(name), list(kinds), dashes='')}{below}")
        if given is None and Config().knobs()[name] is not None:
            raise InputError(f"{path}: {name}: has no value; give it one, or take the line out")
        found[name] = _value(f"{path}: {name}", kinds[name], given)
    return found


def _file_of(word: str) -> Path:
    """The file of a `--config`: a preset by its name, which has no folder and no suffix, or a path.

    Raises:
        InputError: there is neither.
    """
    known = presets()
    if word in known:
        return known[word]
    why = why_no_file(word)
    if why is None or (word.startswith("/dev/") and Path(word).is_fifo()):  # <(a command), or standard input
        return Path(word)
    if re.fullmatch(r"[\w-]+", word) and not Path(word).exists():
        why = "no such preset"
    raise InputError(f"--config {word}: {why}; there are {', '.join(known)}, or give a YAML file")
