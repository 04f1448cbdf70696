"""Two models on the same photographs: the difference of a figure, and how sure it is."""

from dr_keras.evaluation.bootstrap import bootstrap_interval


def paired_difference(
    statistic, labels, first, second, groups=None, num_resamples=2000, seed=0, confidence=0.95
):
    """Difference of a statistic between two models, with its bootstrap interval over patients.

    Both models are judged on the same redrawn patients, so what makes a draw hard for both cancels out; the
    interval is narrower than the two models' own ones suggest.

    Args:
        statistic: function of (labels, predictions) that returns a float, such as
            `quadratic_weighted_kappa` or `referable_auc`.
        labels: array (n,) of true grades.
        first, second: arrays (n,) of the models' predictions, of the kind that `statistic` takes.
        groups: array (n,) of patient identifiers; None redraws photographs.
        num_resamples, seed, confidence: as for `bootstrap_interval`.

    Returns:
        `{"value", "low", "high"}` of statistic(labels, first) - statistic(labels, second).

    Raises:
        ValueError: as `bootstrap_interval`.
    """

    def difference(truth, one, other):
        return statistic(truth, one) - statistic(truth, other)

    return bootstrap_interval(
        difference,
        labels,
        first,
        second,
        groups=groups,
        num_resamples=num_resamples,
        seed=seed,
        confidence=confidence,
    )
