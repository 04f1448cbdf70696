import importlib.util
import os
import re
import subprocess
import sys

import keras
import numpy as np
import pytest

from dr_keras.models import nets
from dr_keras.models.nets import WINDOWS, net4, net5, ram_net5
from dr_keras.training.hosts.devices import precision_scope

# P2 table 1 at 512 px (window 448). Of the other sizes, the same arithmetic by hand: a convolution
# "same" gives ceil(n / stride), pooling floor((n - 3) / 2) + 1, a kernel of 4 padded by p n + 2p - 3.
NET5_SIZES = {
    128: [56, 56, 27, 14, 14, 14, 6, 6, 6, 6],
    256: [112, 112, 55, 28, 28, 28, 13, 13, 13, 13, 6, 6, 6, 6],
    512: [224, 224, 111, 56, 56, 56, 27, 27, 27, 27, 13, 13, 13, 13, 6, 6, 6],
    768: [336, 336, 167, 84, 84, 84, 41, 41, 41, 41, 20, 20, 20, 20, 9, 9, 9],
}
NET4_SIZES = {
    128: [56, 57, 28, 14, 15, 14, 6, 7, 6, 7],
    256: [112, 113, 56, 28, 29, 28, 13, 14, 13, 14, 6, 7, 6, 7],
    512: [224, 225, 112, 56, 57, 56, 27, 28, 27, 28, 13, 14, 13, 14, 6, 6],
    768: [336, 337, 168, 84, 85, 84, 41, 42, 41, 42, 20, 21, 20, 21, 10, 10],
}
NET5_LAYERS = [f"{'pool' if n in (4, 8, 12, 16) else 'conv'}{n}" for n in range(2, 19)]
NET5_FILTERS = [32, 32, 32, 64, 64, 64, 64, 128, 128, 128, 128, 256, 256, 256, 256, 512, 512]


def windows_of(network, count=2, seed=0):
    return np.random.default_rng(seed).normal(size=(count, *network.input_shape[1:])).astype("float32")


def randomise_biases(network, seed=0):
    rng = np.random.default_rng(seed)
    for variable in network.trainable_variables:
        if variable.name == "bias":
            variable.assign(rng.normal(0.05, 0.1, variable.shape))


@pytest.mark.parametrize(
    "build, head, count",
    [
        (net5, "gap", 9_779_169),
        (net5, "dense", 12_402_657),
        (net4, "gap", 9_847_265),
        (net4, "dense", 12_470_753),
    ],
)
def test_parameter_counts_of_the_paper(build, head, count):
    network = build(512, head=head)
    assert network.count_params() == count
    assert sum(int(np.prod(variable.shape)) for variable in network.trainable_variables) == count


