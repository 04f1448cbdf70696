"""Net-5, Net-4 and their RAM variants: P2 table 1 as data, and one builder that reads it.

A network takes a standardised *window*, the part of a stored image that augmentation leaves: 112, 224, 448
or 672 pixels wide for images of 128, 256, 512 or 768 pixels. `grader_model.build_grader` makes the model that
takes whole images in pixels 0-255.
"""

import dataclasses
import itertools

import keras
from keras import layers

from dr_keras.models.layers import Maxout, RMSPooling2D, UntiedBias

WINDOWS = {128: 112, 256: 224, 512: 448, 768: 672}
HEADS = ("gap", "dense")
INITIAL_BIAS = 0.05  # as in the published configuration; P2's text has orthogonal biases as well
LEAKY_SLOPE = 0.01
DROPOUT = 0.5


@dataclasses.dataclass(frozen=True)
class Conv:
    """A row "Conv" of P2 table 1. `padding` is a number of pixels on each side, or "same"."""

    layer: int
    filters: int
    kernel: int
    stride: int = 1
    padding: int | str = "same"


@dataclasses.dataclass(frozen=True)
class Pool:
    """A row "MaxPool" of P2 table 1: 3x3 with stride 2, or another stride in the RAM networks."""

    layer: int
    stride: int = 2
    padding: str = "valid"


# P2 table 1, with the paper's layer numbers: 1 is the input, 19 the global pooling, 20 the output.
NET5 = (
    Conv(2, 32, 5, stride=2),
    Conv(3, 32, 3),
    Pool(4),
    Conv(5, 64, 5, stride=2),
    Conv(6, 64, 3),
    Conv(7, 64, 3),
    Pool(8),
    Conv(9, 128, 3),
    Conv(10, 128, 3),
    Conv(11, 128, 3),
    Pool(12),
    Conv(13, 256, 3),
    Conv(14, 256, 3),
    Conv(15, 256, 3),
    Pool(16),
    Conv(17, 512, 3),
    Conv(18, 512, 3),
)
NET4 = (
    Conv(2, 32, 4, stride=2, padding=1),
    Conv(3, 32, 4, padding=2),
    Pool(4),
    Conv(5, 64, 4, stride=2, padding=1),
    Conv(6, 64, 4, padding=2),
    Conv(7, 64, 4, padding=1),
    Pool(8),
    Conv(9, 128, 4, padding=2),
    Conv(10, 128, 4, padding=1),
    Conv(11, 128, 4, padding=2),
    Pool(12),
    Conv(13, 256, 4, padding=2),
    Conv(14, 256, 4, padding=1),
    Conv(15, 256, 4, padding=2),
    Pool(16),
    Conv(17, 512, 4),
)
_LAST_LAYER = {128: 11, 256: 15, 512: 18, 768: 18}  # networks for smaller images end earlier (P2 section 4.4)


def net5(image_size=512, head="gap", untied_biases=True, width=1.0, seed=0, name="net5"):
    """Builds Net-5 (P2 table 1).

    Args:
        image_size: side of the stored image: 128, 256, 512 or 768. The network's input is the
            window of it, (batch, window, window, 3), standardised; see `WINDOWS`.
        head: "gap" (global average pooling and one linear unit) or "dense" (the paper's baseline).
        untied_biases: one bias per channel and position; otherwise one per channel.
        width: factor on the number of filters.
        seed: seed of the initial weights.
        name: name of the model.

    Returns:
        A functional `keras.Model` with output (batch, 1), float32, in grade units. Its layers are
        named after the paper's: `conv2` ... `conv18`, `pool4`, ..., `gap`, `score`.

    Raises:
        ValueError: if an argument isn't one of those listed.
    """
    return _build(NET5, image_size, head, untied_biases, width, seed, name, rms_stride=3)


def net4(image_size=512, head="gap", untied_biases=True, width=1.0, seed=0, name="net4"):
    """Builds Net-4 (P2 table 1). Arguments, result and errors as for `net5`."""
    return _build(NET4, image_size, head, untied_biases, width, seed, name, rms_stride=2)


