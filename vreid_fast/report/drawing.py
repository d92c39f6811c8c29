"""What all plots of a report share: colours, style, and axes that become a self-contained SVG."""

import base64
import io
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

# Okabe and Ito's colours, told apart by colour-blind readers; every curve is also labelled directly.
INK, FAINT, GRID = "#1f2933", "#6b7683", "#e3e7eb"
COLOURS = {
    "untrained": "#a5adb5",
    "source": "#6b7683",
    "student": "#0072b2",
    "teacher": "#00805c",
    "student_camera": "#c04f00",
    "student_selected": "#6ba6cf",
}
OTHER_COLOURS = ("#a3478f", "#8a6d00", "#2f7f9e")

STYLE = {
    "svg.fonttype": "none",  # text stays text: small files, and letters as sharp as the page's
    "svg.hashsalt": "vreid_fast",
    "font.family": "sans-serif",
    "font.sans-serif": ["Segoe UI", "Helvetica Neue", "Helvetica", "Arial", "Liberation Sans", "DejaVu Sans"],
    "font.size": 10,
    "text.color": INK,
    "axes.edgecolor": FAINT,
    "axes.labelcolor": FAINT,
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.grid.axis": "y",
    "axes.axisbelow": True,
    "grid.color": GRID,
    "grid.linewidth": 0.8,
    "xtick.color": FAINT,
    "ytick.color": FAINT,
    "xtick.major.size": 3,
    "ytick.major.size": 0,
    "figure.facecolor": "none",
    "axes.facecolor": "none",
}


@contextmanager
def drawn_axes(width: float, height: float) -> Iterator[tuple[Any, Callable[[], str]]]:
    """Axes of that size in inches, and a function that turns them into a data: URI of an SVG."""
    import matplotlib
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(width, height), layout="constrained")
        FigureCanvasSVG(figure)

        def finish() -> str:
            buffer = io.BytesIO()
            figure.savefig(buffer, format="svg", metadata={"Date": None})
            return "data:image/svg+xml;base64," + base64.b64encode(buffer.getvalue()).decode()

        yield figure.subplots(), finish
