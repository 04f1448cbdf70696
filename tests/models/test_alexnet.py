import importlib.util
import pickle
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest

from dr_keras.errors import InputError
from dr_keras.models.alexnet_layers import ExpectedGrade, GroupedConv2D, LocalResponseNormalization
from dr_keras.models.alexnet_weights import load_trunk
from dr_keras.models.alexnets import (
    VARIANTS,
    alexnet,
    alexnet_torchvision,
    alexnet_trunk,
    caffenet,
    fold_batch_normalization,
)
from dr_keras.models.grader_model import build_grader, load_model

LAYERS = [f"{kind}{n}" for n in range(1, 6) for kind in ("conv", "lrn", "pool")]


def windows(network, count=2, seed=0, scale=60.0):
    return np.random.default_rng(seed).normal(0, scale, (count, *network.input_shape[1:])).astype("float32")


def randomise(network, seed=1):
    """Biases too, so that a bias that is left out is seen."""
    rng = np.random.default_rng(seed)
    for layer in network.layers:
        if layer.name.endswith("_kernel"):
            kernel, bias = layer.get_weights()
            layer.set_weights([kernel, rng.normal(0, 0.1, bias.shape)])


def outputs(trunk, x):
    """Outputs of the layers that have the papers' names."""
    named = [layer for layer in trunk.layers if layer.name in LAYERS]
    values = keras.Model(trunk.inputs, [layer.output for layer in named]).predict(x, verbose=0)
    return {layer.name: value for layer, value in zip(named, values, strict=True)}


# Krizhevsky 2012 as Caffe has it: a kernel of k padded by p at stride s gives (n + 2p - k) / s + 1.
@pytest.mark.parametrize(
    "variant, sizes",
    [
        ("caffe", {"conv1": (55, 96), "pool1": (27, 96), "conv2": (27, 256), "pool2": (13, 256),
                   "conv3": (13, 384), "conv4": (13, 384), "conv5": (13, 256), "pool5": (6, 256)}),
        ("torchvision", {"conv1": (55, 64), "pool1": (27, 64), "conv2": (27, 192), "pool2": (13, 192),
                         "conv3": (13, 384), "conv4": (13, 256), "conv5": (13, 256), "pool5": (6, 256)}),
    ],
)  # fmt: skip
def test_sizes_of_the_layers(variant, sizes):
    trunk = alexnet_trunk(variant)
    found = {name: tuple(trunk.get_layer(name).output.shape[1:]) for name in sizes}
    assert found == {name: (side, side, filters) for name, (side, filters) in sizes.items()}


def test_parameters_of_the_published_trunks():
    # Caffe: 11*11*3*96+96, 5*5*48*256+256, 3*3*256*384+384, 3*3*192*384+384, 3*3*192*256+256.
    assert alexnet_trunk("caffe").count_params() == 34_944 + 307_456 + 885_120 + 663_936 + 442_624
    assert alexnet_trunk("torchvision").count_params() == 23_296 + 307_392 + 663_936 + 884_992 + 590_080


@pytest.mark.parametrize("variant, order", [("caffe", ["lrn1", "pool1"]), ("caffenet", ["pool1", "lrn1"])])
def test_order_of_normalisation(variant, order):
    names = [layer.name for layer in alexnet_trunk(variant).layers if layer.name in LAYERS]
    assert names[:3] == ["conv1", *order]
    assert "lrn3" not in names and "lrn1" not in [layer.name for layer in alexnet_trunk("torchvision").layers]


@pytest.mark.parametrize("build", [alexnet, caffenet, alexnet_torchvision])
@pytest.mark.parametrize("head", ["regression", "classification"])
def test_head_has_two_layers(build, head):
    network = build(head=head, hidden=8)
    outputs_of_head = 1 if head == "regression" else 5
    shapes = [tuple(variable.shape) for variable in network.trainable_variables][10:]
    assert shapes == [(6 * 6 * 256, 8), (8,), (8, outputs_of_head), (outputs_of_head,)]
    assert network.name == build.__name__ and network.output_shape == (None, 1)


def test_regression_score_is_four_times_the_sigmoid():
    network = alexnet(hidden=8)
    both = keras.Model(network.inputs, [network.get_layer("severity").output, network.output])
    severity, score = both.predict(windows(network), verbose=0)
    assert ((severity > 0) & (severity < 1)).all()
    np.testing.assert_allclose(score, 4 * severity, rtol=1e-6)


def test_classification_score_is_the_expected_grade():
    np.testing.assert_allclose(
        ExpectedGrade()(np.array([[0.5, 0, 0, 0, 0.5], [0, 0.25, 0.75, 0, 0]], "float32")), [[2.0], [1.75]]
    )
    network = alexnet(head="classification", hidden=8)
    both = keras.Model(network.inputs, [network.get_layer("grade_probabilities").output, network.output])
    probabilities, score = both.predict(windows(network), verbose=0)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, rtol=1e-5)
    np.testing.assert_allclose(score[:, 0], probabilities @ np.arange(5), rtol=1e-5)


