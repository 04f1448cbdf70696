"""RAM, Grad-CAM and occlusion against each other and against what they are by definition."""

import gc
import resource
import weakref

import keras
import numpy as np
import pytest
import tensorflow as tf

from dr_keras.errors import InputError
from dr_keras.explain.gradcam import grad_cam, grad_cam_grid
from dr_keras.explain.occlusion import occlusion_grid, occlusion_map
from dr_keras.explain.ram import ram_grid, regression_activation_map, score_bias
from dr_keras.models.grader_model import build_grader, network_of
from dr_keras.models.nets import net4, net5, ram_net5
from dr_keras.training.hosts.devices import precision_scope

MEAN, SD = (90.0, 61.5, 33.0), (70.0, 52.0, 31.0)


def images_of(size, count=3):
    return np.random.default_rng(0).integers(0, 256, (count, size, size, 3), dtype=np.uint8)


def grader(build, size, **options):
    return build_grader(build(size, width=0.2, **options), size, MEAN, SD)


def peak_memory():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # KiB


@pytest.mark.parametrize("policy", ["float32", "mixed_bfloat16"])
@pytest.mark.parametrize(
    "build, size, side", [(net5, 128, 6), (net4, 256, 7), (ram_net5, 128, 54), (ram_net5, 256, 56)]
)
def test_mean_of_the_map_and_bias_are_the_score(policy, build, size, side):
    with precision_scope(policy):
        model = grader(build, size)
    images = images_of(size)
    scores, maps = regression_activation_map(model, images)
    assert scores.shape == (3,) and maps.shape == (3, side, side) and maps.dtype == np.float32
    np.testing.assert_allclose(maps.mean(axis=(1, 2)) + score_bias(model), scores, atol=1e-4)
    np.testing.assert_allclose(scores, np.asarray(model(images))[:, 0], atol=0.05 if "16" in policy else 1e-4)


def test_maps_are_signed():
    _, maps = regression_activation_map(grader(net5, 128), images_of(128))
    assert (maps < 0).any() and (maps > 0).any()


def test_grad_cam_of_the_last_activation_is_the_ram():
    model = grader(net5, 256)
    scores, maps = regression_activation_map(model, images_of(256))
    again, cams = grad_cam(model, images_of(256))
    np.testing.assert_allclose(again, scores, atol=1e-5)
    np.testing.assert_allclose(cams, maps, atol=1e-4)
    assert grad_cam_grid(model) == ram_grid(model)


def test_grad_cam_of_any_layer_is_the_gradient_by_hand():
    model = grader(net5, 128, head="dense")
    network = network_of(model)
    images = images_of(128, 2)
    _, maps = grad_cam(model, images, layer="conv7")
    assert grad_cam(model, images)[1].shape == (2, 6, 6)
    windows = model.get_layer("standardize")(model.get_layer("window")(images))
    inner = keras.Model(network.inputs, [network.get_layer("conv7").output, network.output])
    with tf.GradientTape() as tape:
        activations, scores = inner(windows, training=False)
    gradients = tape.gradient(scores, activations).numpy()
    expected = (gradients.sum(axis=(1, 2), keepdims=True) * activations.numpy()).sum(axis=-1)
    np.testing.assert_allclose(maps, expected, rtol=1e-3, atol=1e-4)


def test_hiding_a_cell_of_the_last_activation_takes_its_share_of_the_map():
    model = grader(net5, 128)
    scores, maps = regression_activation_map(model, images_of(128))
    again, drops = occlusion_map(model, images_of(128), layer="conv11")
    np.testing.assert_allclose(again, scores, atol=1e-5)
    np.testing.assert_allclose(drops * 36, maps, atol=1e-3)
    assert occlusion_grid(model, layer="conv11") == ram_grid(model)


def test_occlusion_of_the_input_against_a_loop():
    model = grader(net5, 128)
    images = images_of(128, 2)
    scores, drops = occlusion_map(model, images, window=40, stride=24)
    assert drops.shape == (2, 4, 4)
    for row, column in [(0, 0), (1, 3), (3, 2)]:
        hidden = images.astype("float32")
        top, left = 8 + 24 * row, 8 + 24 * column
        hidden[:, top : top + 40, left : left + 40] = MEAN
        expected = scores - np.asarray(model(hidden))[:, 0]
        np.testing.assert_allclose(drops[:, row, column], expected, atol=1e-4)
    assert occlusion_grid(model, window=40, stride=24).offset == (8 + 20, 8 + 20)


def test_default_windows_cover_the_input():
    assert occlusion_map(grader(net5, 128), images_of(128, 1))[1].shape == (1, 15, 15)


def test_window_of_occlusion_is_checked():
    with pytest.raises(InputError, match="--window=7, --stride=1: expected a window from 1 to 6"):
        occlusion_map(grader(net5, 128), images_of(128), window=7, layer="conv11")


def test_model_without_pooling_names_the_alternative():
    with pytest.raises(InputError, match="--method=ram: model 'net5' .* expected --method=gradcam"):
        regression_activation_map(grader(net5, 128, head="dense"), images_of(128))


def test_one_trace_for_all_batches_and_weights_are_read_anew():
    model = grader(net5, 128)
    images = images_of(128, 5)
    scores, maps = regression_activation_map(model, images)
    for count in (1, 2, 5):
        again, _ = regression_activation_map(model, images[:count].astype("float32"))
        np.testing.assert_allclose(again, scores[:count], atol=1e-6)
    functions = list(vars(model)["_dr_keras_compiled"].values())  # of uint8 and of float32
    assert len(functions) == 2 and all(hasattr(each, "structured_input_signature") for each in functions)
    network_of(model).get_layer("score").bias.assign([7.0])
    np.testing.assert_allclose(regression_activation_map(model, images)[0], scores - 0.05 + 7, atol=1e-4)


@pytest.mark.parametrize("method", [regression_activation_map, grad_cam])
def test_memory_is_flat_over_a_thousand_calls(method):
    model, images = build_grader(net5(128, width=0.05), 128, MEAN, SD), images_of(128, 2)
    for _ in range(200):
        method(model, images)
    before = peak_memory()
    for _ in range(1000):
        method(model, images)
    assert peak_memory() - before < 8 * 1024


def test_compiled_functions_go_with_their_model():
    model = grader(net5, 128)
    regression_activation_map(model, images_of(128))
    grad_cam(model, images_of(128))
    gone = weakref.ref(model)
    del model
    keras.utils.clear_session()
    gc.collect()
    assert gone() is None