@pytest.mark.parametrize("build, sizes", [(net5, NET5_SIZES), (net4, NET4_SIZES)])
@pytest.mark.parametrize("image_size", [128, 256, 512, 768])
def test_layer_sizes_of_the_table(build, sizes, image_size):
    network = build(image_size, width=0.125)
    assert network.input_shape == (
        None,
        {128: 112, 256: 224, 512: 448, 768: 672}[image_size],
        WINDOWS[image_size],
        3,
    )
    # A row's size is that of its bias: the activations of layers before a max pool come after it.
    rows = {
        layer.name.removesuffix("_bias"): layer
        for layer in network.layers
        if re.search("_bias$|^pool", layer.name)
    }
    names = list(rows)
    assert names == NET5_LAYERS[: len(sizes[image_size])]
    for name, side, filters in zip(names, sizes[image_size], NET5_FILTERS):
        assert tuple(rows[name].output.shape) == (None, side, side, filters // 8), name
    assert tuple(network.get_layer("gap").output.shape) == (None, NET5_FILTERS[len(names) - 1] // 8)
    assert network.output_shape == (None, 1)


def test_dense_head_sizes():
    for build in (net5, net4):
        network = build(512, head="dense", width=0.125)
        shapes = {name: tuple(network.get_layer(name).output.shape[1:]) for name in
                  ("rms_pool", "flatten", "dense1", "maxout1", "dense2", "maxout2", "score")}  # fmt: skip
        assert shapes == {"rms_pool": (2, 2, 64), "flatten": (256,), "dense1": (1024,), "maxout1": (512,),
                          "dense2": (1024,), "maxout2": (512,), "score": (1,)}  # fmt: skip
        order = [layer.name for layer in network.layers]
        head = order[order.index("rms_pool") :]
        assert head == ["rms_pool", "flatten", "dropout1", "dense1", "dense1_activation", "maxout1",
                        "dropout2", "dense2", "dense2_activation", "maxout2", "score"]  # fmt: skip
        assert network.get_layer("dropout1").rate == network.get_layer("dropout2").rate == 0.5


@pytest.mark.parametrize("image_size, last, side", [(128, "conv11", 54), (256, "conv15", 56)])
def test_ram_networks_have_fine_maps(image_size, last, side):
    network = ram_net5(image_size, width=0.125)
    assert tuple(network.get_layer(last).output.shape[1:3]) == (side, side)
    pools = [layer.name for layer in network.layers if layer.name.startswith("pool")]
    assert pools == {128: ["pool4", "pool8"], 256: ["pool4"]}[image_size]


def test_ram_network_shares_every_kernel_with_the_plain_one():
    for image_size in (128, 256):
        plain, fine = net5(image_size, width=0.125), ram_net5(image_size, width=0.125)
        kernels = [
            {layer.name: tuple(layer.kernel.shape) for layer in network.layers if hasattr(layer, "kernel")}
            for network in (plain, fine)
        ]
        assert kernels[0] == kernels[1]


def test_width_scales_filters():
    # Rounded to whole filters, at least one: 32 * 0.6 = 19.2, 64 * 0.6 = 38.4, 128 * 0.6 = 76.8.
    network = net5(128, width=0.6)
    assert [network.get_layer(name).output.shape[-1] for name in ("conv2", "conv5", "conv9")] == [19, 38, 77]
    assert net5(128, width=0.01).get_layer("conv2").output.shape[-1] == 1


def test_tied_biases_have_one_value_per_channel():
    network = net5(128, untied_biases=False, width=0.125)  # filters 4, 4, 8, 8, 8, 16, 16, 16
    kernels = 5 * 5 * 3 * 4 + 9 * 4 * 4 + 25 * 4 * 8 + 2 * 9 * 8 * 8 + 9 * 8 * 16 + 2 * 9 * 16 * 16 + 16
    assert network.count_params() == kernels + (4 + 4 + 8 + 8 + 8 + 16 + 16 + 16) + 1
    for variable in network.trainable_variables:
        if variable.name == "bias":
            np.testing.assert_allclose(variable.numpy(), 0.05, rtol=1e-6)


@pytest.mark.parametrize("head", ["gap", "dense"])
def test_initial_weights(head):
    network = net4(128, head=head, width=0.25)
    matrices = 0
    for variable in network.trainable_variables:
        values = variable.numpy()
        if variable.name == "bias":
            np.testing.assert_allclose(values, 0.05, rtol=1e-6)
        else:
            matrix = values.reshape(-1, values.shape[-1])
            matrix = matrix if matrix.shape[0] >= matrix.shape[1] else matrix.T
            np.testing.assert_allclose(
                matrix.T @ matrix, np.eye(matrix.shape[1]), atol=2e-5, err_msg=variable.path
            )
            matrices += 1
    assert matrices == {"gap": 9, "dense": 11}[head]


def test_every_layer_and_seed_starts_elsewhere():
    network, same, other = (net5(128, width=0.25, seed=seed) for seed in (3, 3, 4))
    kernel = lambda model, name: model.get_layer(f"{name}_kernel").kernel.numpy()  # noqa: E731
    np.testing.assert_array_equal(kernel(network, "conv6"), kernel(same, "conv6"))
    assert not np.allclose(kernel(network, "conv6"), kernel(other, "conv6"))
    assert not np.allclose(kernel(network, "conv6"), kernel(network, "conv7"))
    assert not np.allclose(kernel(network, "conv10"), kernel(network, "conv11"))


def test_leaky_slope_follows_every_convolution():
    network = net5(512, width=0.05)
    for name in NET5_LAYERS:
        if name.startswith("conv"):
            values = np.asarray(network.get_layer(name)(np.array([[-2.0, 0.0, 3.0]], "float32")))
            np.testing.assert_allclose(values, [[-0.02, 0, 3]], rtol=1e-5)


def test_pooling_and_output_are_float32_under_bfloat16():
    with precision_scope("mixed_bfloat16"):
        for network in (
            net5(128, width=0.125),
            net4(128, head="dense", width=0.125),
            ram_net5(128, width=0.125),
        ):
            assert network.get_layer("conv11").compute_dtype == "bfloat16"
            assert network.output.dtype == network.get_layer("score").compute_dtype == "float32"
            assert {variable.dtype for variable in network.trainable_variables} == {"float32"}
            scores = network(windows_of(network))
            assert keras.backend.standardize_dtype(scores.dtype) == "float32"
            if network.name != "net4":
                assert (
                    network.get_layer("gap").compute_dtype
                    == network.get_layer("gap").output.dtype
                    == "float32"
                )


@pytest.mark.parametrize("build, last", [(net5, "conv11"), (net4, "conv11"), (ram_net5, "conv11")])
def test_mean_of_the_activation_map_is_the_score(build, last):
    network = build(128, width=0.25)
    randomise_biases(network)
    score = network.get_layer("score")
    both = keras.Model(network.input, [network.get_layer(last).output, network.output])
    maps, scores = (np.asarray(value) for value in both(windows_of(network, 3)))
    weights, bias = (np.asarray(weight) for weight in score.get_weights())
    activation = (maps @ weights)[..., 0]  # sum_k w_k g_k(i, j)
    assert activation.min() < 0 < activation.max() and activation.shape[1] == activation.shape[2]
    np.testing.assert_allclose(activation.mean(axis=(1, 2)) + bias, scores[:, 0], atol=1e-4)


@pytest.mark.parametrize(
    "build, arguments, message",
    [
        (
            net5,
            {"image_size": 224},
            r"`image_size` must be one of \[128, 256, 512, 768\]. Received: image_size=224",
        ),
        (net4, {"head": "gmp"}, r"`head` must be one of \('gap', 'dense'\). Received: head='gmp'"),
        (net4, {"width": 0}, "`width` must be positive. Received: width=0"),
        (ram_net5, {"image_size": 512}, "`image_size` must be 128 or 256. Received: image_size=512"),
    ],
)
def test_wrong_arguments(build, arguments, message):
    with pytest.raises(ValueError, match=message):
        build(**arguments)


def test_convolution_of_four_pads_as_the_table_says():
    """An impulse through a convolution shows the kernel, shifted by the padding."""
    network = net4(128, width=0.05, untied_biases=False)
    for name, padding in (("conv6", 2), ("conv7", 1)):
        kernel = network.get_layer(f"{name}_kernel").kernel.numpy()
        side, channels = 14 if padding == 2 else 15, kernel.shape[2]
        x = np.zeros((1, side, side, channels), "float32")
        x[0, 6, 9, 0] = 1
        padded = network.get_layer(f"pad{name[4:]}")(x)
        y = np.asarray(network.get_layer(f"{name}_kernel")(padded))[0] - 0.05
        # Output (i, j) reads input rows i - padding ... i - padding + 3: the tap is 6 - i + padding.
        for i, j in ((6, 9), (5, 8), (7, 10)):
            np.testing.assert_allclose(y[i, j], kernel[6 - i + padding, 9 - j + padding, 0], atol=1e-6)


JAX_CHECK = """
import sys
import keras
import numpy as np
from dr_keras.models import nets
assert keras.backend.backend() == "jax", keras.backend.backend()
assert "tensorflow" not in sys.modules
saved = np.load(sys.argv[1])
for name in ("net5", "net4"):
    network = getattr(nets, name)(128, width=0.25)
    network.set_weights([saved[f"{name}/{index}"] for index in range(len(network.weights))])
    scores = np.asarray(network(saved["windows"]))
    assert scores.dtype == np.float32
    np.testing.assert_allclose(scores, saved[f"{name}/scores"], atol=1e-4)
print("equal")
"""


def test_networks_run_on_jax(tmp_path):
    if importlib.util.find_spec("jax") is None:
        pytest.skip("jax isn't installed")
    arrays = {"windows": windows_of(net5(128, width=0.25))}
    for name in ("net5", "net4"):
        network = getattr(nets, name)(128, width=0.25, seed=5)
        randomise_biases(network)
        arrays |= {f"{name}/{index}": weight for index, weight in enumerate(network.get_weights())}
        arrays[f"{name}/scores"] = np.asarray(network(arrays["windows"]))
    np.savez(tmp_path / "weights.npz", **arrays)
    command = [sys.executable, "-c", JAX_CHECK, str(tmp_path / "weights.npz")]
    environment = os.environ | {"KERAS_BACKEND": "jax", "JAX_PLATFORMS": "cpu"}
    run = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    assert run.stdout.strip() == "equal"
