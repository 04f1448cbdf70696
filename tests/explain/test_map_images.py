"""Maps in TensorBoard."""

import numpy as np
import pytest
import tensorflow as tf
from prepared_folders import noise_images, write_prepared

from dr_keras.errors import InputError
from dr_keras.explain.map_images import MapImages, one_of_each
from dr_keras.models.grader_model import build_grader, network_of
from dr_keras.models.nets import net5
from dr_keras.training.config import TrainingConfig
from dr_keras.training.fit import Fit
from dr_keras.training.protocol import FitTask, Hooks


def logged(folder):
    """{tag: {step: list of uint8 pictures}} of a log."""
    (path,) = folder.iterdir()
    found = {}
    for event in tf.compat.v1.train.summary_iterator(str(path)):
        for value in event.summary.value:
            _, _, *pictures = tf.make_ndarray(value.tensor)
            found.setdefault(value.tag, {})[event.step] = [
                tf.io.decode_png(picture).numpy() for picture in pictures
            ]
    return found


def run(callback, grader, epochs):
    callback.set_model(grader)
    callback.on_train_begin()
    for epoch in range(epochs):
        callback.on_epoch_end(epoch)
    callback.on_train_end()


def test_photographs_first_then_their_maps(tmp_path, blurring):
    images = np.full((2, 128, 128, 3), 110, np.uint8)
    grader = blurring(net5(128, width=0.05), 128)
    run(MapImages(images, tmp_path, every=2, limit=1000.0), grader, 4)
    found = logged(tmp_path)
    assert sorted(found) == ["maps", "photographs"]
    np.testing.assert_array_equal(found["photographs"][0], images)
    assert sorted(found["maps"]) == [0, 2, 3]  # every second, and the last
    first = found["maps"][0][0].astype(int)
    assert first.shape == (128, 128, 3)
    assert first[64, 64, 0] > first[64, 64, 2]  # brightness raises this network's score
    np.testing.assert_array_equal(first[64, 3], (110, 110, 110))  # the network doesn't see the margin


def test_maps_follow_the_weights(tmp_path, blurring):
    grader = blurring(net5(128, width=0.05), 128)
    callback = MapImages(np.full((1, 128, 128, 3), 110, np.uint8), tmp_path, limit=1000.0)
    callback.set_model(grader)
    callback.on_train_begin()
    callback.on_epoch_end(0)
    score = network_of(grader).get_layer("score")
    score.kernel.assign(-score.kernel)
    callback.on_epoch_end(1)
    callback.on_train_end()
    before, after = (logged(tmp_path)["maps"][step][0].astype(int)[64, 64] for step in (0, 1))
    assert before[0] > before[2] and after[0] < after[2]


def test_a_model_without_pooling_is_refused(tmp_path):
    grader = build_grader(net5(256, head="dense", width=0.05), 256, (0, 0, 0), (1, 1, 1))
    with pytest.raises(InputError, match="doesn't end in global average pooling"):
        run(MapImages(np.zeros((1, 256, 256, 3), np.uint8), tmp_path), grader, 1)
    with pytest.raises(ValueError, match="`every` must be at least 1. Received: every=0"):
        MapImages(np.zeros((1, 128, 128, 3), np.uint8), tmp_path, every=0)


def test_a_training_shows_validation_photographs_of_each_grade(tmp_path):
    images = noise_images(24, 128)
    prepared = write_prepared(tmp_path / "prepared", images, (list(range(5)) * 5)[:24])
    config = TrainingConfig(image_size=128, width=0.05, epochs=1, batch_size=8, learning_rate_drops=(1,))
    hooks = Hooks(callbacks=lambda fit: [MapImages.of_fit(fit)], say=lambda line: None)
    Fit(FitTask(config, prepared, np.arange(12), np.arange(12, 24), tmp_path / "run", hooks=hooks)).run()
    found = logged(tmp_path / "run/tensorboard/maps")
    np.testing.assert_array_equal(found["photographs"][0], images[[14, 13, 12, 16, 15, 19, 18, 17]])
    assert len(found["maps"][0]) == 8


def test_grades_take_turns():
    labels = [0, 0, 0, 0, 4, 2, 0, 4]
    assert one_of_each(labels, np.arange(10, 18), 5).tolist() == [14, 15, 10, 17, 11]
    assert one_of_each(labels, np.arange(8), 20).tolist() == [4, 5, 0, 7, 1, 2, 3, 6]
