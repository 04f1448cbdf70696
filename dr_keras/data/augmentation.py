"""Augmentation as layers that run on the device: one composite warp, and a PCA colour shift (P2).

Nothing random happens in the layers. The pipeline hands every sample its own draws, keyed by
(seed, epoch, sample), so that they are the same on any number of replicas, and a quasi-random
sequence can take their place at test time.
"""

import dataclasses
import math

import keras
from keras import ops

from dr_keras.registration import PACKAGE

NUM_UNIFORM = 6  # rotation, flip, shift y, shift x, log-scale y, log-scale x
NUM_NORMAL = 3  # one per principal component of colour


@dataclasses.dataclass(frozen=True)
class AugmentationConfig:
    """Ranges of the recipe behind P2.

    Attributes:
        rotation: degrees; angles are drawn from [0, rotation).
        flip: mirror half of the images left to right.
        shift: largest translation per axis as a share of the stored image (40 px at 512).
        stretch: largest zoom per axis; factors are log-uniform in [1 / stretch, stretch].
        color_sigma: standard deviation of the shift along each principal component, in standardised units.
    """

    rotation: float = 360.0
    flip: bool = True
    shift: float = 40 / 512
    stretch: float = 1.15
    color_sigma: float = 0.5


def affine_transforms(uniform, image_size, config):
    """Turns unit draws into the warp's matrices.

    Args:
        uniform: float32 (batch, 6) in [0, 1): rotation, flip, shift y, x, log-scale y, x. 0.5 in
            all but the first two, and 0 there, is the identity.
        image_size: side of the stored image in pixels.
        config: `AugmentationConfig`.

    Returns:
        float32 (batch, 8), the flat projective form of `keras.ops.image.affine_transform`: it maps
        an output pixel (x, y) to the input pixel that it is read from.
    """
    rotation, flip, *symmetric = [uniform[:, index] for index in range(NUM_UNIFORM)]
    shift_y, shift_x, scale_y, scale_x = [2.0 * draw - 1.0 for draw in symmetric]
    angle = rotation * math.radians(config.rotation)
    cos, sin = ops.cos(angle), ops.sin(angle)
    mirror = ops.where(flip >= 0.5, -1.0, 1.0) if config.flip else ops.ones_like(flip)
    inverse_y = ops.exp(-math.log(config.stretch) * scale_y)
    inverse_x = ops.exp(-math.log(config.stretch) * scale_x) * mirror
    a0, a1 = cos * inverse_x, -sin * inverse_y
    b0, b1 = sin * inverse_x, cos * inverse_y
    center = (image_size - 1) / 2
    reach = config.shift * image_size
    a2 = center - (a0 + a1) * center + reach * shift_x
    b2 = center - (b0 + b1) * center + reach * shift_y
    zero = ops.zeros_like(a0)
    return ops.stack([a0, a1, a2, b0, b1, b2, zero, zero], axis=1)


def warp(images, transforms, window=None):
    """Warps images with one bilinear interpolation; what lies outside is black.

    Written as one gather and arithmetic, so that XLA fuses it with what follows into a single loop over
    the window's pixels: on CPUs several times faster than `keras.ops.image.affine_transform`, which
    TensorFlow computes for the whole image and channel by channel.

    Args:
        images: (batch, height, width, channels), of any dtype.
        transforms: float32 (batch, 8), from output to input pixels; the last two are taken as 0.
        window: side of the square to cut out of the centre of the warped images; default: all of them.

    Returns:
        float32 (batch, window, window, channels), or the shape of `images`.
    """
    height, width, channels = images.shape[1:]
    x, y = _source_positions(transforms, height, width, window)
    left, top = ops.minimum(ops.floor(x), width - 1.0), ops.minimum(ops.floor(y), height - 1.0)
    right_share, bottom_share = (x - left)[..., None], (y - top)[..., None]
    # A black border of one pixel stands for all that lies outside.
    pixels = ops.reshape(ops.pad(images, ((0, 0), (1, 1), (1, 1), (0, 0))), (-1,))
    row = ops.arange(ops.shape(images)[0])[:, None, None] * (height + 2) + ops.cast(top, "int32") + 1
    position = row * (width + 2) + ops.cast(left, "int32") + 1
    first = position[..., None] * channels + ops.arange(channels)

    def neighbour(down, across):
        return ops.cast(ops.take(pixels, first + (down * (width + 2) + across) * channels), "float32")

    upper = neighbour(0, 0) * (1.0 - right_share) + neighbour(0, 1) * right_share
    lower = neighbour(1, 0) * (1.0 - right_share) + neighbour(1, 1) * right_share
    return upper * (1.0 - bottom_share) + lower * bottom_share


def _source_positions(transforms, height, width, window):
    """Where output pixels are read from: x and y, float32 (batch, rows, columns), at most a pixel outside."""
    rows, columns = (height, width) if window is None else (window, window)
    y = ops.arange(rows, dtype="float32")[:, None] + (height - rows) // 2
    x = ops.arange(columns, dtype="float32") + (width - columns) // 2
    a0, a1, a2, b0, b1, b2 = [transforms[:, index, None, None] for index in range(6)]
    return ops.clip(a0 * x + a1 * y + a2, -1.0, width), ops.clip(b0 * x + b1 * y + b2, -1.0, height)


@keras.saving.register_keras_serializable(package=PACKAGE)
class FundusAugmentation(keras.layers.Layer):
    """Warps and recolours stored images and cuts the network's window out of their centre.

    Call with `(images, uniform, normal)`: images (batch, image_size, image_size, 3), RGB, 0-255 of
    any dtype; uniform (batch, 6) in [0, 1); normal (batch, 3). Returns float32 (batch, window,
    window, 3), RGB; the colour shift may leave 0-255. With `training=False` the draws are ignored
    and only the centre is cut out.

    Args:
        image_size: side of the stored image in pixels.
        window: side of the network's window.
        config: `AugmentationConfig`, or its dict.
        color_components: (3, 3); column k is the pixel shift, 0-255, of one standard deviation along
            component k.
    """

    def __init__(self, image_size, window, config=None, color_components=None, **kwargs):
        kwargs["dtype"] = "float32"  # bfloat16 has 8 bits: grey levels and their fractions need more
        super().__init__(**kwargs)
        self.image_size = image_size
        self.window = window
        self.config = (
            AugmentationConfig(**config) if isinstance(config, dict) else config or AugmentationConfig()
        )
        self.color_components = color_components
        self.crop = keras.layers.CenterCrop(window, window, dtype="float32")

    def build(self, input_shape):
        """Builds the crop too, which training doesn't call."""
        self.crop.build(input_shape)

    def call(self, images, uniform=None, normal=None, training=False):
        """Augments if `training`, else cuts out the centre."""
        if not training:
            return self.crop(ops.cast(images, "float32"))
        windows = warp(images, affine_transforms(uniform, self.image_size, self.config), self.window)
        if self.color_components is None:
            return windows
        components = ops.array(self.color_components, "float32") * self.config.color_sigma
        return windows + ops.matmul(normal, ops.transpose(components))[:, None, None, :]

    def compute_output_shape(self, input_shape):
        """Returns (batch, window, window, 3)."""
        return (input_shape[0], self.window, self.window, input_shape[3])

    def get_config(self):
        """Returns the arguments that rebuild the layer."""
        components = self.color_components
        return {
            **super().get_config(),
            "image_size": self.image_size,
            "window": self.window,
            "config": dataclasses.asdict(self.config),
            "color_components": None if components is None else [list(map(float, row)) for row in components],
        }
