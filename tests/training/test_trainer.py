"""The training step, against numbers worked out by hand on a network with four weights."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from dr_keras.data.augmentation import AugmentationConfig, FundusAugmentation
from dr_keras.models.grader_model import build_grader
from dr_keras.models.nets import net5
from dr_keras.training import trainer as trainer_module
from dr_keras.training.trainer import Trainer

MEAN, SD = np.array([100.0, 50.0, 25.0]), np.array([50.0, 40.0, 20.0])
STILL = AugmentationConfig(rotation=0.0, flip=False, shift=0.0, stretch=1.0, color_sigma=0.0)


def linear_network(weights, bias):
    """score = mean colour of the window @ weights + bias."""
    inputs = keras.Input((6, 6, 3))
    pooled = keras.layers.GlobalAveragePooling2D()(inputs)
    network = keras.Model(inputs, keras.layers.Dense(1, name="score")(pooled), name="linear")
    network.set_weights([np.array(weights, "float32")[:, None], np.array([bias], "float32")])
    return network


def linear_trainer(optimizer, loss="mse", l2=0.0, weights=(0.5, -0.25, 1.0), bias=0.1, clip_norm=0.0):
    network = linear_network(weights, bias)
    grader = build_grader(network, 8, MEAN, SD)
    augmentation = FundusAugmentation(8, 6, STILL)
    return Trainer(grader, augmentation, optimizer, loss, l2, tf.distribute.get_strategy(), clip_norm)


def batch_of(count=4, seed=0):
    rng = np.random.default_rng(seed)
    return {
        "image": tf.constant(rng.integers(0, 256, (count, 8, 8, 3), dtype=np.uint8)),
        "grade": tf.constant(rng.integers(0, 5, count).astype("float32")),
        "uniform": tf.constant(rng.random((count, 6)).astype("float32")),
        "normal": tf.constant(rng.normal(size=(count, 3)).astype("float32")),
    }


def features_of(batch):
    """What the linear network sees: mean standardised colour of the centre, float64 (count, 3)."""
    windows = batch["image"].numpy()[:, 1:7, 1:7].astype("float64")
    return ((windows - MEAN) / SD).mean(axis=(1, 2))


def errors_of(batch):
    """Score minus grade of the linear network as it starts, float64 (count,)."""
    return features_of(batch) @ [0.5, -0.25, 1.0] + 0.1 - batch["grade"].numpy()


def test_losses_by_hand():
    grades, scores = np.array([0.0, 4.0, 2.0]), np.array([0.5, 1.0, 2.0])
    values = {name: np.asarray(loss(grades, scores)) for name, loss in trainer_module.LOSSES.items()}
    np.testing.assert_allclose(values["mse"], [0.25, 9, 0])
    np.testing.assert_allclose(values["mae"], [0.5, 3, 0])
    np.testing.assert_allclose(values["huber"], [0.25, 5, 0])  # beyond one grade: 2 * 3 - 1
    np.testing.assert_allclose(values["euclidean"], values["mse"] / 32)  # a quarter of the grades, halved
    assert set(values) == {"mse", "mae", "huber", "euclidean"}


def test_huber_joins_smoothly_at_one_grade():
    near, at, far = (float(trainer_module.huber(0.0, keras.ops.array(x))) for x in (0.999, 1.0, 1.001))
    np.testing.assert_allclose([near, at, far], [0.998, 1, 1.002], atol=1e-5)


def test_two_steps_of_nesterov_momentum_by_hand():
    rate, momentum, l2 = 0.01, 0.9, 0.05
    trainer = linear_trainer(keras.optimizers.SGD(rate, momentum=momentum, nesterov=True), l2=l2)
    weights, bias = np.array([0.5, -0.25, 1.0]), 0.1
    velocity_w, velocity_b = np.zeros(3), 0.0
    for seed in (0, 1):
        batch = batch_of(seed=seed)
        x, y = features_of(batch), batch["grade"].numpy().astype("float64")
        error = x @ weights + bias - y
        loss, penalty = trainer.train_step(batch)
        np.testing.assert_allclose(float(loss), (error**2).mean(), rtol=1e-5)
        np.testing.assert_allclose(float(penalty), l2 * (weights**2).sum(), rtol=1e-5)
        gradient_w = 2 * (error[:, None] * x).mean(axis=0) + 2 * l2 * weights  # the bias carries no penalty
        gradient_b = 2 * error.mean()
        velocity_w = momentum * velocity_w - rate * gradient_w
        velocity_b = momentum * velocity_b - rate * gradient_b
        weights = weights + momentum * velocity_w - rate * gradient_w
        bias = bias + momentum * velocity_b - rate * gradient_b
        found_w, found_b = trainer.grader.get_weights()
        np.testing.assert_allclose(found_w[:, 0], weights, rtol=1e-5)
        np.testing.assert_allclose(found_b, [bias], rtol=1e-5)


def test_long_gradient_is_shortened_and_a_short_one_is_not():
    batch = batch_of()
    x, error = features_of(batch), errors_of(batch)
    gradient = np.append(2 * (error[:, None] * x).mean(axis=0), 2 * error.mean())
    norm = np.linalg.norm(gradient)
    for clip_norm, expected in ((norm / 4, gradient / 4), (2 * norm, gradient), (0.0, gradient)):
        trainer = linear_trainer(keras.optimizers.SGD(0.1, momentum=0.0), clip_norm=clip_norm)
        trainer.train_step(batch)
        weights, bias = trainer.grader.get_weights()
        moved = np.append(weights[:, 0] - [0.5, -0.25, 1.0], bias - 0.1)
        np.testing.assert_allclose(moved, -0.1 * expected, rtol=1e-4)


def test_first_step_of_adam_by_hand():
    trainer = linear_trainer(keras.optimizers.Adam(0.02), loss="mae")
    batch = batch_of()
    x, error = features_of(batch), errors_of(batch)
    loss, _ = trainer.train_step(batch)
    np.testing.assert_allclose(float(loss), np.abs(error).mean(), rtol=1e-5)
    gradient = (np.sign(error)[:, None] * x).mean(axis=0)
    # Adam's first step is the learning rate, against the sign of the gradient.
    np.testing.assert_allclose(
        trainer.grader.get_weights()[0][:, 0], [0.5, -0.25, 1.0] - 0.02 * np.sign(gradient), rtol=1e-4
    )


def test_penalty_is_the_sum_of_squared_kernels():
    network = net5(128, width=0.05)
    grader = build_grader(network, 128, MEAN, SD)
    augmentation = FundusAugmentation(128, 112, STILL)
    trainer = Trainer(
        grader, augmentation, keras.optimizers.SGD(0.0), "mse", 0.0005, tf.distribute.get_strategy()
    )
    kernels = [
        variable.numpy() for variable in network.trainable_variables if variable.path.endswith("kernel")
    ]
    assert len(kernels) == 9  # conv2, 3, 5, 6, 7, 9, 10, 11 and the output
    batch = {**batch_of(), "image": tf.zeros((4, 128, 128, 3), tf.uint8)}
    _, penalty = trainer.train_step(batch)
    np.testing.assert_allclose(
        float(penalty), 0.0005 * sum((kernel**2).sum() for kernel in kernels), rtol=1e-5
    )


def test_run_steps_counts_photographs():
    trainer = linear_trainer(keras.optimizers.SGD(0.0))
    iterator = iter([batch_of(4, seed) for seed in range(5)])
    results = list(trainer.run_steps(iterator, 3))
    assert [count for _, _, count in results] == [4, 4, 4]
    expected = [(errors_of(batch_of(4, seed)) ** 2).mean() for seed in range(3)]
    np.testing.assert_allclose([float(loss) for loss, _, _ in results], expected, rtol=1e-5)
    assert len(list(iterator)) == 2  # no batch was taken in vain


def test_the_step_is_compiled_once():
    trainer = linear_trainer(keras.optimizers.SGD(0.1))
    for seed in range(4):
        trainer.optimizer.learning_rate.assign(0.1 / (seed + 1))
        trainer.train_step(batch_of(seed=seed))
    assert trainer.train_step.experimental_get_tracing_count() == 1


def test_learning_rate_takes_effect_without_a_new_graph():
    trainer = linear_trainer(keras.optimizers.SGD(0.1, momentum=0.0))
    start = trainer.grader.get_weights()
    trainer.train_step(batch_of())
    moved = trainer.grader.get_weights()[0] - start[0]
    trainer.grader.set_weights(start)
    trainer.optimizer.learning_rate.assign(0.01)
    trainer.train_step(batch_of())
    np.testing.assert_allclose(trainer.grader.get_weights()[0] - start[0], moved / 10, rtol=1e-4)


def test_augmentation_is_on_in_training():
    network = linear_network((1.0, 0.0, 0.0), 0.0)
    grader = build_grader(network, 8, (0, 0, 0), (1, 1, 1))
    config = AugmentationConfig(rotation=0.0, flip=False, shift=0.0, stretch=1.0, color_sigma=2.0)
    augmentation = FundusAugmentation(8, 6, config, np.diag([10.0, 0.0, 0.0]))
    trainer = Trainer(
        grader, augmentation, keras.optimizers.SGD(0.0), "mse", 0.0, tf.distribute.get_strategy()
    )
    batch = batch_of()
    red = batch["image"].numpy()[:, 1:7, 1:7, 0].mean(axis=(1, 2)) + 20 * batch["normal"].numpy()[:, 0]
    loss, _ = trainer.train_step(batch)
    np.testing.assert_allclose(float(loss), ((red - batch["grade"].numpy()) ** 2).mean(), rtol=1e-5)


def test_unknown_loss():
    with pytest.raises(KeyError, match="log"):
        linear_trainer(keras.optimizers.SGD(), loss="log")
