"""What systems leave in other people's folders: thumbnails, waste baskets, snapshots. It is left out and counted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

FOLDERS = {
    "@eadir", "@tmp", "#recycle", "#snapshot",  # Synology
    "@recycle", "@recently-snapshot",  # QNAP
    "__macosx", "network trash folder", "temporary items",  # macOS, and its archives
    "$recycle.bin", "system volume information",  # Windows
    "lost+found", "~snapshot",
}  # fmt: skip
"""In small letters; hidden folders (.snapshots, .Trash-1000, .@__thumb) need no entry."""
FILES = {"thumbs.db", "ehthumbs.db", "desktop.ini", ".ds_store"}
APPLE_DOUBLE = "._"


def is_left_behind(folder: str) -> bool:
    """Whether a folder of this name is hidden or a system's own."""
    return folder.startswith(".") or folder.lower() in FOLDERS


class LeftOut:
    """Counts what was left out of the folders of one data set."""

    def __init__(self) -> None:
        self.folders: Counter[str] = Counter()
        self.files: Counter[str] = Counter()

    def folder(self, name: str) -> bool:
        """Whether a folder is to be left out, which is then counted."""
        left = is_left_behind(name)
        if left:
            self.folders[name if name.lower() in FOLDERS else ".*"] += 1
        return left

    def count_files(self, names: Iterable[str]) -> None:
        """Count the system's own among files that are no images."""
        for name in names:
            if name.startswith(APPLE_DOUBLE):
                self.files[f"{APPLE_DOUBLE}*"] += 1
            elif name.lower() in FILES:
                self.files[name] += 1

    def notes(self, spec: str) -> list[str]:
        """A note on what was left out, or none."""
        parts = [
            f"{sum(counts.values()):,} {kind} ({', '.join(name for name, _ in counts.most_common())})"
            for kind, counts in (("hidden or system folders", self.folders), ("system files", self.files))
            if counts
        ]
        return [f"{spec}: left out {' and '.join(parts)}"] if parts else []
