"""A fully convolutional network that marks diabetic lesions, pixel by pixel."""

import keras
import numpy as np
from keras import layers

from dr_keras.lesion_kinds import CHANNELS
from dr_keras.models.lesion_layers import LesionShares, LocalContrast

SEGMENTER = "segmenter"  # name of the network of pixels inside the one of scores
_NORM = "_norm"  # ending of the names of batch normalisations
WIDTHS = (24, 48, 96, 128, 160)


def lesion_net(image_size=1024, seed=0, widths=WIDTHS, name="lesion_net"):
    """Builds a grader's network whose evidence is a segmentation of lesions.

    It marks the lesions (`lesion_segmenter`), divides what counts of them among their pixels (`LesionShares`)
    and ends in global average pooling and one linear unit. So its regression activation map (P2 section 4.5)
    is 0 outside lesions, and the score is its mean plus the bias.

    Args:
        image_size: side of the square images, a multiple of 32.
        seed: seed of the initial weights.
        widths: see `lesion_segmenter`.
        name: name of the model.

    Returns:
        A functional `keras.Model` of images (batch, image_size, image_size, 3), RGB, 0-255, to scores
        (batch, 1), float32, in grade units, with the layers `segmenter`, `shares`, `gap` and `score`.

    Raises:
        ValueError: if `image_size` isn't a multiple of 32.
    """
    inputs = keras.Input((image_size, image_size, 3), name="window", dtype="float32")
    x = lesion_segmenter(image_size, seed, widths, folded=True)(inputs)
    x = LesionShares(name="shares")(x)
    x = layers.GlobalAveragePooling2D(dtype="float32", name="gap")(x)
    x = layers.Dense(1, kernel_initializer="zeros", dtype="float32", name="score")(x)
    return keras.Model(inputs, x, name=name)


def lesion_segmenter(image_size=None, seed=0, widths=WIDTHS, folded=False, name=SEGMENTER):
    """Builds an encoder and decoder of ordinary convolutions with residual blocks.

    The first convolution halves the image, each further level halves it again; the decoder goes back the same
    way and adds each level's features. All convolutions are ordinary ones, which oneDNN and GPUs compute
    several times faster than depthwise ones of as many multiplications.

    Args:
        image_size: side of the square images, a multiple of 32; None for any height and width that are.
        seed: seed of the initial weights.
        widths: channels of each level, from half the image's scale on.
        folded: whether convolutions have a bias in place of the batch normalisation that they are trained
            with; see `fold_normalization`.
        name: name of the model.

    Returns:
        A functional `keras.Model` of images (batch, height, width, 3), RGB, 0-255, prepared as
        `data.photograph.Photograph.prepare` does (black outside the field of view), any dtype, to
        probabilities (batch, height, width, 5), float32, of `CHANNELS`. A pixel may belong to several.

    Raises:
        ValueError: if `image_size` isn't a multiple of 32.
    """
    stride = 2 ** len(widths)
    if image_size is not None and (image_size < stride or image_size % stride):
        raise ValueError(f"`image_size` must be a multiple of {stride}. Received: image_size={image_size}")
    draw = _Initializers(seed)

    def convolution(x, filters, kernel, stride, name):
        x = layers.Conv2D(
            filters, kernel, stride, "same", use_bias=folded, kernel_initializer=draw(), name=f"{name}_conv"
        )(x)
        x = x if folded else layers.BatchNormalization(momentum=0.98, name=f"{name}{_NORM}")(x)
        return layers.ReLU(name=f"{name}_relu")(x)

    inputs = keras.Input((image_size, image_size, 3), name="image", dtype="float32")
    x = LocalContrast(name="contrast")(inputs)
    levels = []
    for level, width in enumerate(widths, start=1):
        kernel = 5 if level == 1 else 3
        x = convolution(x, width, kernel, 2, f"down{level}")
        residual = convolution(x, width, 3, 1, f"down{level}_residual")
        x = layers.Add(name=f"down{level}_add")([x, residual])
        levels.append(x)
    for level in range(len(widths) - 1, 0, -1):
        x = convolution(x, widths[level - 1], 1, 1, f"up{level}_reduce")
        x = layers.UpSampling2D(2, interpolation="nearest", name=f"up{level}_double")(x)
        x = layers.Add(name=f"up{level}_add")([x, levels[level - 1]])
        x = convolution(x, widths[level - 1], 3, 1, f"up{level}")
    # Lesions are rare: the bias starts the network from there, not from one half.
    x = layers.Conv2DTranspose(
        len(CHANNELS), 4, 2, "same", kernel_initializer=draw(), dtype="float32", name="logits",
        bias_initializer=keras.initializers.Constant(-4.0),
    )(x)  # fmt: skip
    return keras.Model(inputs, layers.Activation("sigmoid", dtype="float32", name="lesions")(x), name=name)


def fold_normalization(trained, folded):
    """Gives a segmenter with `folded=True` the weights of the same one with batch normalisation.

    With stored statistics, batch normalisation is a linear function of each channel, so convolution and
    normalisation are one convolution with a bias: half as many steps, equal results.
    """
    names = {layer.name for layer in trained.layers}
    for layer in folded.layers:
        weights = trained.get_layer(layer.name).get_weights() if layer.name in names else []
        normalization = layer.name.removesuffix("_conv") + _NORM
        if normalization in names:
            norm = trained.get_layer(normalization)
            gamma, beta, mean, variance = norm.get_weights()
            factor = gamma / np.sqrt(variance + norm.epsilon)
            weights = [weights[0] * factor, beta - mean * factor]
        layer.set_weights(weights)


class _Initializers:
    """Makes initializers, each with a seed of its own."""

    def __init__(self, seed):
        self._next = seed * 1000

    def __call__(self):
        self._next += 1
        return keras.initializers.HeNormal(self._next)
