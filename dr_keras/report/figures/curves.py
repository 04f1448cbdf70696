"""Receiver operating characteristics, precision-recall and referral curves, reliability (P1 figure 8)."""

import numpy as np
from sklearn.metrics import precision_recall_curve, roc_curve

from dr_keras.evaluation.statistics import nearness
from dr_keras.grades import REFERABLE_GRADE
from dr_keras.report.figures import style
from dr_keras.report.wording import interval_text

OPERATING_POINTS = ("high_sensitivity", "high_specificity")


def point_name(key, target):
    """What an operating point is called: "97.5 % sensitivity"."""
    return f"{100 * target:g} % {key.split('_')[1]}"


_MARKERS = (("o", style.ORANGE), ("s", style.INK))


def grade_roc_figure(labels, scores, grades):
    """Draws the ROC curve of each grade against all others (P1 figure 8).

    Args:
        labels: int array (n,) of true grades.
        scores: array (n,) in grade units; NaN is left out.
        grades: of each grade its `{"auc": interval, "n"}`, as `statistics.describe` has them.
    """
    labels, scores = style.scored(labels, scores)
    figure, axes = style.new_figure(5.6)
    names = [
        f"{style.grade_label(g, own['n'])}: AUC {interval_text(own['auc'])}" for g, own in enumerate(grades)
    ]
    _draw_grade_rocs(axes, labels, [nearness(scores, grade) for grade in range(len(grades))], names)
    style.outside_legend(figure)
    return figure


def both_grade_rocs_figure(labels, scores, probabilities, rows):
    """Draws the ROC curves of each grade against all others, of regressor and classifier (P1 figure 8).

    Args:
        labels: int array (n,) of true grades.
        scores: array (n,) of the regressor, in grade units.
        probabilities: (n, 5) of the classifier.
        rows: as from `classifier.one_against_all`.
    """
    figure, axes = style.new_figure(6.2, 10.0, ncols=2)
    ranks = {"regressor": [nearness(scores, g) for g in range(len(rows))], "classifier": probabilities.T}
    for place, (name, own) in zip(axes, ranks.items(), strict=True):
        names = [f"{row['grade']}: AUC {interval_text(row[name])}, n = {row['n']}" for row in rows]
        _draw_grade_rocs(place, labels, own, names)
        place.set_title(name)
        place.legend(loc="upper center", bbox_to_anchor=(0.5, -0.13), fontsize=9, frameon=False)
    return figure


def _draw_grade_rocs(axes, labels, ranks, names):
    """A curve for each grade, by what photographs are ranked by."""
    axes.plot([0, 1], [0, 1], color=style.GUIDE, linewidth=1)
    for grade, (values, name) in enumerate(zip(ranks, names, strict=True)):
        x, y = _roc(labels == grade, values)
        look = {"color": style.GRADE_COLORS[grade], "linestyle": style.GRADE_LINES[grade]}
        axes.plot(x, y, linewidth=2, label=name, **look)
    style.unit_square(axes, "false alarms: share of the other grades", "found: share of the grade")


def referable_roc_figure(labels, scores, referable):
    """Draws the ROC curve of the score for referable disease with its operating points.

    Args:
        labels, scores: as for `grade_roc_figure`.
        referable: as from `statistics.describe`.
    """
    labels, scores = style.scored(labels, scores)
    figure, axes = style.new_figure(5.2)
    axes.plot([0, 1], [0, 1], color=style.GUIDE, linewidth=1.5, label="by chance")
    x, y = _roc(labels >= REFERABLE_GRADE, scores)
    axes.plot(x, y, color=style.BLUE, linewidth=2, label=f"AUC {interval_text(referable['roc_auc'])}")
    points = _points(referable, "specificity", "sensitivity")
    _mark(axes, [(name, 1 - specificity, sensitivity) for name, specificity, sensitivity in points])
    style.unit_square(axes, _alarms("1 − specificity", labels < REFERABLE_GRADE), _found(labels))
    style.outside_legend(figure)
    return figure


