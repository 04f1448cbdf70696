import numpy as np
import pytest
from sklearn.metrics import cohen_kappa_score, confusion_matrix

from dr_keras.errors import InputError
from dr_keras.evaluation.crossfit import EvaluationSet
from dr_keras.evaluation.model_comparison import classifier_figures, compare
from dr_keras.grades import DEFAULT_THRESHOLDS, score_to_grade

MOVED = (0.3, 1.0, 1.8, 2.6)


def random_scored(noise, seed, n=80):
    rng = np.random.default_rng(seed)
    labels = np.arange(n) % 5
    names = np.array([f"{number}.png" for number in range(n)])
    return EvaluationSet(names, names, labels, labels + rng.normal(0, noise, n))


def subset(scored, rows):
    return EvaluationSet(scored.images[rows], scored.patients[rows], scored.labels[rows], scored.scores[rows])


def test_both_on_the_photographs_they_share():
    first, other = random_scored(0.3, 0), random_scored(1.5, 1)
    shared = np.arange(20, 60)
    result = compare(
        subset(first, np.arange(60)), DEFAULT_THRESHOLDS, subset(other, np.arange(20, 80)[::-1]), MOVED, "b"
    )
    assert (result["model"], result["n"]) == ("b", 40)
    kappa = result["quadratic_weighted_kappa"]
    mine, theirs = (
        cohen_kappa_score(
            first.labels[shared], score_to_grade(each.scores[shared], cuts), weights="quadratic"
        )
        for each, cuts in ((first, DEFAULT_THRESHOLDS), (other, MOVED))
    )
    assert kappa["this"] == pytest.approx(mine)
    assert kappa["other"] == pytest.approx(theirs)
    assert kappa["difference"]["value"] == pytest.approx(mine - theirs)
    assert 0 < kappa["difference"]["low"] < kappa["difference"]["value"] < kappa["difference"]["high"]
    assert set(result) == {"model", "n", "quadratic_weighted_kappa", "accuracy", "referable_auc"}


def test_a_model_does_not_differ_from_itself():
    scored = random_scored(0.5, 0)
    result = compare(scored, DEFAULT_THRESHOLDS, scored, DEFAULT_THRESHOLDS, "same")
    assert result["referable_auc"]["difference"] == {"value": 0, "low": 0, "high": 0}


def test_nothing_in_common():
    scored = random_scored(0.5, 0)
    with pytest.raises(InputError, match="--model=b: none of its photographs is among the 40 of the first"):
        compare(subset(scored, slice(40)), MOVED, subset(scored, slice(40, 80)), MOVED, "b")


def test_a_classifier_is_judged_by_the_labels_of_the_report():
    scored = random_scored(0.3, 0)
    grades = (scored.labels + (np.arange(80) % 3 == 0)).clip(0, 4).astype("float64")
    table = {"image": scored.images[::-1], "grade": grades[::-1], "label": np.zeros(80)}
    figures = classifier_figures("c.csv", table, subset(scored, slice(50)))
    assert figures["n"] == 50
    assert figures["confusion_matrix"] == confusion_matrix(scored.labels[:50], grades[:50]).tolist()
    assert figures["accuracy"]["value"] == pytest.approx(np.mean(scored.labels[:50] == grades[:50]))
    with pytest.raises(InputError, match="--classifier=c.csv: none of the photographs of this report"):
        classifier_figures("c.csv", {**table, "image": np.array(["other"] * 80)}, scored)
