import ast
import collections
from pathlib import Path

import keras
import numpy as np
import pytest

import dr_keras
from dr_keras.models.layers import Maxout, RMSPooling2D, Standardize, UntiedBias
from dr_keras.training.hosts.devices import precision_scope

LAYERS = {
    "untied_bias": (lambda: UntiedBias(0.3, name="b"), (2, 5, 7, 4)),
    "maxout": (lambda: Maxout(3, name="m"), (4, 12)),
    "rms_pooling": (lambda: RMSPooling2D(2, 3, name="r"), (2, 7, 9, 3)),
    "standardize": (lambda: Standardize((90, 60.5, 30), (70, 50, 31.25), name="s"), (2, 4, 6, 3)),
}


def inputs_of(shape):
    return np.random.default_rng(0).normal(50, 40, shape).astype("float32")


@pytest.mark.parametrize("name", LAYERS)
def test_config_round_trip(name):
    build, shape = LAYERS[name]
    layer, x = build(), inputs_of(shape)
    expected = np.asarray(layer(x))
    again = type(layer).from_config(layer.get_config())
    np.testing.assert_array_equal(np.asarray(again(x)), expected)
    assert again.name == layer.name
    assert again.get_config() == layer.get_config()


@pytest.mark.parametrize("name", LAYERS)
def test_save_and_reload(name, tmp_path):
    build, shape = LAYERS[name]
    layer, x = build(), inputs_of(shape)
    model = keras.Sequential([keras.Input(shape[1:]), layer])
    for weight in layer.weights:
        weight.assign(np.random.default_rng(1).normal(size=weight.shape))
    model.save(tmp_path / "m.keras")
    again = keras.saving.load_model(tmp_path / "m.keras")
    np.testing.assert_array_equal(np.asarray(again(x)), np.asarray(model(x)))
    config = again.layers[-1].get_config()
    assert config == layer.get_config()


@pytest.mark.parametrize("name", LAYERS)
def test_symbolic_shape_is_the_real_one(name):
    build, shape = LAYERS[name]
    symbolic = build()(keras.Input(shape[1:]))
    assert symbolic.shape == (None, *build()(inputs_of(shape)).shape[1:])


def test_untied_bias_adds_its_map():
    layer = UntiedBias(0.25)
    x = inputs_of((2, 3, 5, 2))
    np.testing.assert_allclose(np.asarray(layer(x)), x + 0.25, rtol=1e-6)
    values = np.arange(30, dtype="float32").reshape(3, 5, 2)
    layer.bias.assign(values)
    np.testing.assert_allclose(np.asarray(layer(x)), x + values, rtol=1e-6)
    assert [tuple(weight.shape) for weight in layer.trainable_weights] == [(3, 5, 2)]


def test_untied_bias_needs_a_known_size():
    with pytest.raises(
        ValueError, match=r"`input_shape` must have a known height and width.*\(None, None, 8, 3\)"
    ):
        UntiedBias()(keras.Input((None, 8, 3)))


def test_maxout_takes_the_larger_of_neighbours():
    x = np.array([[1, 5, -3, -4, 0, 2], [9, 8, 7, 6, 5, 4]], "float32")
    np.testing.assert_array_equal(np.asarray(Maxout(2)(x)), [[5, -3, 2], [9, 7, 5]])
    np.testing.assert_array_equal(np.asarray(Maxout(3)(x)), [[5, 2], [9, 6]])


def test_maxout_refuses_units_that_do_not_divide():
    with pytest.raises(ValueError, match=r"multiple of 2 units. Received: input_shape=\(4, 5\)"):
        Maxout(2)(np.zeros((4, 5), "float32"))


def test_rms_pooling_by_hand():
    x = np.zeros((1, 3, 6, 1), "float32")
    x[0, :, :3, 0] = [[1, 2, 2], [0, 0, 0], [0, 0, 0]]  # 9 / 9: root 1
    x[0, :, 3:, 0] = -6
    np.testing.assert_allclose(np.asarray(RMSPooling2D(3, 3)(x))[0, :, :, 0], [[1, 6]], rtol=1e-5)
    assert RMSPooling2D(3, 2)(np.zeros((1, 6, 7, 1), "float32")).shape == (1, 2, 3, 1)


def test_rms_pooling_has_a_finite_slope_at_zero():
    import tensorflow as tf

    x = tf.Variable(np.zeros((1, 3, 3, 1), "float32"))
    with tf.GradientTape() as tape:
        pooled = tf.reduce_sum(RMSPooling2D(3, 3)(x))
    assert np.isfinite(tape.gradient(pooled, x).numpy()).all()


def test_standardize_by_hand():
    layer = Standardize((10, 20, 30), (2, 4, 5))
    x = np.array([[[[10, 20, 30], [12, 16, 55]]]], "uint8")
    np.testing.assert_allclose(np.asarray(layer(x)), [[[[0, 0, 0], [1, -1, 5]]]], rtol=1e-6)
    assert layer.weights == []


def test_standardize_stays_in_float32_under_bfloat16():
    with precision_scope("mixed_bfloat16"):
        layer = Standardize((200, 200, 200), (1, 1, 1))
    result = layer(np.full((1, 1, 1, 3), 200.4, "float32"))
    assert keras.backend.standardize_dtype(result.dtype) == "float32"
    np.testing.assert_allclose(np.asarray(result), 0.4, atol=1e-4)


@pytest.mark.parametrize("sd", [(1, 0, 1), (1, -1, 1), (1, 1)])
def test_standardize_refuses_wrong_statistics(sd):
    with pytest.raises(
        ValueError, match="`mean` and `sd` must be three numbers each, `sd` positive. Received: mean="
    ):
        Standardize((0, 0, 0), sd)


def test_rms_pooling_computes_in_float32_under_bfloat16():
    with precision_scope("mixed_bfloat16"):
        layer = RMSPooling2D(3, 3)
    x = np.zeros((1, 3, 3, 1), "float32")
    x[0, 0, 0, 0] = 16
    x[0, 1:, :, 0] = 1  # (256 + 6) / 9 = 29.11; in bfloat16 256 + 1 stays 256
    result = keras.ops.cast(layer(x), "float32")
    np.testing.assert_allclose(np.asarray(result), np.sqrt(262 / 9), rtol=4e-3)


def test_no_two_classes_are_registered_under_one_name():
    """Of two, Keras would load the one that was imported last, whichever was saved."""
    names = collections.Counter()
    for path in Path(dr_keras.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ClassDef):
                names[node.name] += sum("register_keras" in ast.unparse(mark) for mark in node.decorator_list)
    assert names["OrdinalScore"] == 1 and max(names.values()) == 1
