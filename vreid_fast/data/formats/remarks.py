"""What a user should be told of the folders of a data set: what was left out, assumed or followed, counted."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable

from .leftovers import FOLDERS, is_left_behind, left_behind_file

SHOWN = 6


class Remarks:
    """Counts, over all folders of one data set, what its notes will say.

    Args:
        spec: the data set; begins each note.
        root: its folder; links that lead out of it are noted.
    """

    def __init__(self, spec: str, root: str | os.PathLike) -> None:
        self._spec, self._root = spec, os.path.realpath(root)
        self._folders: Counter[str] = Counter()
        self._files: Counter[str] = Counter()
        self._kinds: Counter[str] = Counter()
        self._counts: Counter[str] = Counter()
        self._first: dict[str, str] = {}

    def leaves_out(self, folder: str) -> bool:
        """Whether a folder of this name is to be left out, as a system's own; it is then counted."""
        left = is_left_behind(folder)
        if left:
            self._folders[folder if folder.lower() in FOLDERS else ".*"] += 1
        return left

    def unread(self, folder: str | os.PathLike, names: Iterable[str]) -> None:
        """Files of a folder that are no frames: those of systems are counted by name, others by ending."""
        for name in names:
            system = left_behind_file(name)
            if system:
                self._files[system] += 1
            else:
                self._kinds[os.path.splitext(name)[1].lower() or "without ending"] += 1
                self._first.setdefault("unread", os.path.join(folder, name))

    def system_files(self, names: Iterable[str]) -> None:
        """Count the systems' own among the files of a folder that is no tracklet."""
        self._files.update(filter(None, map(left_behind_file, names)))

    def count(self, what: str, first: str, number: int = 1) -> None:
        """Count `what`, words that stand behind a number in a note; `first` is a path, shown for the first."""
        self._counts[what] += number
        self._first.setdefault(what, first)

    def link(self, path: str) -> None:
        """Note a symbolic link that is followed, if it leads out of the root."""
        real = os.path.realpath(path)
        if real != self._root and not real.startswith(f"{self._root.rstrip(os.sep)}{os.sep}"):
            self.count("links lead out of the data set's folder and are followed", path)

    def notes(self) -> list[str]:
        """The notes, those on what was left out first."""
        parts = [
            f"{sum(counts.values()):,} {kind} ({', '.join(name for name, _ in counts.most_common())})"
            for kind, counts in (("hidden or system folders", self._folders), ("system files", self._files))
            if counts
        ]
        notes = [f"{self._spec}: left out {' and '.join(parts)}"] if parts else []
        if self._kinds:
            kinds = [kind for kind, _ in self._kinds.most_common()]
            named = ", ".join(kinds[:SHOWN]) + (" and others" if len(kinds) > SHOWN else "")
            count, first = sum(self._kinds.values()), self._first["unread"]
            notes.append(f"{self._spec}: left out {count:,} files that are not read as frames ({named}), as {first}")
        return notes + [
            f"{self._spec}: {number:,} {what}, as {self._first[what]}" for what, number in self._counts.items()
        ]
