import keras
import pytest

from dr_keras.errors import InputError
from dr_keras.explain.activations import cell_grid, last_activation, layer_output
from dr_keras.explain.ram import ram_grid
from dr_keras.models.grader_model import build_grader, network_and_front
from dr_keras.models.nets import net4, net5, ram_net5


def grader(network, size):
    return build_grader(network, size, (0, 0, 0), (1, 1, 1))


def test_cells_of_net5_by_hand():
    # Of 112 pixels conv2 (5x5, stride 2, 1 pixel of padding before) has its centres at 2i + 1, conv3 too;
    # pool4 (3x3, stride 2) at 2 (2i + 1) + 1 = 4i + 3; conv5 of 27 cells (2 before) at 8i + 3; pool8 at
    # 8 (2i + 1) + 3 = 16i + 11. Then 8 pixels of the crop, and half of one.
    grid = ram_grid(grader(net5(128, width=0.1), 128))
    assert grid.offset == (19.5, 19.5) and grid.step == (16, 16) and grid.window == (8, 8, 112, 112)


def test_cells_of_the_ram_networks_by_hand():
    # 128 px: stride 1 throughout but pool 8; pools 4 and 8 shift by one pixel each.
    grid = ram_grid(grader(ram_net5(128, width=0.1), 128))
    assert grid.offset == (10.5, 10.5) and grid.step == (2, 2)
    # 256 px: conv 2 at 2i + 1, pool 4 padded (0 before, of 112 cells) at 2 (2i + 1) + 1 = 4i + 3.
    grid = ram_grid(grader(ram_net5(256, width=0.1), 256))
    assert grid.offset == (19.5, 19.5) and grid.step == (4, 4)


def test_padding_layers_of_net4_are_followed():
    # conv2 (4, stride 2, 1 before) at 2i + 0.5, conv3 (4, 2 before) one half back: 2i - 0.5.
    model = grader(net4(128, width=0.1), 128)
    network, _ = network_and_front(model)
    grid = cell_grid(model, layer_output(network, "conv3_bias"))
    assert grid.step == (2, 2) and grid.offset == (8 - 0.5 + 0.5, 8 - 0.5 + 0.5)


def test_windows_moved_over_the_input():
    grid = cell_grid(grader(net5(128, width=0.1), 128), size=10, stride=4)
    assert grid.offset == (8 + 5, 8 + 5) and grid.step == (4, 4)


def test_sums_and_gates_are_followed_to_the_input_of_their_size():
    inputs = keras.Input((16, 16, 3))
    x = keras.layers.Conv2D(4, 3, 2, padding="same", name="stem")(inputs)
    gate = keras.layers.GlobalAveragePooling2D(keepdims=True)(x)
    x = keras.layers.Multiply(name="gated")([gate, x])
    outputs = keras.layers.Dense(1)(keras.layers.GlobalAveragePooling2D()(x))
    network = keras.Model(inputs, outputs)
    assert cell_grid(network, network.get_layer("gated").output) == cell_grid(
        network, network.get_layer("stem").output
    )


def test_wrong_layer_names_the_right_ones():
    with pytest.raises(InputError, match="--layer=conv99: expected a layer of 'net5' .*conv9, "):
        layer_output(net5(128, width=0.1), "conv99")
    with pytest.raises(InputError, match="--layer=gap"):
        layer_output(net5(128, width=0.1), "gap")


def test_last_activation_of_both_heads():
    assert last_activation(net5(128, width=0.1)) == "conv11"
    assert last_activation(net5(512, head="dense", width=0.05)) == "conv18"
