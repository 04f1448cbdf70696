"""Figures of a report. Each is a matplotlib figure with its own canvas, no part of pyplot's state."""

import numpy as np
import seaborn
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from dr_keras.grades import GRADE_NAMES


def confusion_figure(matrix, title=""):
    """Draws a confusion matrix: counts, coloured by their share of the true grade's row.

    Args:
        matrix: int array (5, 5): rows are true grades, columns predicted ones.
        title: heading.

    Returns:
        A matplotlib figure with its own canvas, no part of pyplot's state.
    """
    matrix = np.asarray(matrix)
    row_sums = matrix.sum(axis=1)
    percent = 100 * matrix / np.maximum(row_sums, 1)[:, None]
    texts = [
        [f"{count}\n{share:.0f} %" if count else "0" for count, share in zip(counts, shares)]
        for counts, shares in zip(matrix, percent)
    ]
    figure = Figure(figsize=(7.5, 6), dpi=120)
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    figure.subplots_adjust(left=0.23, right=0.97, top=0.93, bottom=0.17)
    seaborn.heatmap(
        percent,
        annot=texts,
        fmt="",
        cmap="Blues",
        vmin=0,
        vmax=100,
        square=True,
        linewidths=1,
        cbar_kws={"label": "share of the true grade (%)"},
        xticklabels=[f"{grade}\n{name.replace(' ', chr(10))}" for grade, name in enumerate(GRADE_NAMES)],
        yticklabels=[
            f"{grade} {name}\nn = {n}" for grade, (name, n) in enumerate(zip(GRADE_NAMES, row_sums))
        ],
        ax=axes,
    )
    axes.tick_params(length=0, labelrotation=0)
    axes.set(xlabel="predicted grade", ylabel="true grade", title=title)
    return figure


def confusion_image(matrix):
    """The picture of `confusion_figure`: uint8 (height, width, 3), RGB."""
    return np.asarray(confusion_figure(matrix).canvas.buffer_rgba())[..., :3].copy()
