"""The closing words of a run, for the terminal."""

from collections.abc import Sequence

from .words import network_words

_COLUMNS = (("mAP", "map"), ("R1", "rank1"), ("R5", "rank5"), ("R10", "rank10"), ("R20", "rank20"))


def score_table(rows: dict[str, dict]) -> str:
    """Scores of several networks as aligned plain text, in per cent, with the gain over the first row.

    Args:
        rows: name -> scores as `rank_metrics` returns them (fractions). A score that is absent shows as
            a dash. Names known to the project (``source-only`` or ``source``, ``student``, ``teacher``,
            ``student_camera``) are spelled out and explained below the table.
    """
    if not rows:
        return "no scores: the target has no identities to score with"
    header = ["scores in %", *(title for title, _ in _COLUMNS), "queries", "gain in mAP"]
    baseline = next(iter(rows.values())).get("map")
    table = [header]
    for place, (name, scores) in enumerate(rows.items()):
        figures = ["-" if scores.get(key) is None else f"{100 * scores[key]:.1f}" for _, key in _COLUMNS]
        known = place > 0 and baseline is not None and scores.get("map") is not None
        gain = f"{100 * (scores['map'] - baseline):+.1f}" if known else ""
        table.append([network_words(name)[0], *figures, str(scores.get("queries", "-")), gain])

    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    lines = [
        "  ".join(
            cell.ljust(width) if place == 0 else cell.rjust(width)
            for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in table
    ]
    lines.insert(1, "-" * max(map(len, lines)))
    unmatched = max(scores.get("unmatched", 0) for scores in rows.values())
    notes = [": ".join(network_words(name)) for name in rows if network_words(name)[1]]
    if unmatched:
        notes.append(f"{unmatched} queries without a match in the gallery are left out")
    return "\n".join([*lines, "", *notes] if notes else lines)


def bad_frames_list(reasons: Sequence[str], most: int = 20) -> str:
    """Lines that tell which frames were replaced by a neighbour; empty when none was."""
    if not reasons:
        return ""
    lines = [f"{len(reasons)} frames could not be read; a neighbour was taken in their stead:", *reasons[:most]]
    if len(reasons) > most:
        lines.append(f"... and {len(reasons) - most} more")
    return "\n".join(lines) + "\n"
