"""What a file is that is no image of a kind that is read, in words: many are called .jpg all the same."""

from __future__ import annotations

import re

ANEW = "save it as PNG or JPEG"
BEGINNINGS = (
    (rb"version https://git-lfs", "a Git LFS pointer, not the file itself (fetch it with `git lfs pull`)"),
    (rb"/annex/objects/", "a git-annex pointer, not the file itself (fetch it with `git annex get`)"),
    (rb"\s*(?i:<!doctype html|<html)", "an HTML page, not the file itself (a download may want a login)"),
    (rb"P7\s", f"a PAM ({ANEW})"),
    (rb"P[Ff]\s", "a PFM of real numbers, which have no agreed scale (save it with 8 or 16 bits)"),
    (rb"....ftyp(hei|hev|mif|msf)", f"a HEIC ({ANEW})"),
    (rb"\xff\x0a|\0\0\0\x0cJXL ", f"a JPEG XL ({ANEW})"),
    (rb"8BPS", f"a PSD of Photoshop ({ANEW})"),
    (rb"\0\0[\x01\x02]\0", f"an icon ({ANEW})"),
    (rb"v/1\x01", "an OpenEXR of real numbers, which have no agreed scale (save it with 8 or 16 bits)"),
    (rb"%!PS|%PDF", f"a page of PostScript or PDF ({ANEW})"),
    (rb"\s*(<\?xml[^>]*>\s*)?<svg", f"an SVG ({ANEW})"),
    (rb"....ftyp|RIFF....AVI |\x1aE\xdf\xa3", "a video (give it an ending of videos, such as .mp4)"),
    (rb"PK\x03\x04|\x1f\x8b|7z\xbc\xaf|Rar!", "an archive (unpack it first)"),
)
"""How files begin, and what to say of them; of several, the first."""


def words(content: bytes) -> str:
    """The kind of a file by its beginning, and what to do; or how it begins."""
    known = next((words for start, words in BEGINNINGS if re.match(start, content, re.DOTALL)), None)
    return known or ("all zeros" if not any(content) else f"a file that begins {content[:12].decode('latin-1')!a}")
