"""The course of the disease by score: photographs in increasing order (P1 section 3.4, figure 11)."""

import dataclasses
from pathlib import Path

import numpy as np

from dr_keras import files
from dr_keras.grades import DEFAULT_THRESHOLDS, score_to_grade
from dr_keras.report.figures import style
from dr_keras.report.figures.sheets import sheet_figure

SELECTIONS = ("even", "random")
COLUMNS = ("position", "image", "label", "score", "grade")
_PER_ROW = 4


@dataclasses.dataclass(frozen=True)
class Progression:
    """Photographs by increasing score.

    Attributes:
        images: their names.
        labels: int array (n,) of true grades.
        scores: array (n,) in grade units, increasing.
        pictures: uint8 (n, size, size, 3), RGB, as the network is given them.
    """

    images: list
    labels: np.ndarray
    scores: np.ndarray
    pictures: np.ndarray


def select(scores, count=20, selection="even", seed=0):
    """Chooses photographs to show in increasing order of score.

    Args:
        scores: array (n,) in grade units; a photograph with NaN is never chosen.
        count: how many, or all if there are fewer.
        selection: "even": those nearest to scores evenly spaced from the lowest to the highest, each
            once; "random": each as likely as any other (the text of P1).
        seed: seed of the draw.

    Returns:
        int array of positions, by increasing score.

    Raises:
        ValueError: on another `selection`, or a `count` below 1.
    """
    if selection not in SELECTIONS:
        raise ValueError(f"`selection` must be one of {SELECTIONS}. Received: selection={selection!r}")
    if count < 1:
        raise ValueError(f"`count` must be positive. Received: count={count}")
    scores = np.asarray(scores, "float64")
    ranked = np.argsort(scores, kind="stable")
    ranked = ranked[~np.isnan(scores[ranked])]
    if len(ranked) <= count:
        return ranked
    if selection == "random":
        return ranked[np.sort(np.random.default_rng(seed).choice(len(ranked), count, replace=False))]
    free, chosen = scores[ranked], np.zeros(len(ranked), bool)
    for target in np.linspace(free[0], free[-1], count):
        chosen[np.where(chosen, np.inf, np.abs(free - target)).argmin()] = True
    return ranked[chosen]


def progression(prepared, scored, count=20, selection="even", seed=0):
    """Chooses photographs of a scored split, and reads them.

    Args:
        prepared: `PreparedDataset` that was scored.
        scored: `SplitScores` of it.
        count, selection, seed: as for `select`.

    Returns:
        `Progression`.
    """
    chosen = select(scored.scores, count, selection, seed)
    indices = scored.indices[chosen]
    return Progression(
        [prepared.records[index].image for index in indices],
        prepared.grades[indices],
        scored.scores[chosen],
        prepared.read(indices),
    )


def progression_figure(shown):
    """Draws a `Progression`, row by row (P1 figure 11)."""
    captions = [f"score {s:.2f}\ntrue grade {g}" for s, g in zip(shown.scores, shown.labels, strict=True)]
    return sheet_figure(list(zip(shown.pictures, captions, strict=True)), _PER_ROW)


def write_progression(output_dir, shown, thresholds=DEFAULT_THRESHOLDS):
    """Writes `progression.png`, and `progression.csv`: position from 1, image, true grade, score, grade."""
    output_dir = Path(output_dir)
    grades = score_to_grade(shown.scores, thresholds).astype(int)
    rows = zip(shown.images, shown.labels, shown.scores, grades, strict=True)
    style.write_png(output_dir / "progression.png", progression_figure(shown))
    with files.csv_rows(output_dir / "progression.csv", COLUMNS) as write:
        for position, row in enumerate(rows, start=1):
            write([position, *row])
