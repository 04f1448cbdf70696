"""EfficientNet-Lite 0 to 2: pretrained backbones with a head that yields regression activation maps.

The architecture is EfficientNet's table (Tan and Le 2019, arXiv:1905.11946) with the changes of
TensorFlow's "lite" builder: no squeeze and excitation, ReLU6 in place of swish, and neither the stem, the
head nor the depth of the first and the last stage is scaled. Convolutions pad as TensorFlow's "same", which
the published PyTorch implementation reproduces. Batch normalisation with stored statistics is a linear
function of each channel, so it is folded into the convolutions, which run twice as fast and remain trainable.
"""

import dataclasses
import itertools
import math

import keras
from keras import layers

HEADS = ("gap", "multiscale")
# The published weights were trained on (pixel - 127) / 128, pixels 0-255.
MEAN, SD = (127.0, 127.0, 127.0), (128.0, 128.0, 128.0)
STEM_FILTERS, HEAD_FILTERS = 32, 1280
_FINE = "block6a_expand_relu"  # the last and widest layer of stride 16


@dataclasses.dataclass(frozen=True)
class Stage:
    """A row of EfficientNet's table: inverted residual blocks; only the first of them has the stride."""

    repeats: int
    kernel: int
    stride: int
    expansion: int
    filters: int


STAGES = (
    Stage(1, 3, 1, 1, 16),
    Stage(2, 3, 2, 6, 24),
    Stage(2, 5, 2, 6, 40),
    Stage(3, 3, 2, 6, 80),
    Stage(3, 5, 1, 6, 112),
    Stage(4, 5, 2, 6, 192),
    Stage(1, 3, 1, 6, 320),
)


def efficientnet_lite0(image_size=384, head="gap", seed=0, name="efficientnet_lite0"):
    """Builds EfficientNet-Lite0 (width 1.0, depth 1.0).

    Args:
        image_size: side of the stored image, a multiple of 32, and of the network's input, (batch,
            image_size, image_size, 3), standardised with `MEAN` and `SD`. No margin is cut off: the outer
            eighth of the radius holds a quarter of the retina that a photograph shows. None takes images of
            any height and width that are such multiples.
        head: "gap": global average pooling of the last convolution and one linear unit; "multiscale": the
            same of the last block's projection and, for a finer map, of a layer with stride 16.
        seed: seed of the initial weights.
        name: name of the model.

    Returns:
        A functional `keras.Model` with output (batch, 1), float32, in grade units. Its layers are
        `stem_conv`, `block1a_depthwise`, ..., `block7a_project`, `head_conv`, each with its `_relu`
        (`stem_relu`, `block1a_depthwise_relu`, ...) behind it but the projections; blocks with a
        shortcut end in `block2b_add`; then `gap` and `score`.

    Raises:
        ValueError: if an argument isn't one of those listed.
    """
    return _build(1.0, 1.0, image_size, head, seed, name)


def efficientnet_lite1(image_size=384, head="gap", seed=0, name="efficientnet_lite1"):
    """Builds EfficientNet-Lite1 (width 1.0, depth 1.1). Arguments, result, errors: `efficientnet_lite0`."""
    return _build(1.0, 1.1, image_size, head, seed, name)


def efficientnet_lite2(image_size=384, head="gap", seed=0, name="efficientnet_lite2"):
    """Builds EfficientNet-Lite2 (width 1.1, depth 1.2). Arguments, result, errors: `efficientnet_lite0`."""
    return _build(1.1, 1.2, image_size, head, seed, name)


def _build(width, depth, image_size, head, seed, name):
    if image_size is not None and (image_size < 32 or image_size % 32):
        raise ValueError(f"`image_size` must be a multiple of 32. Received: image_size={image_size}")
    if head not in HEADS:
        raise ValueError(f"`head` must be one of {HEADS}. Received: head={head!r}")
    inputs = keras.Input((image_size, image_size, 3), name="window")
    draw = _initializers(seed)
    x = layers.Conv2D(STEM_FILTERS, 3, 2, "same", kernel_initializer=draw(), name="stem_conv")(inputs)
    x = _relu6(x, "stem")
    for number, stage in enumerate(STAGES, start=1):
        scaled = stage not in (STAGES[0], STAGES[-1])
        repeats = math.ceil(stage.repeats * depth) if scaled else stage.repeats
        filters = _rounded(stage.filters * width)
        for index in range(repeats):
            stride = stage.stride if index == 0 else 1
            x = _block(x, stage, stride, filters, f"block{number}{'abcdefgh'[index]}", draw)
    if head == "multiscale":
        fine = keras.Model(inputs, x).get_layer(_FINE).output
        # Repeating cells keeps their mean, so global average pooling gives both layers' means side by side.
        coarse = layers.UpSampling2D(2, interpolation="nearest", name="coarse")(x)
        x = layers.Concatenate(name="scales")([fine, coarse])
    elif head == "gap":
        x = layers.Conv2D(HEAD_FILTERS, 1, kernel_initializer=draw(), name="head_conv")(x)
        x = _relu6(x, "head")
    x = layers.GlobalAveragePooling2D(dtype="float32", name="gap")(x)
    # From zero: random weights here would pull at a trained backbone before they mean anything.
    x = layers.Dense(1, kernel_initializer="zeros", dtype="float32", name="score")(x)
    return keras.Model(inputs, x, name=name)


def _block(x, stage, stride, filters, name, draw):
    """Expansion, depthwise convolution, projection, and a shortcut where the shape stays the same."""
    shortcut, channels = x, x.shape[-1]
    expand, depthwise, project = (f"{name}_{step}" for step in ("expand", "depthwise", "project"))
    if stage.expansion != 1:
        x = layers.Conv2D(channels * stage.expansion, 1, kernel_initializer=draw(), name=expand)(x)
        x = _relu6(x, expand)
    x = layers.DepthwiseConv2D(stage.kernel, stride, "same", depthwise_initializer=draw(), name=depthwise)(x)
    x = _relu6(x, depthwise)
    x = layers.Conv2D(filters, 1, kernel_initializer=draw(), name=project)(x)
    return layers.Add(name=f"{name}_add")([x, shortcut]) if stride == 1 and channels == filters else x


def _relu6(x, name):
    return layers.ReLU(max_value=6.0, name=f"{name}_relu")(x)


def _rounded(filters):
    """The nearest multiple of 8, or the next higher one if the nearest is below 90 % of `filters`."""
    nearest = max(8, int(filters + 4) // 8 * 8)
    return nearest + 8 if nearest < 0.9 * filters else nearest


def _initializers(seed):
    """Returns a function that makes the published initializer, with another seed at each call."""
    seeds = itertools.count(seed * 1000)
    return lambda: keras.initializers.VarianceScaling(2.0, "fan_out", "untruncated_normal", next(seeds))
