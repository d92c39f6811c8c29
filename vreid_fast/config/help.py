"""What `--help` prints: one page of what is used most, and each group of knobs on a page of its own."""

from __future__ import annotations

import shutil
import textwrap
import typing
from dataclasses import fields

from vreid_fast.errors import InputError

from .bounds import KnobGroup
from .knobs import Config

OFTEN = (
    "source", "target", "method", "run", "seed", "network", "weights", "frames", "height", "width", "people",
    "target_batch", "source_steps", "adapt_steps", "device",
)  # fmt: skip
"""Knobs on the first page."""
ALL = "all"
COLUMN = 16
WORDS = ("--help", "-h")


def help_wanted(argv: list[str]) -> str | None:
    """What a command line asks help on: a group, `all`, or "" for the first page; None = it asks for none."""
    for place, word in enumerate(argv):
        flag, equals, value = word.partition("=")
        if flag in WORDS:
            after = value if equals else next(iter(argv[place + 1 :]), "")
            return "" if after.startswith("-") else after
    return None


def help_text(topic: str, presets: typing.Iterable[str]) -> str:
    """The page on a group of knobs, on `all` of them, or with "" the first.

    Raises:
        InputError: no such group.
    """
    groups = Config.groups()
    if topic == ALL:
        return "\n".join([_usage(), *_files(presets), "", *(_page(name, group) for name, group in groups.items())])
    if topic in groups:
        return _page(topic, groups[topic])
    if topic:
        knob = next((name for name, group in groups.items() if topic.lstrip("-") in _descriptions(group)), None)
        if knob:
            return _page(knob, groups[knob])
        raise InputError(f"--help {topic}: no such group; there are {', '.join(groups)} and {ALL}")
    lines = [
        _usage(),
        "Train on labelled synthetic tracklets and adapt to real, unlabelled ones.",
        "",
        "  python -m vreid_fast.train",
        "      the demo: rendered people, two minutes on two CPU cores",
        "  python -m vreid_fast.train --target folder:/data/my_cameras --method plus --run runs/mine",
        "      adapts to tracklets of your own cameras; docs/own-data.md says how to get them",
        "  python -m vreid_fast.train --resume runs/mine",
        "      goes on where a run was stopped",
        "",
        "Used most, with [default]:",
        *_files(presets),
    ]
    known = {name: text for group in groups.values() for name, text in _descriptions(group).items()}
    lines += [line for name in OFTEN for line in _line(name, known[name])]
    lines += ["", f"All {len(known)} knobs are in groups. --help GROUP shows one, --help {ALL} every knob:"]
    lines += [f"  {name:<14} {_title(group)} ({len(fields(group))})" for name, group in groups.items()]
    return "\n".join(lines)


def _usage() -> str:
    return "usage: python -m vreid_fast.train [--config NAME] [--KNOB VALUE ...]\n"


def _files(presets: typing.Iterable[str]) -> list[str]:
    """The options that are no knobs."""
    return [
        *_line("config", f"YAML file of knobs, or a preset: {', '.join(presets)}."),
        *_line("resume", "Folder of a run to go on with."),
    ]


def _page(name: str, group: type[KnobGroup]) -> str:
    lines = [f"{_title(group)} ({name}), with [default]:"]
    for knob, text in _descriptions(group).items():
        lines += _line(knob, text)
    return "\n".join([*lines, ""])


def _title(group: type[KnobGroup]) -> str:
    return (group.__doc__ or group.__name__).strip().rstrip(".")


def _descriptions(group: type[KnobGroup]) -> dict[str, str]:
    """What each knob of a group is, in words, what it may be, and its default."""
    import docstring_parser

    said = {parameter.arg_name: parameter.description for parameter in docstring_parser.parse_from_object(group).params}
    hints = typing.get_type_hints(group)
    found = {}
    for field in fields(group):
        text = " ".join((said.get(field.name) or "").split())
        choices = typing.get_args(hints[field.name]) if typing.get_origin(hints[field.name]) is typing.Literal else ()
        default = ",".join(map(str, field.default)) if isinstance(field.default, tuple) else field.default
        shown = "none" if default is None else str(default).lower() if isinstance(default, bool) else default
        one_of = f"One of {', '.join(choices)}." if choices else ""
        found[field.name] = " ".join(filter(None, (text, one_of, f"[{shown}]")))
    return found


def _line(name: str, text: str) -> list[str]:
    """A knob and what is said of it, beside or below."""
    width = min(100, shutil.get_terminal_size((100, 24)).columns)
    lines = textwrap.wrap(text, max(30, width - COLUMN - 4), break_long_words=False, break_on_hyphens=False)
    flag, pad = f"  --{name}", " " * (COLUMN + 4)
    if len(flag) >= len(pad):
        return [flag, *(pad + line for line in lines)]
    return [flag.ljust(len(pad)) + lines[0], *(pad + line for line in lines[1:])]
