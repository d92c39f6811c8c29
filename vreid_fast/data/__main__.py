"""One's own cameras: `python -m vreid_fast.data track VIDEO OUT | crop VIDEO TRACKS OUT | check SPEC | pack ...`."""

from __future__ import annotations

import argparse
import sys

from vreid_fast.errors import exit_code
from vreid_fast.files import with_home

from .commands import check, crop, pack, track

COMMANDS = {"check": check, "track": track, "crop": crop, "pack": pack}


def make_parser() -> argparse.ArgumentParser:
    """The words of the commands."""
    parser = argparse.ArgumentParser(prog="python -m vreid_fast.data", description="From raw video to tracklets")
    commands = parser.add_subparsers(dest="command", required=True)
    for name, module in COMMANDS.items():
        module.add_arguments(commands.add_parser(name, description=module.HELP, help=module.HELP))
    return parser


def main(argv: list[str] | None = None) -> int:
    def work() -> int | None:
        arguments = make_parser().parse_args([with_home(word) for word in (sys.argv[1:] if argv is None else argv)])
        return COMMANDS[arguments.command].run(arguments)

    return exit_code(work)


if __name__ == "__main__":
    sys.exit(main())