def test_local_response_normalisation_by_hand():
    x = np.array([1.0, 2.0, 3.0, 4.0], "float32").reshape(1, 1, 1, 4)
    layer = LocalResponseNormalization(size=3, alpha=0.6, beta=0.5, bias=2.0)
    sums = [1 + 4, 1 + 4 + 9, 4 + 9 + 16, 9 + 16]
    expected = [value / (2 + 0.2 * total) ** 0.5 for value, total in zip([1, 2, 3, 4], sums)]
    np.testing.assert_allclose(np.asarray(layer(x)).ravel(), expected, rtol=1e-6)
    with pytest.raises(ValueError, match="`size` must be a positive odd number"):
        LocalResponseNormalization(size=4)


def test_groups_see_their_own_channels_only():
    layer = GroupedConv2D(4, 1, groups=2, kernel_initializer="ones")
    x = np.array([1.0, 2.0, 10.0, 20.0], "float32").reshape(1, 1, 1, 4)
    np.testing.assert_array_equal(np.asarray(layer(x)).ravel(), [3, 3, 30, 30])


@pytest.mark.parametrize("head", ["regression", "classification"])
def test_grader_saves_and_loads(head, tmp_path):
    form = VARIANTS["caffe"]
    grader = build_grader(alexnet(head=head, hidden=4), 256, form.mean, form.sd)
    images = np.random.default_rng(0).integers(0, 256, (2, 256, 256, 3), dtype=np.uint8)
    grader.save(tmp_path / "model.keras")
    again = load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(np.asarray(again(images)), np.asarray(grader(images)))


def test_folded_batch_normalisation_computes_the_same():
    trained = alexnet_trunk(normalize_batches=True)
    rng = np.random.default_rng(0)
    for layer in trained.layers:
        if layer.name.endswith("_bn"):
            layer.set_weights([rng.uniform(0.5, 1.5, weight.shape) for weight in layer.get_weights()])
    randomise(trained)
    trunk = alexnet_trunk(seed=5)
    fold_batch_normalization(trained, trunk)
    x = windows(trunk)
    expected = trained.predict(x, verbose=0)
    np.testing.assert_allclose(trunk.predict(x, verbose=0), expected, atol=1e-4 * expected.max())


def test_wrong_arguments():
    for arguments, message in [
        ({"image_size": 128}, "`image_size` must be one of"),
        ({"head": "gap"}, "`head` must be one of"),
        ({"variant": "vgg"}, "`variant` must be one of"),
        ({"hidden": 0}, "`hidden` must be positive"),
    ]:
        with pytest.raises(ValueError, match=message):
            alexnet(**arguments)


# Weight files


def caffe_layers(trunk):
    """What `bvlc_alexnet.npy` holds for the weights of a trunk: kernels for BGR pixels in conv1."""
    layers = {}
    for number in range(1, 6):
        kernel, bias = trunk.get_layer(f"conv{number}_kernel").get_weights()
        layers[f"conv{number}"] = [kernel[:, :, ::-1] if number == 1 else kernel, bias]
    return {**layers, "fc6": [np.zeros((2, 3), "float32"), np.zeros(3, "float32")]}


def write_npy(path, layers):
    np.save(path, np.array(layers, dtype=object), allow_pickle=True)


def check_same_weights(first, second):
    for number in range(1, 6):
        pairs = zip(
            *(net.get_layer(f"conv{number}_kernel").get_weights() for net in (first, second)), strict=True
        )
        for one, other in pairs:
            np.testing.assert_array_equal(one, other)


@pytest.fixture(scope="module")
def trunk():
    network = alexnet_trunk(seed=3)
    randomise(network)
    return network


def test_caffe_file(trunk, tmp_path):
    write_npy(tmp_path / "bvlc_alexnet.npy", caffe_layers(trunk))
    network = alexnet(hidden=4)
    load_trunk(network, tmp_path / "bvlc_alexnet.npy")
    check_same_weights(network, trunk)


def test_keras_file_in_half_precision(trunk, tmp_path):
    trunk.save_weights(tmp_path / "trunk.weights.h5")
    network = alexnet(hidden=4)
    load_trunk(network, tmp_path / "trunk.weights.h5")
    check_same_weights(network, trunk)


def swapped(layers):
    layers["conv3"], layers["conv4"] = layers["conv4"], layers["conv3"]


def without_bias(layers):
    layers["conv4"] = layers["conv4"][:1]