def ram_net5(image_size=256, untied_biases=True, width=1.0, seed=0, name="ram_net5"):
    """Builds Net-5 with finer regression activation maps (RAM), P2 section 4.5.1.

    The maps have 54x54 cells for images of 128 pixels and 56x56 cells for 256 pixels.

    Arguments, result and errors as for `net5`; the head is always "gap".
    """
    if image_size not in (128, 256):
        raise ValueError(f"`image_size` must be 128 or 256. Received: image_size={image_size}")
    rows = [row for row in NET5 if row.layer <= _LAST_LAYER[image_size]]
    if image_size == 128:  # every stride 1, except max pool 8
        rows = [row if row.layer == 8 else dataclasses.replace(row, stride=1) for row in rows]
    else:  # no pools 8 and 12; conv 5 at stride 1 and pool 4 padded, which the figure's 56x56 need
        rows = [row for row in rows if row.layer not in (8, 12)]
        rows = [dataclasses.replace(row, stride=1) if row.layer == 5 else row for row in rows]
        rows = [dataclasses.replace(row, padding="same") if row.layer == 4 else row for row in rows]
    return _build(rows, image_size, "gap", untied_biases, width, seed, name, rms_stride=None)


def _build(rows, image_size, head, untied_biases, width, seed, name, rms_stride):
    if image_size not in WINDOWS:
        raise ValueError(f"`image_size` must be one of {sorted(WINDOWS)}. Received: image_size={image_size}")
    if head not in HEADS:
        raise ValueError(f"`head` must be one of {HEADS}. Received: head={head!r}")
    if width <= 0:
        raise ValueError(f"`width` must be positive. Received: width={width}")
    window = WINDOWS[image_size]
    inputs = keras.Input((window, window, 3), name="window")
    x = inputs
    rows = [row for row in rows if row.layer <= _LAST_LAYER[image_size]]
    for row, following in itertools.zip_longest(rows, rows[1:]):
        if isinstance(row, Pool):
            x = layers.MaxPooling2D(3, row.stride, padding=row.padding, name=f"pool{row.layer}")(x)
        else:
            x = _convolution(x, row, max(1, round(row.filters * width)), untied_biases, seed)
            convolution = row.layer
        # Leaky ReLU keeps the order of values, so it gives the same behind a max pool, on a quarter of them.
        if not isinstance(following, Pool):
            x = layers.LeakyReLU(negative_slope=LEAKY_SLOPE, name=f"conv{convolution}")(x)
    x = _gap_head(x, seed) if head == "gap" else _dense_head(x, rms_stride, seed)
    return keras.Model(inputs, x, name=name)


def _convolution(x, row, filters, untied_biases, seed):
    """Convolution and bias. The leaky ReLU that follows has the name with the paper's layer number."""
    padding = "same"
    if row.padding != "same":
        x = layers.ZeroPadding2D(row.padding, name=f"pad{row.layer}")(x)
        padding = "valid"
    x = layers.Conv2D(
        filters,
        row.kernel,
        row.stride,
        padding=padding,
        use_bias=not untied_biases,
        kernel_initializer=_orthogonal(seed, row.layer),
        bias_initializer=keras.initializers.Constant(INITIAL_BIAS),
        name=f"conv{row.layer}_kernel",
    )(x)
    if untied_biases:
        x = UntiedBias(INITIAL_BIAS, name=f"conv{row.layer}_bias")(x)
    return x


def _gap_head(x, seed):
    x = layers.GlobalAveragePooling2D(dtype="float32", name="gap")(x)
    return _score(x, seed)


def _dense_head(x, rms_stride, seed):
    """The baseline head of P2, taken from the Kaggle solution that the paper builds on."""
    x = RMSPooling2D(3, rms_stride, name="rms_pool")(x)
    x = layers.Flatten(name="flatten")(x)
    for index in (1, 2):
        x = layers.Dropout(DROPOUT, seed=seed * 1000 + index, name=f"dropout{index}")(x)
        x = layers.Dense(
            1024,
            kernel_initializer=_orthogonal(seed, 100 + index),
            bias_initializer=keras.initializers.Constant(INITIAL_BIAS),
            name=f"dense{index}",
        )(x)
        x = layers.LeakyReLU(negative_slope=LEAKY_SLOPE, name=f"dense{index}_activation")(x)
        x = Maxout(2, name=f"maxout{index}")(x)
    return _score(x, seed)


def _score(x, seed):
    return layers.Dense(
        1,
        kernel_initializer=_orthogonal(seed, 200),
        bias_initializer=keras.initializers.Constant(INITIAL_BIAS),
        dtype="float32",
        name="score",
    )(x)


def _orthogonal(seed, layer):
    """The paper's initializer, with a separate seed for every layer."""
    return keras.initializers.Orthogonal(gain=1.0, seed=seed * 1000 + layer)