def precision_recall_figure(labels, scores, referable):
    """Draws the precision-recall curve for referable disease; arguments as for `referable_roc_figure`."""
    labels, scores = style.scored(labels, scores)
    outcomes = labels >= REFERABLE_GRADE
    figure, axes = style.new_figure(5.2)
    if outcomes.any():
        precision, recall, _ = precision_recall_curve(outcomes, scores)
        area = interval_text(referable["average_precision"])
        # A step at each score: between them no such pair of values can be had.
        axes.step(
            recall, precision, where="post", color=style.BLUE, linewidth=2, label=f"average precision {area}"
        )
        axes.axhline(outcomes.mean(), color=style.GUIDE, linewidth=1.5, label="by chance")
    _mark(axes, _points(referable, "sensitivity", "ppv"))
    style.unit_square(axes, _found(labels), "precision (positive predictive value)")
    style.outside_legend(figure)
    return figure


def reliability_figure(calibration):
    """Draws the share of referable eyes against the probability that the model gave them.

    Args:
        calibration: as from `statistics.describe`.
    """
    figure, (axes, counts) = style.new_figure(5.4, nrows=2, sharex=True, height_ratios=(4, 1))
    filled = [each for each in calibration["bins"] if each["n"]]
    axes.plot([0, 1], [0, 1], color=style.SOFT, linewidth=1, label="perfectly calibrated")
    if filled:
        observed = np.array(
            [[each["observed"][key] for key in ("value", "low", "high")] for each in filled]
        ).T
        axes.errorbar(
            [each["mean_probability"] for each in filled],
            observed[0],
            yerr=np.maximum([observed[0] - observed[1], observed[2] - observed[0]], 0),
            fmt="o-",
            color=style.BLUE,
            capsize=3,
            label=f"model: ECE {interval_text(calibration['ece'], 3)}",
        )
    bins = calibration["bins"]
    edges, heights = [each["from"] for each in bins], [each["n"] for each in bins]
    counts.bar(edges, heights, width=1 / len(bins), align="edge", color=style.BLUE, edgecolor="white")
    style.unit_square(axes, "", "observed share referable")
    counts.set(xlabel="probability that the eye is referable", ylabel="photographs")
    counts.set_title(f"n = {sum(heights)}", fontsize=10, loc="left")
    style.outside_legend(figure)
    return figure


def referral_figure(referral, n):
    """Draws kappa against the share of photographs that the model grades by itself.

    Args:
        referral: as from `statistics.describe`.
        n: number of photographs.
    """
    figure, axes = style.new_figure(3.8)
    kept = 100 * np.asarray(referral["kept_fractions"], float)
    axes.plot(kept, np.asarray(referral["kappas"], float), "o-", color=style.BLUE, markersize=4)
    axes.set(
        xlabel=f"graded by the model (% of {n} photographs)\nthose nearest to a threshold go to a doctor",
        ylabel="quadratic weighted kappa",
        xlim=(102, 0),
    )
    axes.grid(color=style.GUIDE, linewidth=0.5)
    return figure


def _roc(outcomes, scores):
    """False and true positive rates; empty where only one side is there."""
    if not outcomes.any() or outcomes.all():
        return [], []
    return roc_curve(outcomes, scores)[:2]


def _points(referable, x, y):
    """(name, x, y) of the operating points that are defined."""
    for key in OPERATING_POINTS:
        point = referable["operating_points"][key]
        values = [np.nan if point[figure]["value"] is None else point[figure]["value"] for figure in (x, y)]
        if not np.isnan(values).any():
            yield point_name(key, point["target"]), *values


def _mark(axes, points):
    for (marker, color), (name, x, y) in zip(_MARKERS, points):
        look = {"markersize": 9, "markeredgecolor": "white", "zorder": 3}
        axes.plot(x, y, marker, color=color, label=name, clip_on=False, **look)


def _alarms(name, others):
    return f"{name}: of {np.sum(others)} not referable"


def _found(labels):
    return f"sensitivity: of {np.sum(labels >= REFERABLE_GRADE)} referable"