@pytest.mark.parametrize(
    "damage, message",
    [
        (swapped, r"conv3/weights has the shape \(3, 3, 192, 384\), expected \(3, 3, 256, 384\) for conv3"),
        (without_bias, "no conv4/biases in it"),
        (lambda layers: layers.pop("conv5"), "no conv5/weights in it"),
    ],
)
def test_files_of_another_network(trunk, damage, message, tmp_path):
    layers = caffe_layers(trunk)
    damage(layers)
    path = tmp_path / "weights.npy"
    write_npy(path, layers)
    network = alexnet(hidden=4)
    before = network.get_weights()
    with pytest.raises(InputError, match=message) as caught:
        load_trunk(network, path)
    assert str(path) in str(caught.value)
    for old, new in zip(before, network.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)  # nothing half-loaded


def test_caffe_file_for_torchvision(trunk, tmp_path):
    write_npy(tmp_path / "weights.npy", caffe_layers(trunk))
    with pytest.raises(
        InputError, match=r"conv1/weights has the shape .* for conv1 of 'alexnet_torchvision'"
    ):
        load_trunk(alexnet_torchvision(hidden=4), tmp_path / "weights.npy")


class Malicious:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


@pytest.mark.parametrize("suffix", [".npy", ".pth"])
def test_a_pickle_that_would_run_something(suffix, tmp_path):
    harm, path = tmp_path / "harm", tmp_path / f"weights{suffix}"
    if suffix == ".npy":
        write_npy(path, {"conv1": Malicious(harm)})
    else:
        path.write_bytes(pickle.dumps({"features.0.weight": Malicious(harm)}))
    with pytest.raises(InputError, match=str(path)):
        load_trunk(alexnet(hidden=4), path)
    assert not harm.exists()


def test_other_suffix(tmp_path):
    with pytest.raises(InputError, match="expected AlexNet's weights as .npy, .pth or .weights.h5"):
        load_trunk(alexnet(hidden=4), tmp_path / "alexnet.caffemodel")


# An implementation of its own in PyTorch

TORCH = r"""
import sys
import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

folder, *variants = sys.argv[1:]
for variant in variants:
    data = np.load(f"{folder}/{variant}.npz")
    x = torch.tensor(data["x"]).permute(0, 3, 1, 2)
    groups, padding = (1, 2, 1, 2, 2), (0, 2, 1, 1, 1)
    if variant == "torchvision":
        groups, padding = (1,) * 5, (2, 2, 1, 1, 1)
    norm = nn.LocalResponseNorm(5, alpha=1e-4, beta=0.75, k=1.0)
    kept = {}
    for n in range(1, 6):
        kernel = torch.tensor(data[f"kernel{n}"]).permute(3, 2, 0, 1)
        bias = torch.tensor(data[f"bias{n}"])
        x = kept[f"conv{n}"] = F.relu(
            F.conv2d(x, kernel, bias, 4 if n == 1 else 1, padding[n - 1], groups=groups[n - 1])
        )
        if n < 3 and variant == "caffe":
            x = kept[f"lrn{n}"] = norm(x)
        if n in (1, 2, 5):
            x = kept[f"pool{n}"] = F.max_pool2d(x, 3, 2)
        if n < 3 and variant == "caffenet":
            x = kept[f"lrn{n}"] = norm(x)
    arrays = {name: value.permute(0, 2, 3, 1).numpy() for name, value in kept.items()}
    np.savez(f"{folder}/{variant}.out.npz", **arrays)
"""


def torch_python():
    """An interpreter with PyTorch: this one, or that of a virtual environment beside this one's."""
    if importlib.util.find_spec("torch"):
        return sys.executable
    return next((str(path) for path in Path(sys.prefix).parent.glob("bench/bin/python")), None)


@pytest.mark.skipif(torch_python() is None, reason="no PyTorch here")
def test_every_layer_equals_pytorchs(tmp_path):
    trunks = {variant: alexnet_trunk(variant, seed=2) for variant in VARIANTS}
    inputs = {}
    for variant, trunk in trunks.items():
        randomise(trunk)
        inputs[variant] = windows(trunk, scale=60.0 if VARIANTS[variant].sd[0] == 1 else 1.0)
        arrays = {"x": inputs[variant]}
        for number in range(1, 6):
            weights = trunk.get_layer(f"conv{number}_kernel").get_weights()
            arrays[f"kernel{number}"], arrays[f"bias{number}"] = weights
        np.savez(tmp_path / f"{variant}.npz", **arrays)
    (tmp_path / "net.py").write_text(TORCH)
    command = [torch_python(), tmp_path / "net.py", tmp_path, *VARIANTS]
    subprocess.run(list(map(str, command)), check=True)
    for variant, trunk in trunks.items():
        expected, found = np.load(tmp_path / f"{variant}.out.npz"), outputs(trunk, inputs[variant])
        assert sorted(found) == sorted(expected.files)
        for name in expected.files:
            np.testing.assert_allclose(found[name], expected[name], atol=1e-4, err_msg=f"{variant} {name}")
