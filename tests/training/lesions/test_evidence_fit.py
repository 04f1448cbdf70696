"""The score behind a lesion network: more evidence never lowers it, and it says what the evidence says."""

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from dr_keras.training.frozen.ordinal import expected_grades
from dr_keras.training.lesions.evidence_fit import fit_evidence, unseen_logits

ALL = np.ones((3, 4), bool)


@pytest.fixture(scope="module")
def eyes():
    """Evidence (400, 3) that rises with the grade, not at all, and falls with it; and the grades."""
    rng = np.random.default_rng(0)
    grades = rng.integers(0, 5, 400)
    return rng.normal(size=(400, 3)) + np.outer(grades, [1.0, 0.0, -1.0]), grades


def test_where_no_bound_matters_it_is_a_logistic_regression(eyes):
    features, grades = eyes[0][:, :1], eyes[1]
    kernel, bias = fit_evidence(features, grades, np.ones(400), ALL[:1])
    deviation = features.std()
    for step in range(4):
        expected = LogisticRegression(C=1, tol=1e-8).fit(features / deviation, grades > step)
        assert kernel[0, step] == pytest.approx(expected.coef_[0, 0] / deviation, rel=1e-3)
        assert bias[step] == pytest.approx(expected.intercept_[0], rel=1e-2, abs=1e-2)


def test_no_weight_is_negative_and_only_those_asked_for_count(eyes):
    kernel, _ = fit_evidence(*eyes, np.ones(400), np.array([[1, 1, 0, 1], [1, 1, 1, 1], [1, 1, 1, 1]], bool))
    assert (kernel >= 0).all() and not kernel[2].any() and not kernel[0, 2]
    assert (kernel[0, [0, 1, 3]] > 0.3).all()


def test_photographs_that_weigh_nothing_change_nothing(eyes):
    features, grades = eyes
    weights = np.repeat([1.0, 0.0], 200)
    wrong = np.where(weights > 0, grades, 4 - grades)
    ours, alone = fit_evidence(features, wrong, weights, ALL), fit_evidence(
        features[:200], grades[:200], weights[:200], ALL
    )
    scores = [expected_grades(features @ kernel + bias) for kernel, bias in (ours, alone)]
    assert np.abs(scores[0] - scores[1]).max() < 0.1  # features are scaled by the deviation of all


def test_a_grade_that_none_has_is_unlikely_rather_than_impossible():
    features = np.random.default_rng(0).random((50, 1))
    kernel, bias = fit_evidence(features, np.zeros(50, int), np.ones(50), ALL[:1])
    np.testing.assert_allclose(1 / (1 + np.exp(-bias)), 1 / 102)
    assert np.abs(kernel).max() < 1e-3


def test_unseen_photographs_are_left_out_with_their_group(eyes):
    """Features that name the group tell nothing of a group that was left out."""
    rng = np.random.default_rng(0)
    groups = np.repeat(np.arange(20), 2)
    grades = rng.integers(0, 5, 20)[groups]
    features, counts = np.eye(20)[groups], np.ones((20, 4), bool)
    logits = unseen_logits(features, grades, np.ones(40), counts, groups)
    known = features @ fit_evidence(features, grades, np.ones(40), counts)[0]
    assert np.corrcoef(expected_grades(known), grades)[0, 1] > 0.8
    assert np.corrcoef(expected_grades(logits), grades)[0, 1] < 0.3
    assert unseen_logits(features, grades, np.ones(40), counts, np.zeros(40, int)) is None
