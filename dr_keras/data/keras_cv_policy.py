"""Augmentation made of KerasCV's layers, in the place of `FundusAugmentation`: to compare the two."""

import keras
from keras import ops

from dr_keras.data.augmentation import AugmentationConfig
from dr_keras.errors import InputError

_BRIGHTNESS = 0.1  # of the full range
_SATURATION = (0.45, 0.55)  # 0.5 changes nothing


class KerasCVAugmentation:
    """Rotation, flip, shift, zoom, brightness and saturation by keras-cv 0.9, then the centre crop.

    The ranges are those of `AugmentationConfig`, but every warp interpolates anew, zoom is uniform
    where P2's is log-uniform, and the colour changes take the place of the principal components.

    The layers draw their own random numbers, a sequence that starts from `seed` when the program
    does: not the same on another number of replicas, nor after a training was resumed.

    Args:
        image_size: side of the stored image in pixels.
        window: side of the network's window.
        seed: seed of the draws.

    Raises:
        InputError: if keras-cv isn't installed.
    """

    supports_jit = False  # keras-cv's generators and warps have no XLA kernels

    def __init__(self, image_size, window, seed=0):
        try:
            import keras_cv
        except ImportError as error:
            raise InputError(
                "--augmentation=keras_cv: keras-cv can't be imported; pip install 'dr-keras[keras-cv]' "
                f"(the reason: {error})"
            ) from None
        ranges = AugmentationConfig()
        turn = ranges.rotation / 360 / 2  # to each side, in full turns
        zoom = (1 / ranges.stretch - 1, ranges.stretch - 1)
        seeds = iter(range(6 * seed, 6 * seed + 6))
        warp = {"fill_mode": "constant", "dtype": "float32"}
        sampler = keras_cv.core.UniformFactorSampler
        self.image_size = image_size
        self.window = window
        self._layers = (
            keras_cv.layers.RandomRotation(turn, seed=next(seeds), **warp),
            keras_cv.layers.RandomFlip("horizontal", seed=next(seeds), dtype="float32"),
            keras_cv.layers.RandomTranslation(ranges.shift, ranges.shift, seed=next(seeds), **warp),
            keras_cv.layers.RandomZoom(zoom, zoom, seed=next(seeds), **warp),
            keras_cv.layers.RandomBrightness(
                sampler(-_BRIGHTNESS, _BRIGHTNESS, seed=next(seeds)), dtype="float32"
            ),
            keras_cv.layers.RandomSaturation(sampler(*_SATURATION, seed=next(seeds)), dtype="float32"),
            keras.layers.CenterCrop(window, window, dtype="float32"),
        )

    def __call__(self, images, uniform=None, normal=None, training=False):
        """Augments if `training`, else cuts out the centre. `uniform` and `normal` are not used.

        Args:
            images: (batch, image_size, image_size, 3), RGB, 0-255, of any dtype.

        Returns:
            float32 (batch, window, window, 3), RGB, 0-255.
        """
        windows = ops.cast(images, "float32")
        for layer in self._layers if training else self._layers[-1:]:
            windows = layer(windows)
        return windows
