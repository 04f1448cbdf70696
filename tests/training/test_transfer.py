import keras
import numpy as np
import pytest

from dr_keras.models.layers import UntiedBias
from dr_keras.models.nets import net4, net5, ram_net5
from dr_keras.training.transfer import transfer_weights


def randomise(network, seed):
    rng = np.random.default_rng(seed)
    network.set_weights([rng.normal(size=weight.shape).astype("float32") for weight in network.get_weights()])
    return network


def bias_network(height, width, values=None):
    inputs = keras.Input((height, width, 2))
    network = keras.Model(inputs, UntiedBias(name="bias")(inputs))
    if values is not None:
        network.set_weights([np.asarray(values, "float32")])
    return network


def resampled(values, height, width):
    """The bias map (rows, columns, 2), taken over by a network of another size."""
    source, target = bias_network(*values.shape[:2], values), bias_network(height, width)
    assert transfer_weights(source, target) == (["bias"], [])
    return target.get_weights()[0]


def test_constant_bias_maps_stay_constant():
    for size in ((3, 5), (14, 9), (6, 7), (12, 14)):
        values = resampled(np.broadcast_to([0.3, -2.0], (6, 7, 2)), *size)
        np.testing.assert_allclose(values, np.broadcast_to([0.3, -2.0], (*size, 2)), rtol=1e-6)


def test_linear_ramps_stay_linear():
    rows, columns = np.mgrid[:6, :4].astype(float)
    values = resampled(np.stack([rows, 10 * columns], axis=-1), 12, 12)
    # Pixel centres: row r of 12 lies at (r + 0.5) / 2 - 0.5 of 6, column c at (c + 0.5) / 3 - 0.5 of 4.
    expected_rows, expected_columns = (np.arange(12) + 0.5) / 2 - 0.5, (np.arange(12) + 0.5) / 3 - 0.5
    np.testing.assert_allclose(
        values[1:-1, :, 0], np.repeat(expected_rows[1:-1, None], 12, axis=1), atol=1e-5
    )
    np.testing.assert_allclose(
        values[:, 1:-1, 1], np.repeat(10 * expected_columns[None, 1:-1], 12, axis=0), atol=1e-4
    )
    np.testing.assert_allclose(values[[0, -1], 0, 0], [0, 5], atol=1e-5)  # no extrapolation at the border


def test_from_128_to_256():
    source, target = randomise(net5(128, width=0.1), 0), net5(256, width=0.1)
    before = {layer.name: layer.get_weights() for layer in target.layers}
    taken, left = transfer_weights(source, target)
    shared = [f"conv{n}_{part}" for n in (2, 3, 5, 6, 7, 9, 10, 11) for part in ("kernel", "bias")]
    assert taken == shared
    assert left == [f"conv{n}_{part}" for n in (13, 14, 15) for part in ("kernel", "bias")] + ["score"]
    for name in taken:
        (there,), (here,) = source.get_layer(name).get_weights(), target.get_layer(name).get_weights()
        if name.endswith("kernel"):
            np.testing.assert_array_equal(here, there)
        else:
            assert here.shape[0] != there.shape[0]
            np.testing.assert_array_equal(here, resampled_by_keras(there, here.shape[:2]))
    for name in left:
        for was, now in zip(before[name], target.get_layer(name).get_weights()):
            np.testing.assert_array_equal(now, was)


def resampled_by_keras(values, size):
    return np.asarray(keras.ops.image.resize(values[None], size, interpolation="bilinear")[0])


def test_from_plain_to_ram_network():
    source, target = randomise(net5(128, width=0.1), 0), ram_net5(128, width=0.1)
    taken, left = transfer_weights(source, target)
    assert left == [] and len(taken) == 17
    np.testing.assert_array_equal(
        target.get_layer("score").get_weights()[0], source.get_layer("score").get_weights()[0]
    )
    assert target.get_layer("conv11_bias").get_weights()[0].shape == (54, 54, 13)


def test_from_gap_to_dense_head_and_other_kernels():
    source, target = randomise(net5(128, width=0.1), 0), net5(128, head="dense", width=0.1)
    start = target.get_layer("score").get_weights()
    taken, left = transfer_weights(source, target)
    assert left == ["dense1", "dense2", "score"] and len(taken) == 16
    np.testing.assert_array_equal(target.get_layer("score").get_weights()[0], start[0])
    # Net-4's kernels are 4x4: none fits, but the maps of bias values do.
    taken, left = transfer_weights(source, net4(128, width=0.1))
    assert taken == [f"conv{n}_bias" for n in (2, 3, 5, 6, 7, 9, 10, 11)] + ["score"]
    assert left == [f"conv{n}_kernel" for n in (2, 3, 5, 6, 7, 9, 10, 11)]


def test_another_width_leaves_everything():
    source, target = randomise(net5(128, width=0.1), 0), net5(128, width=0.2)
    before = target.get_weights()
    taken, left = transfer_weights(source, target)
    assert taken == [] and len(left) == 17
    for was, now in zip(before, target.get_weights()):
        np.testing.assert_array_equal(now, was)


@pytest.mark.parametrize("untied", [True, False])
def test_same_network_is_copied_whole(untied):
    source, target = (net5(128, width=0.1, untied_biases=untied, seed=seed) for seed in (1, 2))
    randomise(source, 3)
    taken, left = transfer_weights(source, target)
    assert left == [] and len(taken) == (17 if untied else 9)
    for there, here in zip(source.get_weights(), target.get_weights()):
        np.testing.assert_array_equal(here, there)


def test_tied_and_untied_biases_do_not_mix():
    source, target = randomise(net5(128, width=0.1, untied_biases=False), 0), net5(128, width=0.1)
    taken, left = transfer_weights(source, target)
    assert taken == ["score"]
    assert "conv2_kernel" in left and "conv2_bias" in left
