"""Comparison of blends with the run that their features come from, on out-of-fold scores."""

import functools

import numpy as np

from dr_keras.evaluation import agreement, crossfit, model_comparison
from dr_keras.evaluation.bootstrap import bootstrap_interval
from dr_keras.evaluation.crossfit import EvaluationSet
from dr_keras.evaluation.thresholds import kappa_optimal
from dr_keras.grades import score_to_grade
from dr_keras.metrics import quadratic_weighted_kappa
from dr_keras.papers.blending.networks import fit_networks, fit_ridge, out_of_fold

_FIGURES = ("quadratic_weighted_kappa", "accuracy", "referable_auc")
RUN, BLEND, RIDGE = "run", "blend", "ridge"
ONE, BOTH = "one eye", "both eyes"


def score_blends(pooled, config, output_dir, progress=None, say=print):
    """Scores photographs with the runs themselves, with blends and with ridge regressions.

    Args:
        pooled: list of `PooledFeatures` of the same photographs and folds.
        config: `BlendConfig`.
        output_dir: folder for the networks of the last blend.
        progress: takes a description and returns the `progress` of `networks.out_of_fold`.
        say: called with a line of text if no patient has photographs of both eyes.

    Returns:
        Dict of (name, eyes) -> float64 (photographs,), NaN for photographs that are in no evaluation set. The
        run's score of "both eyes" is the mean of the two eyes' scores. If no patient has photographs of both
        eyes, there is only "one eye".
    """
    own = np.mean([each.scores for each in pooled], axis=0)
    rows = {(RUN, ONE): own}
    eyes = (ONE, BOTH) if pooled[0].has_pairs() else (ONE,)
    if BOTH not in eyes:
        say(f"{pooled[0].run}: no patient has a photograph of each eye; blends use the one eye")
    else:
        other = own[pooled[0].other_eyes()]
        rows[RUN, BOTH] = np.where(np.isnan(other), own, (own + other) / 2)
    for which in eyes:
        fits = {RIDGE: fit_ridge, BLEND: functools.partial(fit_networks, config=config)}
        for name, fit in fits.items():
            kept = output_dir if name == BLEND and which == eyes[-1] else None
            bar = progress(f"{name}, {which}") if progress else None
            rows[name, which] = out_of_fold(pooled, which == BOTH, fit, kept, bar)
    return rows


def as_scored(pooled, scores):
    """`EvaluationSet` of the judged photographs of `PooledFeatures`, the folds as parts."""
    judged = [judged for _, judged in pooled.divisions()]
    chosen = np.concatenate(judged)
    records = [pooled.records[index] for index in chosen]
    return EvaluationSet(
        images=[record.image for record in records],
        patients=[record.patient for record in records],
        labels=[record.grade for record in records],
        scores=scores[chosen],
        parts=np.repeat(np.arange(len(judged)), [len(part) for part in judged]) if len(judged) > 1 else None,
    )


def compare_blends(pooled, rows, thresholds, seed=0):
    """Figures of each row of `score_blends`, and how far it is from others.

    Args:
        pooled: `PooledFeatures`.
        rows: as from `score_blends`.
        thresholds: four increasing cuts.
        seed: seed of the bootstrap, which redraws patients.

    Returns:
        dict of "name, eyes" to a dict: `quadratic_weighted_kappa`, `accuracy` and `referable_auc` with their
        intervals; `cross_fitted_kappa`, the kappa by cuts with the highest one on the other folds; and
        `differences`: of the first three from the run's own score of one eye, and of a row of both eyes from
        the same with one, a dict of that row's name to the paired differences with intervals.
    """
    scored = {", ".join(row): as_scored(pooled, scores) for row, scores in rows.items()}
    figures = {}
    for name, one in scored.items():
        found = agreement.evaluate_predictions(one.labels, one.scores, thresholds, one.patients, seed)
        row = {figure: found[figure] for figure in _FIGURES}
        grades = score_to_grade(one.scores, crossfit.cross_fit(kappa_optimal, one, one))
        row["cross_fitted_kappa"] = bootstrap_interval(
            quadratic_weighted_kappa, one.labels, grades, groups=one.patients, seed=seed
        )
        row["differences"] = {}
        for other in dict.fromkeys([f"{RUN}, {ONE}", name.replace(BOTH, ONE)]):
            if other != name:
                compared = model_comparison.compare(one, thresholds, scored[other], thresholds, other, seed)
                row["differences"][other] = {figure: compared[figure]["difference"] for figure in _FIGURES}
        figures[name] = row
    return figures


def lines(figures):
    """Yields the results of `compare_blends` as lines of text: each row, then its differences from others."""

    def words(found, sign=""):
        return "{value:{sign}.3f} ({low:{sign}.3f} to {high:{sign}.3f})".format(sign=sign, **found)

    for name, row in figures.items():
        yield (
            f"{name}: kappa {words(row['quadratic_weighted_kappa'])}, by thresholds from the other folds "
            f"{words(row['cross_fitted_kappa'])}, referable AUC {words(row['referable_auc'])}"
        )
        for other, found in row["differences"].items():
            kappa, auc = words(found["quadratic_weighted_kappa"], "+"), words(found["referable_auc"], "+")
            yield f"    less {other}: kappa {kappa}, referable AUC {auc}"
