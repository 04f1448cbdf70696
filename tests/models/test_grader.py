import zipfile

import keras
import numpy as np
import pytest

from dr_keras.errors import InputError
from dr_keras.models.architectures import ARCHITECTURES
from dr_keras.models.grader_model import build_grader, load_model, network_of
from dr_keras.models.nets import net4, net5, ram_net5
from dr_keras.training.hosts.devices import precision_scope

MEAN, SD = (90.0, 61.5, 33.0), (70.0, 52.0, 31.0)


def images_of(size, count=2):
    return np.random.default_rng(0).integers(0, 256, (count, size, size, 3), dtype=np.uint8)


def test_grader_is_window_standardisation_network():
    network = net5(128, width=0.1)
    grader = build_grader(network, 128, MEAN, SD)
    assert grader.input_shape == (None, 128, 128, 3) and grader.output_shape == (None, 1)
    assert grader.name == "grader" and network_of(grader) is network
    images = images_of(128)
    windows = (images[:, 8:120, 8:120].astype("float32") - MEAN) / SD
    np.testing.assert_allclose(
        np.asarray(grader(images)), np.asarray(network(windows.astype("float32"))), atol=1e-5
    )
    assert grader.count_params() == network.count_params()


def test_what_lies_outside_the_window_does_not_count():
    grader = build_grader(net4(128, width=0.1), 128, MEAN, SD)
    images = images_of(128, 1)
    framed = np.zeros_like(images)
    framed[:, 8:120, 8:120] = images[:, 8:120, 8:120]
    np.testing.assert_array_equal(np.asarray(grader(images)), np.asarray(grader(framed)))


@pytest.mark.parametrize("policy", ["float32", "mixed_bfloat16"])
@pytest.mark.parametrize(
    "build",
    [
        lambda: net4(128, head="dense", untied_biases=False, width=0.1, seed=7, name="own_name"),
        lambda: net5(128, width=0.1, seed=2),
        lambda: ram_net5(128, width=0.05),
    ],
    ids=["net4_dense_tied", "net5", "ram_net5"],
)
def test_save_and_load(build, policy, tmp_path):
    with precision_scope(policy):
        grader = build_grader(build(), 128, MEAN, SD)
    for variable in grader.trainable_variables:
        variable.assign(variable + 0.01)
    grader.save(tmp_path / "model.keras")
    again = load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(np.asarray(again(images_of(128))), np.asarray(grader(images_of(128))))
    assert network_of(again).name == network_of(grader).name
    assert again.get_layer("standardize").mean == MEAN and again.get_layer("standardize").sd == SD
    assert again.get_layer("standardize").compute_dtype == grader.get_layer("standardize").compute_dtype
    assert again.output.dtype == "float32"


def test_architectures_are_builders_by_their_name():
    assert {"net5", "net4", "ram_net5"} <= set(ARCHITECTURES)
    for name in ("net5", "net4", "ram_net5"):
        assert ARCHITECTURES[name].build(128, width=0.05).name == name


# Files that aren't graders


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    path = tmp_path_factory.mktemp("grader") / "model.keras"
    build_grader(net5(128, width=0.05), 128, MEAN, SD).save(path)
    return path.read_bytes()


def flip_middle(data):
    damaged = bytearray(data)
    for index in range(len(damaged) // 3, len(damaged) // 3 + 64):
        damaged[index] ^= 255
    return bytes(damaged)


@pytest.mark.parametrize(
    "damage", [lambda data: b"", lambda data: b"hello", lambda data: data[: len(data) // 2], flip_middle],
    ids=["empty", "text", "truncated", "damaged"],
)  # fmt: skip
def test_damaged_model_files(saved, damage, tmp_path):
    path = tmp_path / "model.keras"
    path.write_bytes(damage(saved))
    with pytest.raises(InputError, match="not a model saved by this project") as caught:
        load_model(path)
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)


def test_other_files(tmp_path):
    with zipfile.ZipFile(tmp_path / "other.keras", "w") as archive:
        archive.writestr("hello.txt", "hello")
    (tmp_path / "weights.h5").write_bytes(b"no")
    for name in ("other.keras", "weights.h5", "missing.keras", "."):
        with pytest.raises(InputError, match="not a model saved by this project"):
            load_model(tmp_path / name)


def test_a_model_that_is_no_grader(tmp_path):
    keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)], name="other").save(tmp_path / "other.keras")
    with pytest.raises(
        InputError, match="expected a grader saved by scripts/train.py, found a model named 'other'"
    ):
        load_model(tmp_path / "other.keras")
