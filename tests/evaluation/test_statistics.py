import functools
import json
import warnings

import numpy as np
import pytest
from sklearn.metrics import (
    average_precision_score,
    cohen_kappa_score,
    precision_score,
    recall_score,
    roc_auc_score,
)

from dr_keras import files
from dr_keras.evaluation import statistics
from dr_keras.evaluation.crossfit import EvaluationSet
from dr_keras.evaluation.referral import apply_operating_point, choose_operating_points, proportion
from dr_keras.evaluation.statistics import nearness
from dr_keras.evaluation.thresholds import kappa_optimal
from dr_keras.grades import DEFAULT_THRESHOLDS, grade_probabilities, score_to_grade
from dr_keras.models.rules import GradingRules

describe = functools.partial(statistics.describe, num_resamples=200)
INTERVALS = ("precision", "recall", "auc", "signed_error")


def random_photographs(seed, n=150, prefix="p", shrink=0.6):
    rng = np.random.default_rng(seed)
    labels = np.arange(n) % 5
    scores = shrink * labels + 0.4 + rng.normal(0, 0.6, n)
    images, patients = ([f"{prefix}{i // eyes}" for i in range(n)] for eyes in (1, 2))
    return EvaluationSet(images, patients, labels, scores)


@pytest.fixture(scope="module")
def photographs():
    return random_photographs(0)


@pytest.fixture(scope="module")
def description(photographs):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return describe(photographs)


def leaves(value):
    if isinstance(value, dict):
        return [leaf for item in value.values() for leaf in leaves(item)]
    return [leaf for item in value for leaf in leaves(item)] if isinstance(value, list) else [value]


def test_figures_by_grade_equal_scikit_learn(photographs, description):
    labels, grades = photographs.labels, score_to_grade(photographs.scores)
    precision = precision_score(labels, grades, average=None)
    recall = recall_score(labels, grades, average=None)
    for grade, row in enumerate(description["grades"]):
        assert (row["grade"], row["n"], row["num_predicted"]) == (grade, 30, np.sum(grades == grade))
        assert row["precision"]["value"] == pytest.approx(precision[grade])
        right = np.sum((labels == grade) & (grades == grade))
        assert row["recall"] == proportion(right, 30)
        assert row["recall"]["value"] == pytest.approx(recall[grade])
        auc = roc_auc_score(labels == grade, nearness(photographs.scores, grade))
        assert row["auc"]["value"] == pytest.approx(auc)
        error = np.mean(photographs.scores[labels == grade]) - grade
        assert row["signed_error"]["value"] == pytest.approx(error)
        for name in INTERVALS:
            assert row[name]["low"] < row[name]["value"]
            assert row[name]["high"] > row[name]["value"] or row[name]["value"] == 1
    assert description["grades"][4]["name"] == "proliferative DR"


def test_nearness():
    scores = [-0.5, 1.0, 2.5, 4.5]
    np.testing.assert_array_equal(nearness(scores, 0), [0.5, -1.0, -2.5, -4.5])
    np.testing.assert_array_equal(nearness(scores, 2), [-2.5, -1.0, -0.5, -2.5])
    np.testing.assert_array_equal(nearness(scores, 4), scores)


def test_referable_figures_equal_scikit_learn(photographs, description):
    referable, figures = photographs.labels >= 2, description["referable"]
    assert (figures["n"], figures["prevalence"]) == (90, 0.6)
    assert figures["roc_auc"]["value"] == pytest.approx(roc_auc_score(referable, photographs.scores))
    average = average_precision_score(referable, photographs.scores)
    assert figures["average_precision"]["value"] == pytest.approx(average)


def test_threshold_schemes(photographs, description):
    schemes = description["threshold_schemes"]
    assert list(schemes) == ["fixed", "kappa_optimal", "range_separation"]
    fixed = cohen_kappa_score(photographs.labels, score_to_grade(photographs.scores), weights="quadratic")
    assert schemes["fixed"]["quadratic_weighted_kappa"]["value"] == pytest.approx(fixed)
    assert schemes["fixed"]["cuts"] == list(DEFAULT_THRESHOLDS)
    optimal = kappa_optimal(photographs.labels, photographs.scores)
    assert schemes["kappa_optimal"]["cuts"] == optimal.tolist()
    # Chosen without the photographs that they judge, the optimal cuts do worse than on their own.
    grades = score_to_grade(photographs.scores, optimal)
    own = cohen_kappa_score(photographs.labels, grades, weights="quadratic")
    assert fixed < schemes["kappa_optimal"]["quadratic_weighted_kappa"]["value"] < own
    for scheme in schemes.values():
        matrix = np.array(scheme["confusion_matrix"])
        assert matrix.sum() == 150
        assert scheme["accuracy"]["value"] == pytest.approx(np.trace(matrix) / 150)
        assert np.all(np.diff(scheme["cuts"]) > 0)


def test_choices_of_another_set_are_frozen(photographs):
    test = random_photographs(1, n=100, prefix="test ", shrink=0.8)
    description = describe(test, photographs)
    assert description["chosen_on"] == {"source": "run", "n": 150, "num_parts": 5, "cross_fitted": 0}
    cuts = choose_operating_points(photographs.labels, photographs.scores)
    for name, cut in cuts.items():
        point = description["referable"]["operating_points"][name]
        counted = apply_operating_point(test.labels, test.scores, cut, test.patients)
        target = {"high_sensitivity": 0.975, "high_specificity": 0.98}[name]
        assert point == {"target": target, "cut": cut, **counted}
    optimal = description["threshold_schemes"]["kappa_optimal"]
    grades = score_to_grade(test.scores, optimal["cuts"])
    kappa = cohen_kappa_score(test.labels, grades, weights="quadratic")
    assert optimal["quadratic_weighted_kappa"]["value"] == pytest.approx(kappa)


