"""The blend network, from both eyes' pooled features to one eye's score (P2 section 4.2)."""

import keras
from keras import layers

from dr_keras.models.layers import Maxout

UNITS, PIECES = 32, 2
L1, L2 = 2e-5, 0.005
_INITIAL_BIAS = 0.01


def blend_network(mean, sd, seed=0, name="blend"):
    """Builds dense 32 -> maxout 16 -> dense 32 -> maxout 16 -> 1, on standardised features.

    Kernels carry L2, those of the first layer L1 too, as losses of the layers (`model.losses`).

    Args:
        mean, sd: arrays (features,) of the training set; a feature whose sd is 0 is only shifted.
        seed: seed of the initial weights.
        name: name of the model.

    Returns:
        A functional `keras.Model` from float32 (batch, features) to scores (batch, 1), in grade units. Its
        layers are `standardize`, `dense1`, `maxout1`, `dense2`, `maxout2` and `score`.

    Raises:
        ValueError: if `mean` and `sd` aren't equally long.
    """
    if len(mean) != len(sd):
        raise ValueError(
            f"`mean` and `sd` must be equally long. Received: {len(mean)} means and {len(sd)} deviations"
        )
    variance = [float(value) ** 2 or 1.0 for value in sd]
    inputs = keras.Input((len(mean),), name="features")
    x = layers.Normalization(mean=[float(value) for value in mean], variance=variance, name="standardize")(
        inputs
    )
    for index, regularizer in enumerate(
        (keras.regularizers.L1L2(L1, L2), keras.regularizers.L2(L2)), start=1
    ):
        x = _dense(UNITS, f"dense{index}", regularizer, seed * 10 + index, activation="relu")(x)
        x = Maxout(PIECES, name=f"maxout{index}")(x)
    outputs = _dense(1, "score", keras.regularizers.L2(L2), seed * 10)(x)
    return keras.Model(inputs, outputs, name=name)


def _dense(units, name, regularizer, seed, activation=None):
    return layers.Dense(
        units,
        activation,
        kernel_initializer=keras.initializers.Orthogonal(gain=2**0.5, seed=seed),
        bias_initializer=keras.initializers.Constant(_INITIAL_BIAS if activation else 0.0),
        kernel_regularizer=regularizer,
        name=name,
    )
