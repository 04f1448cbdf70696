"""Figures of abnormal patches and their clusters (P1 figure 10), and thumbnails of the patches."""

import math

import cv2
import numpy as np
from matplotlib import colormaps

from dr_keras.grades import NUM_GRADES
from dr_keras.report.figures import style

THUMBNAIL = 64  # pixels
_PER_ROW = 6
_GAP = 4  # pixels


def cluster_colors(count):
    """Returns `count` colours of different hue, as hexadecimal RGB strings."""
    return [
        "#{:02x}{:02x}{:02x}".format(*_byte(colormaps["turbo"](x))) for x in np.linspace(0.03, 0.97, count)
    ]


def thumbnails(pictures):
    """Scales pictures of any size to thumbnails: uint8 (n, 64, 64, 3)."""
    return np.stack([cv2.resize(p, (THUMBNAIL, THUMBNAIL), interpolation=cv2.INTER_AREA) for p in pictures])


def sprite(small):
    """Joins thumbnails, row by row, into one square picture, as TensorBoard's projector needs it."""
    side = math.ceil(math.sqrt(len(small)))
    full = np.zeros((side * side, *small.shape[1:]), np.uint8)
    full[: len(small)] = small
    rows = full.reshape(side, side, THUMBNAIL, THUMBNAIL, 3).swapaxes(1, 2)
    return rows.reshape(side * THUMBNAIL, side * THUMBNAIL, 3)


def clusters_figure(places, clusters, labels, drops, small):
    """Draws P1's figure 10: patches laid out by t-SNE, and examples of each cluster and of each stage.

    The examples are the patches with the largest drops.

    Args:
        places: (n, 2): positions from t-SNE.
        clusters, labels, drops: (n,): cluster, true grade and drop of each patch.
        small: result of `thumbnails`.
    """
    count = int(clusters.max()) + 1
    figure, axes = style.new_figure(max(5.0, 0.4 * count), 12.0, ncols=3, width_ratios=(1.3, 1, 1))
    colors = cluster_colors(count)
    axes[0].scatter(*places.T, s=14, c=[colors[each] for each in clusters], linewidths=0)
    for number in range(count):
        x, y = np.median(places[clusters == number], axis=0)
        axes[0].text(x, y, number, ha="center", va="center", weight="bold", fontsize=9)
    axes[0].set_xticks([])
    axes[0].set_yticks([])
    axes[0].set_title(f"{len(places)} patches, t-SNE, by cluster", fontsize=10)
    _examples(axes[1], small, drops, [clusters == number for number in range(count)], "clusters")
    grades = [labels == grade for grade in range(NUM_GRADES)]
    _examples(axes[2], small, drops, grades, "true grade of the photograph")
    return figure


def silhouette_figure(curve, chosen):
    """Draws the mean silhouette, a dict by k, against k, and marks the k in use."""
    figure, axes = style.new_figure(3.4)
    axes.plot(list(curve), list(curve.values()), "o-", color=style.BLUE, markersize=4)
    axes.axvline(chosen, color=style.ORANGE, linewidth=1)
    axes.set(xlabel=f"clusters (in use: {chosen})", ylabel="mean silhouette")
    axes.grid(color=style.GUIDE, linewidth=0.5)
    return figure


def stages_figure(counts):
    """Draws the share of each cluster's patches that comes from photographs of each grade."""
    counts = np.asarray(counts)
    shares, left = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1), np.zeros(len(counts))
    figure, axes = style.new_figure(1.2 + 0.24 * len(counts))
    for grade in range(NUM_GRADES):
        look = {"left": left, "color": style.GRADE_COLORS[grade], "label": style.grade_label(grade)}
        axes.barh(np.arange(len(counts)), shares[:, grade], **look)
        left = left + shares[:, grade]
    axes.set_yticks(
        range(len(counts)), [f"{k} (n = {n})" for k, n in enumerate(counts.sum(axis=1))], fontsize=8
    )
    axes.set(xlabel="share of the cluster's patches", ylabel="cluster", xlim=(0, 1))
    axes.invert_yaxis()
    style.outside_legend(figure, columns=2)
    return figure


def _examples(axes, small, drops, chosen, title):
    """Draws a row of thumbnails for each group: its patches with the largest drops."""
    step = THUMBNAIL + _GAP
    canvas = np.full((len(chosen) * step, _PER_ROW * step, 3), 255, np.uint8)
    for row, members in enumerate(chosen):
        own = np.flatnonzero(members)
        for column, index in enumerate(own[np.argsort(-drops[own], kind="stable")][:_PER_ROW]):
            top, left = row * step, column * step
            canvas[top : top + THUMBNAIL, left : left + THUMBNAIL] = small[index]
    axes.imshow(canvas, aspect="equal")
    axes.set_yticks(np.arange(len(chosen)) * step + THUMBNAIL / 2, range(len(chosen)))
    axes.set_xticks([])
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    axes.set_title(title, fontsize=10)


def _byte(color):
    return [round(255 * channel) for channel in color[:3]]
