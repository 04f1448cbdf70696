import numpy as np

from dr_keras.training.config import TrainingConfig
from dr_keras.training.schedules import learning_rate


def rates(at, **arguments):
    config = TrainingConfig(**arguments)
    return [learning_rate(config, epoch) for epoch in at]


def test_recipe_drops_twice_by_ten():
    np.testing.assert_allclose(rates([0, 149, 150, 219, 220, 249]), [3e-3, 3e-3, 3e-4, 3e-4, 3e-5, 3e-5])


def test_drops_may_come_in_any_order_and_number():
    np.testing.assert_allclose(
        rates([0, 1, 2], learning_rate=1.0, learning_rate_drops=(2, 1)), [1, 0.1, 0.01]
    )
    np.testing.assert_allclose(rates([0, 9], learning_rate=1.0, learning_rate_drops=()), [1, 1])


def test_cosine_by_hand():
    found = rates([0, 2, 4, 6, 7], schedule="cosine", learning_rate=2.0, epochs=8, learning_rate_drops=(1,))
    np.testing.assert_allclose(found, [2, 1 + np.sqrt(0.5), 1, 1 - np.sqrt(0.5), 1 + np.cos(np.pi * 7 / 8)])


def test_defaults_are_the_papers():
    config = TrainingConfig()
    assert (config.epochs, config.batch_size, config.momentum, config.l2) == (250, 32, 0.9, 0.0005)
    assert (config.optimizer, config.loss, config.thresholds) == ("sgd", "mse", (0.5, 1.5, 2.5, 3.5))
    assert (config.sampling.resample, config.sampling.decay) == (True, 0.975)
    assert config.sampling.final_weights == (1, 2, 2, 2, 2)
    assert config.augmentation_config.color_sigma == 0.5
