"""The closing words of a run, for the terminal."""

from collections.abc import Sequence

from vreid_fast.terminal import one_line

from .words import baseline, network_words, protocol_of

_COLUMNS = (("mAP", "map"), ("R1", "rank1"), ("R5", "rank5"), ("R10", "rank10"), ("R20", "rank20"))
_MEANING = "mAP: 100 if all right answers come first in every search; Rk: queries with a right answer among the first k"


def score_table(rows: dict[str, dict], deviations: dict[str, dict] | None = None) -> str:
    """Scores of several networks as aligned plain text, in per cent, with the gain over `baseline`.

    Args:
        rows: name -> scores as `rank_metrics` returns them (fractions). A score that is absent shows as
            a dash. Names known to the project (``source-only`` or ``source``, ``student``, ``teacher``,
            ``student_camera``, ``student_clothes_change``) are spelled out and explained below the table.
        deviations: name -> standard deviations of the scores, where `rows` are means over splits.
    """
    if not rows:
        return "no scores: the target has no identities to score with"
    header = ["scores in %", *(title for title, _ in _COLUMNS), "queries", "gain in mAP"]
    compared = baseline(rows)
    before = rows[compared].get("map")
    table = [header]
    for name, scores in rows.items():
        spread = (deviations or {}).get(name, {})
        figures = [_figure(scores.get(key), spread.get(key)) for _, key in _COLUMNS]
        comparable = name != compared and protocol_of(name) is None
        known = comparable and before is not None and scores.get("map") is not None
        gain = f"{100 * (scores['map'] - before):+.1f}" if known else ""
        table.append([network_words(name)[0], *figures, _count(scores.get("queries")), gain])

    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    lines = [
        "  ".join(
            cell.ljust(width) if place == 0 else cell.rjust(width)
            for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in table
    ]
    lines.insert(1, "-" * max(map(len, lines)))
    unmatched = max(scores.get("unmatched", 0) for name, scores in rows.items() if not protocol_of(name))
    notes = [_MEANING, *(": ".join(network_words(name)) for name in rows if network_words(name)[1])]
    if unmatched:
        notes.append(f"{_count(unmatched)} queries without a match in the gallery are left out")
    if deviations:
        notes.append("mean ± standard deviation over the splits")
    return "\n".join([*lines, "", *notes])


def _figure(score: float | None, deviation: float | None) -> str:
    if score is None:
        return "-"
    return f"{100 * score:.1f}" + ("" if deviation is None else f" ± {100 * deviation:.1f}")


def _count(number: float | None) -> str:
    """Queries; a mean over splits need not be a whole number."""
    return "-" if number is None else f"{number:.10g}"


def bad_frames_list(reasons: Sequence[str], most: int = 20) -> str:
    """Lines that tell which frames were replaced by a neighbour; empty when none was."""
    if not reasons:
        return ""
    lines = [
        f"{len(reasons)} frames could not be read; a neighbour was taken in their stead:",
        *map(one_line, reasons[:most]),
    ]
    if len(reasons) > most:
        lines.append(f"... and {len(reasons) - most} more")
    return "\n".join(lines) + "\n"