def test_described_photographs_are_cross_fitted(photographs, description):
    assert description["chosen_on"] == {"source": "evaluated", "n": 150, "num_parts": 5, "cross_fitted": 150}
    as_run = describe(photographs, photographs)
    assert as_run["chosen_on"]["source"] == "run"
    assert {**as_run, "chosen_on": 0} == {**description, "chosen_on": 0}
    assert describe(photographs, seed=1)["referable"] != description["referable"]


def test_calibration(photographs, description):
    figures = description["calibration"]
    assert figures["slope"] > 0
    assert 0 < figures["ece"]["value"] < 0.15
    assert sum(one["n"] for one in figures["bins"]) == 150
    errors = [one["n"] * abs(one["mean_probability"] - one["observed"]["value"])
              for one in figures["bins"] if one["n"]]  # fmt: skip
    assert figures["ece"]["value"] == pytest.approx(sum(errors) / 150)


def test_is_plain_json(description, tmp_path):
    assert {type(leaf) for leaf in leaves(description)} <= {int, float, str}
    files.write_json(tmp_path / "metrics.json", description)
    assert json.loads((tmp_path / "metrics.json").read_text())["referral"] == description["referral"]
    assert description["notes"] == []
    assert len(description["referral"]["kappas"]) == 20


def test_absent_grade_is_noted_not_counted():
    whole = random_photographs(2, n=100)
    keep = whole.labels != 1
    some = EvaluationSet(whole.images[keep], whole.patients[keep], whole.labels[keep], whole.scores[keep])
    with pytest.warns(RuntimeWarning) as caught:
        description = describe(some)
    row = description["grades"][1]
    assert row["n"] == 0
    assert np.isnan([row[name]["value"] for name in ("recall", "auc", "signed_error")]).all()
    assert row["precision"]["value"] == 0  # some were given it, all wrongly
    assert np.isnan(description["threshold_schemes"]["range_separation"]["accuracy"]["value"])
    assert description["threshold_schemes"]["kappa_optimal"]["accuracy"]["value"] > 0.3
    assert description["notes"] == [
        "recall, AUC and signed error of grade 1 are undefined: no photograph has it",
        "range separation needs two distinct scores of each grade: grade 1 hasn't",
    ]
    assert [str(one.message) for one in caught] == description["notes"]


def test_nan_score_is_nan_wherever_it_enters():
    whole = random_photographs(3, n=100)
    scores = whole.scores.copy()
    scores[2] = np.nan  # of grade 2
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # NaN is what was asked for
        description = describe(EvaluationSet(whole.images, whole.patients, whole.labels, scores))
    for row in description["grades"]:
        assert np.isnan([row[name]["value"] for name in ("precision", "recall", "auc")]).all()
    assert [np.isnan(row["signed_error"]["value"]) for row in description["grades"]] == [0, 0, 1, 0, 0]
    assert np.isnan(description["referable"]["roc_auc"]["value"])
    assert np.isnan(description["referable"]["operating_points"]["high_sensitivity"]["npv"]["value"])
    assert np.isnan(description["calibration"]["ece"]["value"])
    for scheme in description["threshold_schemes"].values():
        assert np.isnan(scheme["quadratic_weighted_kappa"]["value"])
    assert np.isnan(description["referral"]["kappas"]).all()


@pytest.mark.parametrize("labels", [[1], [1, 1, 1], [3, 3]])
def test_one_grade_only(labels):
    names = [str(i) for i in range(len(labels))]
    with pytest.warns(RuntimeWarning):
        description = describe(EvaluationSet(names, names, labels, np.linspace(1, 2, len(labels))))
    assert np.isnan(description["referable"]["roc_auc"]["value"])
    assert np.isnan(description["calibration"]["slope"])
    assert np.isnan(description["threshold_schemes"]["kappa_optimal"]["accuracy"]["value"])
    assert "operating points can't be chosen without both sides of grade 2" in description["notes"]
    assert len(description["notes"]) == len(set(description["notes"]))


def test_a_models_own_probabilities_are_judged_without_fitting():
    calibration = (2.0, 1.0, 3.0, 5.0, 7.0)
    rng, scores = np.random.default_rng(0), np.random.default_rng(1).uniform(0, 4, 4000)
    cumulative = grade_probabilities(scores, calibration).cumsum(axis=1)
    drawn = (rng.uniform(size=4000)[:, None] > cumulative).sum(axis=1)
    names = [str(number) for number in range(4000)]
    rules = GradingRules(calibration=calibration)
    true = statistics.own_probabilities(EvaluationSet(names, names, drawn, scores), rules, num_resamples=50)
    assert true["referable_ece"]["value"] < 0.02 and true["range_share"]["low"] > 0.8
    assert true["mean_probability"] == pytest.approx(true["prevalence"], abs=0.02)
    shifted = EvaluationSet(names, names, np.maximum(drawn - 1, 0), scores)
    false = statistics.own_probabilities(shifted, rules, num_resamples=50)
    assert false["referable_ece"]["low"] > 0.1 and false["range_share"]["high"] < 0.9
    assert false["mean_probability"] - false["prevalence"] > 0.1
    assert statistics.own_probabilities(shifted, GradingRules()) is None
