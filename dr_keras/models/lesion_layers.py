"""Layers of lesion networks: local contrast in front, and shares of the score behind."""

import keras
from keras import ops

from dr_keras.lesion_kinds import LESIONS
from dr_keras.registration import PACKAGE


@keras.saving.register_keras_serializable(package=PACKAGE)
class LocalContrast(keras.layers.Layer):
    """Each colour against its local mean, in local standard deviations, beside that mean itself.

    A lesion is darker or brighter than the retina around it, whatever the exposure, the white balance or the
    contrast of the camera. The local mean and deviation are those of the retina alone: pixels of the dark
    surround don't count, and become 0.

    Input (batch, height, width, 3), RGB, 0-255; output (batch, height, width, 6), float32: three contrasts,
    limited to +-`limit`, and three means divided by 128, less 1. Height and width are multiples of `cell`.

    Args:
        cell: side, in pixels, of the blocks that are averaged first.
        reach: blocks, an odd number, over whose square each mean goes: twice in a row.
        dark: pixels whose brightest colour isn't above this grey level are surround.
        limit: largest absolute contrast.
    """

    def __init__(self, cell=16, reach=5, dark=10.0, limit=6.0, **kwargs):
        kwargs["dtype"] = "float32"  # bfloat16 has 8 bits: a microaneurysm differs by less
        super().__init__(**kwargs)
        self.cell, self.reach, self.dark, self.limit = cell, reach, dark, limit

    def call(self, images):
        """Computes contrasts and means."""
        images = ops.cast(images, "float32")
        seen = ops.cast(ops.max(images, axis=-1, keepdims=True) > self.dark, "float32")
        pixels = images * (seen / 128.0)
        sums = self._blurred(ops.concatenate([pixels, ops.square(pixels), seen], axis=-1))
        share = ops.maximum(sums[..., 6:], 1e-3)
        mean, square = sums[..., :3] / share, sums[..., 3:6] / share
        deviation = ops.sqrt(ops.maximum(square - ops.square(mean), 0.0)) + 0.02
        size = ops.shape(images)[1:3]
        both = ops.image.resize(ops.concatenate([mean, 1.0 / deviation], axis=-1), size, "bilinear")
        contrast = (pixels - both[..., :3]) * both[..., 3:]
        contrast = ops.clip(contrast, -self.limit, self.limit)
        return ops.concatenate([contrast, both[..., :3] - 1.0], axis=-1) * seen

    def _blurred(self, values):
        values = ops.average_pool(values, self.cell, self.cell, padding="valid")
        for _ in range(2):
            values = ops.average_pool(values, self.reach, 1, padding="same")
        return values

    def compute_output_shape(self, input_shape):
        """Returns (batch, height, width, 6)."""
        return (*input_shape[:3], 6)

    def get_config(self):
        """Returns the arguments that rebuild the layer."""
        own = {"cell": self.cell, "reach": self.reach, "dark": self.dark, "limit": self.limit}
        return {**super().get_config(), **own}


@keras.saving.register_keras_serializable(package=PACKAGE)
class LesionShares(keras.layers.Layer):
    """Divides what is counted of each kind of lesion among the cells of a grid that show it.

    The amount of a lesion kind in a region is the sum over its pixels of what their probability has beyond
    `least`, in units of one microaneurysm's area. What counts is the logarithm of 1 + amount: the tenth
    lesion says less than the first. It is taken once over the whole image and once as the mean over its four
    quadrants, by which the severity scale counts haemorrhages: the same amount counts more if it is spread.
    Each cell gets the share of that logarithm that it has of the amount, times the number of cells, so that
    global average pooling gives the logarithm. So a score behind it has a regression activation map that is
    0 wherever nothing was found, and whose mean plus the bias is the score.

    Input (batch, height, width, channels), probabilities, the lesions first; height and width are twice a
    multiple of `cell`. Output (batch, height / cell, width / cell, 8), float32: for each of `LESIONS` the
    share over the whole image, then for each of them that of its quadrant.

    Args:
        least: for each of `LESIONS` the probability up to which a pixel counts as free of it.
        unit: area of one microaneurysm, as a share of the image's.
        cell: side of a cell, in pixels. Sums over single pixels would lose digits in float32.
    """

    def __init__(self, least=(0.5, 0.5, 0.5, 0.5), unit=2e-5, cell=8, **kwargs):
        kwargs["dtype"] = "float32"
        super().__init__(**kwargs)
        self.least, self.unit, self.cell = tuple(map(float, least)), unit, cell
        # Named as pooling layers name them, from which a map's geometry is read.
        self.pool_size = self.strides = (cell, cell)
        self.padding = "valid"

    def call(self, probabilities):
        """Computes the shares."""
        least = ops.array(self.least, "float32")
        excess = ops.relu(probabilities[..., : len(LESIONS)] - least) / (1.0 - least)
        cells = ops.average_pool(excess, self.cell, self.cell, padding="valid")
        rows, columns, kinds = cells.shape[1:]
        quarters = ops.reshape(cells, (-1, 2, rows // 2, 2, columns // 2, kinds))
        sums = ops.sum(quarters, axis=(2, 4), keepdims=True) / (rows * columns)
        whole = ops.sum(sums, axis=(1, 3), keepdims=True)
        shares = [quarters * self._factor(whole), quarters * (self._factor(sums) / 4.0)]
        return ops.reshape(ops.concatenate(shares, axis=-1), (-1, rows, columns, 2 * kinds))

    def _factor(self, amount):
        """What a cell's value is multiplied by, given the amount as a share of the image's area."""
        return ops.log(1.0 + amount / self.unit) / ops.maximum(amount, 1e-9)

    def compute_output_shape(self, input_shape):
        """Returns (batch, height / cell, width / cell, 8)."""
        batch, height, width, _ = input_shape
        return (batch, height // self.cell, width // self.cell, 2 * len(LESIONS))

    def get_config(self):
        """Returns the arguments that rebuild the layer."""
        return {**super().get_config(), "least": self.least, "unit": self.unit, "cell": self.cell}
