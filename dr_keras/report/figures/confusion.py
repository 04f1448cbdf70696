"""Confusion matrices (P1 figure 6a)."""

import textwrap

import numpy as np
import seaborn

from dr_keras.grades import GRADE_NAMES
from dr_keras.report.figures import style


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
    names = [name.replace("proliferative", "prolif- erative") for name in GRADE_NAMES]
    figure, axes = style.new_figure(4.6)
    seaborn.heatmap(
        percent,
        annot=texts,
        fmt="",
        cmap="Blues",
        vmin=0,
        vmax=100,
        linewidths=1,
        cbar_kws={"label": "share of the true grade (%)", "fraction": 0.05, "pad": 0.02},
        annot_kws={"fontsize": 10},
        xticklabels=[f"{grade}\n" + name.replace(" ", "\n") for grade, name in enumerate(names)],
        yticklabels=[
            textwrap.fill(f"{grade} {name}", 11) + f"\nn = {n}"
            for grade, (name, n) in enumerate(zip(names, row_sums))
        ],
        ax=axes,
    )
    axes.tick_params(length=0, labelrotation=0, labelsize=9)
    axes.set(xlabel="predicted grade", ylabel="true grade")
    figure.suptitle(title, fontsize=10)
    return figure


def confusion_image(matrix):
    """The picture of `confusion_figure`: uint8 (height, width, 3), RGB."""
    return style.pixels(confusion_figure(matrix))
