import keras
import numpy as np
import pytest

from dr_keras.models.architectures import ARCHITECTURES
from dr_keras.models.efficientnet import (
    MEAN,
    SD,
    efficientnet_lite0,
    efficientnet_lite1,
    efficientnet_lite2,
)
from dr_keras.models.grader_model import build_grader, load_model, network_of
from dr_keras.training.hosts.devices import precision_scope


def windows_of(network, count=2):
    return np.random.default_rng(0).normal(size=(count, *network.input_shape[1:])).astype("float32")


def randomised(network, seed=0):
    """The network with biases that aren't 0, and a score that isn't 0 either."""
    rng = np.random.default_rng(seed)
    for layer in network.layers:
        if layer.weights and layer.name != "score":
            layer.bias.assign(0.1 * rng.normal(size=layer.bias.shape))
    score = network.get_layer("score")
    score.set_weights([rng.normal(size=w.shape) / 30 for w in score.weights])
    return network


@pytest.mark.parametrize(
    ("build", "published", "blocks"),
    [
        (efficientnet_lite0, 4_652_008, 1 + 2 + 2 + 3 + 3 + 4 + 1),
        (efficientnet_lite1, 5_416_680, 1 + 3 + 3 + 4 + 4 + 5 + 1),
        (efficientnet_lite2, 6_092_072, 1 + 3 + 3 + 4 + 4 + 5 + 1),
    ],
)
def test_parameters_and_blocks(build, published, blocks):
    """The published networks count 1000 classes, and a scale of each channel, which the kernel holds here."""
    network = build(64)
    trainable = sum(int(np.prod(variable.shape)) for variable in network.trainable_variables)
    scales = sum(layer.bias.shape[0] for layer in network.layers if layer.weights and layer.name != "score")
    assert trainable + scales == published - 1000 * (1280 + 1) + (1280 + 1)
    assert sum(layer.name.endswith("_project") for layer in network.layers) == blocks
    assert network.name == build.__name__ == ARCHITECTURES[network.name].build(64).name
    assert network.output.dtype == "float32" and network.output_shape == (None, 1)


def test_sides_of_the_stages():
    """Every stride of 2 halves and rounds up."""
    network = efficientnet_lite0(96)
    names = ["window", "stem_relu"] + [f"block{stage}a_project" for stage in range(1, 8)]
    sides = [network.get_layer(name).output.shape[1] for name in names]
    assert sides == [96, 48, 48, 24, 12, 6, 6, 3, 3]
    channels = [network.get_layer(name).output.shape[3] for name in names]
    assert channels == [3, 32, 16, 24, 40, 80, 112, 192, 320]
    assert network.get_layer("head_relu").output.shape == (None, 3, 3, 1280)


def test_multiscale_head_pools_two_grids():
    """Its features are the averages of both layers, and its cells are those of the finer."""
    network = efficientnet_lite0(64, head="multiscale")
    names = ("block6a_expand_relu", "block7a_project", "scales", "gap")
    layers = [network.get_layer(name) for name in names]
    windows = windows_of(network)
    fine, coarse, scales, pooled = keras.Model(network.input, [layer.output for layer in layers])(windows)
    assert fine.shape == (2, 4, 4, 672) and coarse.shape == (2, 2, 2, 320) and scales.shape == (2, 4, 4, 992)
    expected = np.concatenate([np.asarray(part).mean((1, 2)) for part in (fine, coarse)], axis=1)
    np.testing.assert_allclose(np.asarray(pooled), expected, atol=1e-6)
    assert network.get_layer("score").kernel.shape == (992, 1)
    assert not any(layer.name.startswith("head") for layer in network.layers)


def test_widths_of_lite2():
    """1.1 times the widths, to multiples of 8; stem and head stay."""
    network = efficientnet_lite2(64)
    channels = [network.get_layer(f"block{stage}a_project").filters for stage in range(1, 8)]
    assert channels == [16, 24, 48, 88, 120, 208, 352]
    assert network.get_layer("stem_conv").filters == 32 and network.get_layer("head_conv").filters == 1280


def test_shortcuts():
    """A block adds its input where neither size nor width changes, so in all but a stage's first."""
    network = efficientnet_lite0(64)
    added = {layer.name for layer in network.layers if isinstance(layer, keras.layers.Add)}
    letters = {2: "b", 3: "b", 4: "bc", 5: "bc", 6: "bcd"}
    assert added == {f"block{stage}{letter}_add" for stage in letters for letter in letters[stage]}
    names = [layer.name for layer in network.layers]
    assert "block1a_expand" not in names and "block2a_expand" in names


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"image_size": 112}, "`image_size` must be a multiple of 32. Received: image_size=112"),
        ({"head": "dense"}, r"`head` must be one of \('gap', 'multiscale'\). Received: head='dense'"),
    ],
)
def test_arguments_it_does_not_have(arguments, message):
    with pytest.raises(ValueError, match=message):
        efficientnet_lite0(**arguments)


def test_seeds():
    first, again, other = (efficientnet_lite0(64, seed=seed) for seed in (1, 1, 2))
    for name in ("stem_conv", "block3b_depthwise", "head_conv"):
        values = [np.asarray(network.get_layer(name).kernel) for network in (first, again, other)]
        np.testing.assert_array_equal(values[0], values[1])
        assert not np.allclose(values[0], values[2])
    # He et al.: variance 2 / fan-out; a 1x1 convolution to 1280 channels, 320 * 1280 draws
    np.testing.assert_allclose(np.asarray(first.get_layer("head_conv").kernel).std(), 0.0395, rtol=0.02)


@pytest.mark.parametrize("policy", ["float32", "mixed_bfloat16"])
def test_grader_saves_and_loads(policy, tmp_path):
    with precision_scope(policy):
        grader = build_grader(randomised(efficientnet_lite0(64)), 64, MEAN, SD)
    images = np.random.default_rng(1).integers(0, 256, (2, 64, 64, 3), dtype=np.uint8)
    grader.save(tmp_path / "model.keras")
    again = load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(np.asarray(again(images)), np.asarray(grader(images)))
    np.testing.assert_array_equal(np.asarray(again(images, training=True)), np.asarray(again(images)))
    windows = (images.astype("float32") - 127) / 128
    scores, atol = network_of(grader)(windows), 1e-5 if policy == "float32" else 0.1
    np.testing.assert_allclose(np.asarray(again(images)), np.asarray(scores), atol=atol)
    pooled = network_of(again).get_layer("gap")
    assert pooled.compute_dtype == "float32" and again.output.dtype == "float32"


def test_published_trunks_say_what_they_were_trained_with():
    names = {name for name in ARCHITECTURES if name.startswith("efficientnet")}
    assert len(names) == 3
    for name in names:
        trunk = ARCHITECTURES[name].published
        assert trunk.mean == (127, 127, 127) and trunk.sd == (128, 128, 128)
