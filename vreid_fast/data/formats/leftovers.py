"""What systems leave in other people's folders: thumbnails, waste baskets, snapshots. It is left out and counted."""

from __future__ import annotations

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


def left_behind_file(name: str) -> str | None:
    """The name to count a file under that a system left behind, or None for any other file."""
    if name.startswith(APPLE_DOUBLE):
        return f"{APPLE_DOUBLE}*"
    return name if name.lower() in FILES else None
