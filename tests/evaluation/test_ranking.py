import numpy as np
import pytest
from sklearn.metrics import average_precision_score, roc_auc_score

from dr_keras.evaluation.ranking import average_precision, roc_auc


@pytest.mark.parametrize("decimals", [8, 0])  # 0: many ties
def test_equal_scikit_learn(decimals):
    rng = np.random.default_rng(0)
    outcomes = rng.random(150) < 0.3
    scores = np.round(rng.normal(size=150) + outcomes, decimals)
    assert roc_auc(outcomes, scores) == pytest.approx(roc_auc_score(outcomes, scores), abs=1e-12)
    assert average_precision(outcomes, scores) == pytest.approx(
        average_precision_score(outcomes, scores), abs=1e-12
    )


def test_by_hand():
    # Down the scores: condition, none, condition. Of two pairs one is ranked rightly; precisions 1 and 2/3.
    assert roc_auc([True, True, False], [3.0, 1.0, 2.0]) == 0.5
    assert average_precision([True, True, False], [3.0, 1.0, 2.0]) == pytest.approx((1 + 2 / 3) / 2)


@pytest.mark.parametrize("figure", [roc_auc, average_precision])
def test_nan_score_gives_nan(figure):
    assert np.isnan(figure([True, False], [0.5, np.nan]))


def test_one_side_is_a_warning_and_nan():
    for outcomes in ([True, True], [False, False]):
        with pytest.warns(RuntimeWarning, match="ROC curve is undefined"):
            assert np.isnan(roc_auc(outcomes, [0.1, 0.2]))
    with pytest.warns(RuntimeWarning, match="average precision is undefined"):
        assert np.isnan(average_precision([False, False], [0.1, 0.2]))
    assert average_precision([True, True], [0.1, 0.2]) == 1
