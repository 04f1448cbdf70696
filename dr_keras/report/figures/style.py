"""What the figures of a report share: size, colours of the grades, and how they become files.

A figure is five inches wide with text of ten points and more, so that it can be read on a phone too, and
has its own canvas: it is no part of pyplot's state.
"""

import io

import numpy as np
from matplotlib import rc_context
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from dr_keras import files
from dr_keras.grades import GRADE_NAMES

WIDTH = 5.0  # inches
DPI = 200
# Darker to lighter with the grade, so that they differ for colour-blind readers and in print too.
GRADE_COLORS = ("#1b1464", "#6f22b0", "#bf3f90", "#e16462", "#f39a1e")
GRADE_LINES = ("-", (0, (6, 1.5)), "-.", (0, (3, 1, 1, 1, 1, 1)), (0, (1.5, 1)))
INK, SOFT, GUIDE = "#1b1f24", "#545b64", "#c3c9d0"
BLUE, ORANGE = "#0b5394", "#c45200"
_RC = {
    "font.size": 11,
    "axes.labelsize": 11,
    "axes.titlesize": 11,
    "xtick.labelsize": 10,
    "ytick.labelsize": 10,
    "legend.fontsize": 10,
    "axes.edgecolor": SOFT,
    "axes.labelcolor": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "legend.frameon": False,
}


def new_figure(height, width=WIDTH, **subplots):
    """Makes an empty figure whose labels never leave the canvas.

    Args:
        height, width: in inches.
        **subplots: as of `Figure.subplots`.

    Returns:
        (figure, axes): as of `matplotlib.pyplot.subplots`.
    """
    with rc_context(_RC):
        figure = Figure(figsize=(width, height), dpi=DPI, layout="constrained")
        FigureCanvasAgg(figure)
        figure.get_layout_engine().set(w_pad=0.06, h_pad=0.06)
        return figure, figure.subplots(**subplots)


def outside_legend(figure, columns=1):
    """Puts the legend, where there is something to name, below the axes: there it covers nothing."""
    if any(axes.get_legend_handles_labels()[0] for axes in figure.axes):
        figure.legend(loc="outside lower left", ncols=columns, frameon=False, fontsize=10)


def unit_square(axes, xlabel, ylabel):
    """Axes from 0 to 1 both ways, as ROC and precision-recall curves have them."""
    axes.set(xlim=(-0.01, 1.01), ylim=(-0.01, 1.01), xlabel=xlabel, ylabel=ylabel)
    axes.grid(color=GUIDE, linewidth=0.5)
    axes.set_axisbelow(True)


def scored(labels, scores):
    """Returns (labels, scores) as arrays, without photographs whose score is NaN."""
    labels, scores = np.asarray(labels), np.asarray(scores, "float64")
    return labels[~np.isnan(scores)], scores[~np.isnan(scores)]


def grade_label(grade, n=None):
    """Words such as "2 moderate NPDR", with ", n = 12" where it is given."""
    return f"{grade} {GRADE_NAMES[grade]}" + ("" if n is None else f", n = {n}")


def write_png(path, figure):
    """Writes a figure's PNG file, whole or not at all, and returns its bytes."""
    file = io.BytesIO()
    figure.savefig(file, format="png")
    with files.atomic_path(path) as temporary:
        temporary.write_bytes(file.getvalue())
    return file.getvalue()


def pixels(figure):
    """The picture of a figure: uint8 (height, width, 3), RGB."""
    figure.canvas.draw()
    return np.asarray(figure.canvas.buffer_rgba())[..., :3].copy()
