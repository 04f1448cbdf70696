"""A fully convolutional network that marks diabetic lesions, pixel by pixel, and the graders made of it."""

import keras
import numpy as np
from keras import layers

from dr_keras.lesion_kinds import CHANNELS
from dr_keras.models import efficientnet, efficientnet_weights
from dr_keras.models.layers import STEPS, OrdinalScore, Standardize
from dr_keras.models.lesion_layers import LesionShares, LocalContrast

SEGMENTER = "segmenter"  # name of the network of pixels inside the one of scores
CONTEXT, BACKBONE = "context", "backbone"  # the second term of `lesion_efficientnet`, and what it is made of
ENCODER = "encoder"  # of the segmenter
# Its outputs, at 1/2, 1/4, 1/8 and 1/16 of the image's scale.
_STAGES = ("block1a_project", "block2b_add", "block3b_add", "block5c_add")
_NORM = "_norm"  # ending of the names of batch normalisations
WIDTHS = (24, 32, 48, 96, 128)


def lesion_net(image_size=1024, seed=0, widths=WIDTHS, name="lesion_net"):
    """Builds a grader's network whose evidence is a segmentation of lesions.

    It marks the lesions (`lesion_segmenter`), divides what counts of them among their pixels (`LesionShares`)
    and ends in global average pooling and an `OrdinalScore`. So its regression activation map (P2 section
    4.5) is 0 outside lesions, and the score is its mean plus the bias.

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
    x = OrdinalScore(name="score")(x)
    return keras.Model(inputs, x, name=name)


def lesion_efficientnet(image_size=1024, seed=0, widths=WIDTHS, name="lesion_efficientnet"):
    """Builds `lesion_net` with a second term: what the look of the retina says besides its lesions.

    An EfficientNet-Lite0 sees the image at half its size, each of whose pixels is the mean of four, so that
    noise and compression hardly reach it. Four linear units turn its features, at each of its cells, into the
    maps `context`: logits of the grade being above 0, 1, 2 and 3, on average 0 for healthy eyes. The score is
    an `OrdinalScore` of the means of the lesions' shares and of those maps. So the score is still the mean of
    one map plus a bias, and each term's part of it is known.

    Args:
        image_size: side of the square images, a multiple of 64.
        seed, widths, name: as for `lesion_net`.

    Returns:
        A functional `keras.Model` like that of `lesion_net`, with the further layers `backbone` and
        `context`. The cells of its map are 32 pixels wide.

    Raises:
        ValueError: if `image_size` isn't a multiple of 64.
    """
    if image_size < 64 or image_size % 64:
        raise ValueError(f"`image_size` must be a multiple of 64. Received: image_size={image_size}")
    whole = efficientnet.efficientnet_lite0(image_size // 2, "multiscale", seed)
    backbone = keras.Model(whole.inputs, whole.get_layer("scales").output, name=BACKBONE)
    inputs = keras.Input((image_size, image_size, 3), name="window", dtype="float32")
    found = lesion_segmenter(image_size, seed, widths, folded=True)(inputs)
    found = LesionShares(cell=image_size // backbone.output.shape[1], name="shares")(found)
    half = layers.AveragePooling2D(2, name="half")(inputs)
    half = Standardize(efficientnet.MEAN, efficientnet.SD, name="standardized_half")(half)
    context = layers.Conv2D(STEPS, 1, kernel_initializer="zeros", dtype="float32", name=CONTEXT)
    x = layers.Concatenate(name="evidence")([found, context(backbone(half))])
    x = layers.GlobalAveragePooling2D(dtype="float32", name="gap")(x)
    x = OrdinalScore(name="score")(x)
    return keras.Model(inputs, x, name=name)


def load_backbones(network, path):
    """Loads published weights of EfficientNet-Lite0 into a lesion network's encoder, and its backbone if it
    has one; errors as for `efficientnet_weights.load_trunk`.
    """
    published = efficientnet.efficientnet_lite0(64, "multiscale")
    efficientnet_weights.load_trunk(published, path)
    parts = [network.get_layer(SEGMENTER).get_layer(ENCODER)]
    parts += [layer for layer in network.layers if layer.name == BACKBONE]
    for layer in (layer for part in parts for layer in part.layers if layer.weights):
        layer.set_weights(published.get_layer(layer.name).get_weights())


def lesion_segmenter(image_size=None, seed=0, widths=WIDTHS, folded=False, name=SEGMENTER):
    """Builds an encoder of EfficientNet-Lite0's first five stages and a decoder of ordinary convolutions.

    The encoder's features at 1/2, 1/4, 1/8 and 1/16 of the image's scale, and one more level at 1/32, meet in
    the decoder on their way back to the whole scale. At 1/2 they meet `LocalContrast` too, which is the same
    for any exposure and white balance.

    Args:
        image_size: side of the square images, a multiple of 32; None for any height and width that are.
        seed: seed of the initial weights.
        widths: channels of the decoder at each level, from half the image's scale on.
        folded: whether the decoder's convolutions have a bias in place of the batch normalisation that they
            are trained with; see `fold_normalization`.
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

    whole = efficientnet.efficientnet_lite0(image_size, "multiscale", seed)
    encoder = keras.Model(whole.inputs, [whole.get_layer(stage).output for stage in _STAGES], name=ENCODER)
    inputs = keras.Input((image_size, image_size, 3), name="image", dtype="float32")
    standardized = Standardize(efficientnet.MEAN, efficientnet.SD, name="standardize")(inputs)
    levels = [
        convolution(x, width, 1, 1, f"skip{level}")
        for level, (x, width) in enumerate(zip(encoder(standardized), widths), start=1)
    ]
    fine = convolution(LocalContrast(name="contrast")(inputs), widths[0], 5, 2, "fine")
    levels[0] = layers.Add(name="skip1_add")([levels[0], fine])
    x = convolution(levels[-1], widths[-1], 3, 2, "down5")
    x = layers.Add(name="down5_add")([x, convolution(x, widths[-1], 3, 1, "down5_residual")])
    for level in range(len(levels), 0, -1):
        x = convolution(x, widths[level - 1], 1, 1, f"up{level}_reduce")
        x = layers.UpSampling2D(2, interpolation="nearest", name=f"up{level}_double")(x)
        x = layers.Add(name=f"up{level}_add")([x, levels[level - 1]])
        residual = convolution(x, widths[level - 1], 3, 1, f"up{level}")
        x = layers.Add(name=f"up{level}_residual")([x, residual]) if level > 1 else residual
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
