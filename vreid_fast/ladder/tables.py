"""A ladder in Markdown, in CSV and in the terminal."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path

from vreid_fast.files import write_text

from .differences import Paired, Spread
from .rows import CLOTHED, Table

Results = Mapping[str, Mapping[int, dict]]
"""Row -> seed -> what the cell's result.json holds."""

COSTS = ("seconds", "clips_per_second")
SHOWN = {
    "student": "student", "student_camera": "per camera", "student_same_clothes": "same clothes",
    "student_clothes_change": "clothes change",
}  # fmt: skip


def scores(results: Results, row: str, network: str = "student", score: str = "map") -> dict[int, float]:
    """One score of a row in per cent, by seed; the seeds that have it."""
    found = results.get(row, {}).items()
    return {seed: 100 * result[network][score] for seed, result in found if network in result}


def row_table(table: Table, results: Results) -> list[list[str]]:
    """Heading and lines: the untrained network and the first stages, then each row that has a finished cell."""
    published = list(dict.fromkeys(name for row in table.rows.values() for name in row.published))
    clothed = [of for of in CLOTHED if any(scores(results, row, of) for row in table.rows)]
    ofs = ("student_camera", *clothed)
    heading = [
        "row",
        "seeds",
        "R1",
        "mAP",
        *(f"mAP, {SHOWN[of]}" for of in ofs),
        *(f"paper, {name}: R1 / mAP" for name in published),
    ]
    lines = [[*heading, "seconds", "clips/s"]]
    blank = [""] * len(published)
    for name, row in table.rows.items():
        cells = results.get(name, {})
        if not cells:
            continue
        if not row.after:
            start = "" if name == "start" else f" {name}"
            untrained = [_spread(scores(results, name, "untrained", score)) for score in ("rank1", "map")]
            lines.append([f"untrained{start}", str(len(cells)), *untrained, *[""] * len(ofs), *blank, "", ""])
        theirs = [
            " / ".join(f"{n:.1f}" for n in row.published[key]) if key in row.published else "" for key in published
        ]
        ours = [
            _spread(scores(results, name, *which))
            for which in (("student", "rank1"), ("student", "map"), *((of, "map") for of in ofs))
        ]
        costs = [Spread.of({seed: result[cost] for seed, result in cells.items()}).mean for cost in COSTS]
        label = name if row.after else f"first stage{start}"
        cost = [f"{costs[0]:.0f}", f"{costs[1]:.0f}" if costs[1] else ""]
        lines.append([label, str(len(cells)), *ours, *theirs, *cost])
    return lines


def difference_table(table: Table, results: Results) -> list[list[str]]:
    """Heading and lines: the paired differences of mAP, in points."""
    lines = [["difference", "rows", "of", "mAP", "95 % interval", "seeds up", ""]]
    for one in table.differences:
        for of in one.of:
            paired = Paired.of(scores(results, one.row, of), scores(results, one.minus, of))
            if paired:
                interval = "{:+.1f} to {:+.1f}".format(*paired.interval) if paired.interval else ""
                lines.append([
                    one.name, f"{one.row} - {one.minus}", SHOWN[of], f"{paired.mean:+.1f}", interval,
                    f"{paired.up} of {paired.seeds}", paired.verdict,
                ])  # fmt: skip
    return lines


def notes(table: Table, results: Results) -> list[str]:
    """What a reader of the tables must know."""
    seeds = sorted({seed for cells in results.values() for seed in cells})
    found = [
        "R1 and mAP in % on the target's query and gallery, of the student after the last step; nothing was selected "
        "on them. Per camera: the same features standardised per camera, with statistics of unlabelled training clips."
    ]
    if len(seeds) > 1:
        found.append("± is the sample standard deviation over seeds; intervals are Student's t over paired seeds.")
    else:
        found.append("One seed: no deviation and no interval can be given.")
    if any(row.published for row in table.rows.values()):
        found.append(
            "The paper's figures are as it published them, on the data set named: not to be compared in level."
        )
    found += table.notes
    extended = [row for row in table.rows.values() if row.after and table.rows[row.after].after]
    if extended:
        names = ", ".join(f"{row.name} (after {row.after})" for row in extended)
        found.append(f"Seconds of {names} come on top of those of the row before it.")
    missing = [name for name in table.rows if len(results.get(name, {})) < len(seeds)]
    if missing:
        found.append(f"Not finished for every seed: {', '.join(missing)}.")
    return found


def markdown(table: Table, results: Results, facts: Sequence[str]) -> str:
    """The page ladder.md; `facts` are lines on how it was made."""
    parts = [f"# {table.title}", "\n".join(f"- {fact}" for fact in facts), _rows(row_table(table, results))]
    differences = difference_table(table, results)
    if differences[1:]:
        parts += ["## Differences, paired by seed, in points of mAP", _rows(differences)]
    return "\n\n".join([*parts, "![each row's mean and seeds](ladder.png)", *notes(table, results)]) + "\n"


def _rows(lines: list[list[str]]) -> str:
    ruled = [lines[0], ["---"] * len(lines[0]), *lines[1:]]
    return "\n".join(f"| {' | '.join(line)} |" for line in ruled)


def terminal(table: Table, results: Results) -> str:
    """The same tables as aligned text."""
    blocks = [_aligned(row_table(table, results))]
    differences = difference_table(table, results)
    if differences[1:]:
        blocks.append(_aligned(differences))
    return "\n\n".join([*blocks, "\n".join(notes(table, results))])


def _aligned(lines: list[list[str]]) -> str:
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines
    )


def write_csv(path: Path, results: Results) -> None:
    """One line a cell, with all its scores as fractions."""
    cells = [(seed, row, result) for row, found in results.items() for seed, result in found.items()]
    flat = [
        {"seed": seed, "row": row, **_numbers(result), **{cost: result[cost] for cost in COSTS}}
        for seed, row, result in sorted(cells, key=lambda cell: cell[0])
    ]
    names = dict.fromkeys(name for line in flat for name in line if name not in COSTS)
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, [*names, *COSTS])
    writer.writeheader()
    writer.writerows(flat)
    write_text(path, text.getvalue())


def _numbers(result: dict) -> dict[str, float]:
    networks = {name: value for name, value in result.items() if isinstance(value, dict)}
    return {
        f"{network}_{score}": value
        for network, found in networks.items()
        for score, value in found.items()
        if isinstance(value, int | float)
    }


def _spread(values: Mapping[int, float]) -> str:
    if not values:
        return ""
    spread = Spread.of(values)
    return f"{spread.mean:.1f}" + ("" if spread.deviation is None else f" ± {spread.deviation:.1f}")
