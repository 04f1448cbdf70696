"""Trains on one CPU device and on two, as `test_replicas.py` runs it: prints the differences as JSON.

The two are stopped in mid-epoch besides, and go on.

It needs a process of its own, since the number of devices is fixed when TensorFlow starts.
"""

import contextlib
import dataclasses
import json
import sys
from pathlib import Path

import numpy as np
import tensorflow as tf
from prepared_folders import noise_images, write_prepared

from dr_keras.errors import InputError
from dr_keras.models.grader_model import load_model
from dr_keras.training.config import TrainingConfig
from dr_keras.training.fit import Fit
from dr_keras.training.hosts import devices
from dr_keras.training.protocol import FitTask, Hooks, Interrupted

# Two epochs of three steps.
SGD = TrainingConfig(
    image_size=128, width=0.1, epochs=2, batch_size=8, learning_rate=0.003, clip_norm=0.5, loss="mse", seed=2
)
CONFIGS = {
    "sgd": SGD,
    "adam": dataclasses.replace(SGD, optimizer="adam", learning_rate=0.0003, loss="huber"),
}


def main(folder, config):
    cpu = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
    one, two = devices.choose_strategy("default"), devices.choose_strategy("mirrored")
    prepared = write_prepared(folder / "prepared", noise_images(32, 128), (list(range(5)) * 7)[:32])

    def fit(strategy, name, **hooks):
        hooks = Hooks(say=lambda line: None, **hooks)
        parts = np.arange(24), np.arange(24, 32)
        return Fit(FitTask(config, prepared, *parts, folder / name, strategy, hooks=hooks))

    steps = iter(range(1, 99))
    with contextlib.suppress(Interrupted):
        fit(two, "two", should_stop=lambda: next(steps) == 4).run()
    single, double = fit(one, "one"), fit(two, "two")
    start, double_start = weights_of(single), [double.progress["epoch"], double.progress["step"]]
    histories = single.run().history, double.run().history
    saved = load_model(double.run_dir / "last.keras").get_weights()
    result = {
        "replicas": [one.num_replicas_in_sync, two.num_replicas_in_sync],
        "moved": difference(weights_of(single), start),
        "weights": difference(weights_of(single), weights_of(double)),
        "history": difference(*map(figures, histories)),
        "saved": difference(saved, weights_of(double)),
        "started at": double_start,
    }
    try:
        devices.check_batch_size(7, two)
    except InputError as error:
        result["odd batch"] = str(error)
    print(json.dumps(result))


def weights_of(fit):
    return fit.trainer.grader.get_weights()


def figures(history):
    return [np.array([value for key, value in row.items() if key != "images_per_second"]) for row in history]


def difference(first, second):
    """Largest absolute difference between two lists of arrays."""
    return float(max(np.abs(a - b).max() for a, b in zip(first, second, strict=True)))


if __name__ == "__main__":
    main(Path(sys.argv[1]), CONFIGS[sys.argv[2]])
