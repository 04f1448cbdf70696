"""Where the scores of each grade lie (P1 figures 6b and 7), and how far from the truth."""

import numpy as np

from dr_keras.evaluation.thresholds import score_densities
from dr_keras.grades import NUM_GRADES
from dr_keras.report.figures import style
from dr_keras.report.wording import number

_SCORE = "score (grade units)"


def density_figure(labels, scores):
    """Draws the kernel density of the scores of each true grade, each of area 1 (P1 figure 6b).

    Args:
        labels: int array (n,) of true grades.
        scores: array (n,) in grade units; NaN is left out.
    """
    figure, axes = style.new_figure(4.6)
    _draw_densities(axes, *style.scored(labels, scores))
    axes.set_xlabel(_SCORE)
    style.outside_legend(figure, columns=2)
    return figure


def threshold_ranges_figure(labels, scores, cuts):
    """Draws the densities, and below them the range that each way of cutting gives each grade (P1 figure 7).

    Args:
        labels, scores: as for `density_figure`.
        cuts: dict of the way's name to its four cuts; NaN or None where they aren't defined.
    """
    labels, scores = style.scored(labels, scores)
    figure, (axes, ranges) = style.new_figure(5.4, nrows=2, sharex=True, height_ratios=(2.4, 1))
    _draw_densities(axes, labels, scores)
    low, high = axes.get_xlim()
    for row, own in enumerate(cuts.values()):
        edges = np.array([low, *np.asarray(own, "float64"), high])
        if np.isnan(edges).any():
            ranges.text((low + high) / 2, row, "not defined", ha="center", va="center", color=style.SOFT)
            continue
        edges = np.clip(edges, low, high)
        ranges.barh(
            [row] * NUM_GRADES,
            np.diff(edges),
            left=edges[:-1],
            color=style.GRADE_COLORS,
            height=0.75,
            edgecolor="white",
        )
        for grade in range(NUM_GRADES):
            if edges[grade + 1] - edges[grade] > 0.03 * (high - low):
                middle = edges[grade : grade + 2].mean()
                ranges.text(middle, row, grade, ha="center", va="center", color="white", weight="bold")
    ranges.set_yticks(range(len(cuts)), list(cuts))
    ranges.set(xlabel=_SCORE, ylim=(len(cuts) - 0.5, -0.5))
    ranges.tick_params(axis="y", length=0)
    style.outside_legend(figure, columns=2)
    return figure


def _draw_densities(axes, labels, scores):
    low, high = (scores.min() - 1, scores.max() + 1) if len(scores) else (0, NUM_GRADES - 1)
    at = np.linspace(low, high, 400)
    densities = score_densities(labels, scores, at)
    for grade in range(NUM_GRADES):
        color, own = style.GRADE_COLORS[grade], densities.get(grade)
        label = style.grade_label(grade, np.sum(labels == grade))
        if own is None or np.isnan(own).any():
            axes.plot([], [], color=color, linestyle=style.GRADE_LINES[grade], label=label)
            continue
        axes.plot(at, own, color=color, linestyle=style.GRADE_LINES[grade], linewidth=2, label=label)
        axes.fill_between(at, own, color=color, alpha=0.08, linewidth=0)
    axes.set(ylabel="density (per grade unit)", xlim=(low, high))
    axes.set_ylim(bottom=0)


def signed_error_figure(labels, scores):
    """Draws score minus truth for each true grade: photographs, quartiles, mean.

    Args:
        labels, scores: as for `density_figure`.
    """
    labels, scores = style.scored(labels, scores)
    errors = [(scores - labels)[labels == grade] for grade in range(NUM_GRADES)]
    figure, axes = style.new_figure(4.4)
    axes.axhline(0, color=style.SOFT, linewidth=1)
    rng = np.random.default_rng(0)
    for grade, own in enumerate(errors):
        color = style.GRADE_COLORS[grade]
        axes.plot(grade + rng.uniform(-0.3, 0.3, len(own)), own, ".", color=color, alpha=0.25, markersize=4)
        if not len(own):
            continue
        axes.boxplot(
            own,
            positions=[grade],
            widths=0.5,
            showfliers=False,
            medianprops={"color": color, "linewidth": 2},
            boxprops={"color": color},
            whiskerprops={"color": color},
            capprops={"color": color},
        )
        axes.plot(grade, own.mean(), "D", color=color, markeredgecolor="white", markersize=8)
    names = [f"{grade}\nn = {len(own)}\n{_mean_and_spread(own)}" for grade, own in enumerate(errors)]
    axes.set_xticks(range(NUM_GRADES), names, fontsize=9)
    axes.set(xlabel="true grade; below it mean ± SD", ylabel="score − true grade (grade units)")
    axes.set_xlim(-0.6, NUM_GRADES - 0.4)
    return figure


def _mean_and_spread(values):
    if len(values) < 2:
        return number(values[0] if len(values) else None, sign=True)
    return f"{number(values.mean(), sign=True)}\n± {values.std(ddof=1):.2f}"


def threshold_figure(names, kappas, n):
    """Draws the kappa that each way of choosing thresholds gives, with its interval.

    Args:
        names: names of the ways.
        kappas: for each `{"value", "low", "high"}`.
        n: number of photographs.
    """
    figure, axes = style.new_figure(0.9 + 0.5 * len(names))
    _draw_intervals(axes, names, kappas)
    axes.set(xlabel=f"quadratic weighted kappa\n95 % interval, n = {n}")
    return figure


def _draw_intervals(axes, names, intervals):
    """One row for each interval, the first on top; an undefined one says so."""
    for row, interval in enumerate(intervals):
        value, low, high = (np.nan if interval[k] is None else interval[k] for k in ("value", "low", "high"))
        if np.isnan(value):
            axes.text(
                0.5, row, "not defined", color=style.SOFT, va="center", transform=axes.get_yaxis_transform()
            )
            continue
        spread = None if np.isnan(low) else [[value - low], [high - value]]
        axes.errorbar(value, row, xerr=spread, fmt="o", color=style.BLUE, capsize=4, linewidth=2)
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.grid(axis="x", color=style.GUIDE, linewidth=0.5)
