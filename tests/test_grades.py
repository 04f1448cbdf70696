import numpy as np
import pytest

from dr_keras import grades


def test_the_scale():
    assert grades.GRADE_NAMES[0] == "no DR"
    assert grades.GRADE_NAMES[4] == "proliferative DR"
    assert grades.NUM_GRADES == 5
    assert grades.REFERABLE_GRADE == 2


def test_scores_are_cut_into_grades():
    scores = [-1.0, 0.49, 0.5, 1.49, 1.5, 2.5, 3.49, 3.5, 6.01]
    np.testing.assert_array_equal(grades.score_to_grade(scores), [0, 0, 1, 1, 2, 3, 3, 4, 4])


def test_other_thresholds():
    np.testing.assert_array_equal(
        grades.score_to_grade([0.5, 1.0, 2.9, 3.0], (0.6, 1.0, 2.0, 3.0)), [0, 2, 3, 4]
    )


def test_thresholds_of_each_score():
    rows = [(0.5, 1.5, 2.5, 3.5), (1.5, 2.5, 3.5, 4.5), (np.nan,) * 4]
    np.testing.assert_array_equal(grades.score_to_grade([1.5, 1.5, 1.5], rows), [2, 1, np.nan])
    assert grades.score_to_grade(np.zeros((2, 3)), np.tile(rows[0], (2, 3, 1))).shape == (2, 3)


@pytest.mark.parametrize(
    "rows", [[(0.5, 1.5, 2.5, 3.5)] * 3, [(0, 1, 2, 3), (0, 2, 1, 3)], [(0, 1, 2, 3), (np.nan, 1, 2, 3)]]
)
def test_wrong_thresholds_of_each_score(rows):
    with pytest.raises(ValueError, match="`thresholds` must be 4 increasing numbers"):
        grades.score_to_grade([1.0, 2.0], rows)


def test_nan_stays_nan_and_infinity_is_cut():
    result = grades.score_to_grade([np.nan, np.inf, -np.inf])
    np.testing.assert_array_equal(result, [np.nan, 4, 0])


def test_shape_is_kept():
    assert grades.score_to_grade(np.zeros((2, 3), "float32")).shape == (2, 3)
    assert grades.score_to_grade(np.zeros((0,))).shape == (0,)
    assert float(grades.score_to_grade(2.2)) == 2


@pytest.mark.parametrize(
    "thresholds", [(0.5, 1.5, 2.5), (1.0, 1.0, 2.0, 3.0), (3, 2, 1, 0), (0.5, np.nan, 2, 3)]
)
def test_wrong_thresholds(thresholds):
    with pytest.raises(ValueError, match="`thresholds` must be 4 increasing numbers. Received: thresholds="):
        grades.score_to_grade([1.0], thresholds)
