"""Tables of text for the terminal."""

from __future__ import annotations

from collections.abc import Sequence

from vreid_fast.terminal import one_line


def aligned(rows: Sequence[Sequence[object]]) -> str:
    """Rows of cells in columns; the first row is the header. Integers get separators and stand to the right."""
    right = [any(isinstance(cell, int) for cell in column) for column in zip(*rows)]
    cells = [[f"{cell:,}" if isinstance(cell, int) else one_line(str(cell)) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*cells)]
    return "\n".join(
        "  ".join(
            cell.rjust(width) if to_the_right else cell.ljust(width)
            for cell, width, to_the_right in zip(row, widths, right)
        ).rstrip()
        for row in cells
    )
