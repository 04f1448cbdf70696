import numpy as np
import pytest

from dr_keras.data.sampling import DECAY, FINAL_WEIGHTS, SamplingConfig, class_weights, epoch_weights

GRADES = np.repeat([0, 1, 2, 3, 4], [50, 20, 15, 10, 5])


def sampling_probabilities(grades, epoch):
    weights = class_weights(grades, epoch)[grades]
    return weights / weights.sum()


def share_of_classes(grades, probabilities):
    return [probabilities[grades == grade].sum() for grade in range(5)]


def test_recipe():
    assert DECAY == 0.975
    assert FINAL_WEIGHTS == (1, 2, 2, 2, 2)


def test_classes_are_equally_likely_at_first():
    np.testing.assert_allclose(class_weights(GRADES, 0), [2, 5, 100 / 15, 10, 20])
    probabilities = sampling_probabilities(GRADES, 0)
    assert probabilities.shape == (100,)
    np.testing.assert_allclose(probabilities.sum(), 1)
    np.testing.assert_allclose(share_of_classes(GRADES, probabilities), [0.2] * 5)


def test_decay_by_hand():
    # 0.975 of the balanced weights and 0.025 of (1, 2, 2, 2, 2)
    expected = [
        0.975 * 2 + 0.025,
        0.975 * 5 + 0.05,
        0.975 * 100 / 15 + 0.05,
        0.975 * 10 + 0.05,
        0.975 * 20 + 0.05,
    ]
    np.testing.assert_allclose(class_weights(GRADES, 1), expected)
    np.testing.assert_allclose(
        class_weights(GRADES, 3, decay=0.5, final_weights=(1, 1, 1, 1, 1))[4], 20 / 8 + 7 / 8
    )


def test_limit_is_the_final_weights():
    np.testing.assert_allclose(class_weights(GRADES, 2000), FINAL_WEIGHTS)
    shares = np.array([50, 40, 30, 20, 10]) / 150
    np.testing.assert_allclose(share_of_classes(GRADES, sampling_probabilities(GRADES, 2000)), shares)


def test_no_decay_stays_balanced():
    np.testing.assert_allclose(class_weights(GRADES, 77, decay=1.0), class_weights(GRADES, 0))
    np.testing.assert_allclose(class_weights(GRADES, 1, decay=0.0), FINAL_WEIGHTS)


@pytest.mark.parametrize("epoch", [0, 1, 300])
def test_absent_class_has_no_weight_and_no_share(epoch):
    grades = np.array([0, 0, 0, 2])
    weights = class_weights(grades, epoch)
    assert (weights[[1, 3, 4]] == 0).all() and (weights[[0, 2]] > 0).all()
    np.testing.assert_allclose(class_weights(grades, 0), [4 / 3, 0, 4, 0, 0])
    np.testing.assert_allclose(sampling_probabilities(grades, 0), [1 / 6, 1 / 6, 1 / 6, 1 / 2])


def test_photographs_of_a_class_share_evenly():
    probabilities = sampling_probabilities(GRADES, 12)
    for grade in range(5):
        assert len(set(probabilities[GRADES == grade])) == 1


def test_weights_of_an_epoch_follow_the_configuration():
    config = SamplingConfig(decay=0.5, final_weights=(1, 1, 1, 1, 1))
    expected = class_weights(GRADES, 3, 0.5, (1, 1, 1, 1, 1))
    np.testing.assert_allclose(epoch_weights(GRADES, 3, config), expected)
    np.testing.assert_array_equal(epoch_weights(GRADES, 3, SamplingConfig(resample=False)), np.ones(5))
