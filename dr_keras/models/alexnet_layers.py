"""Layers of AlexNet that Keras lacks, or doesn't run on every device."""

import keras
import numpy as np
from keras import ops

from dr_keras.grades import NUM_GRADES
from dr_keras.registration import PACKAGE


@keras.saving.register_keras_serializable(package=PACKAGE)
class LocalResponseNormalization(keras.layers.Layer):
    """Normalises each value by the energy of the channels around it (Krizhevsky 2012, section 3.3).

    `x / (bias + alpha / size * sum of squares over size neighbouring channels) ** beta`, where alpha is
    divided by size as in Caffe. Input and output: (batch, height, width, channels).

    Args:
        size: number of channels in the sum, odd.
        alpha, beta, bias: as in the formula; the defaults are those of AlexNet in Caffe.
    """

    def __init__(self, size=5, alpha=1e-4, beta=0.75, bias=1.0, **kwargs):
        super().__init__(**kwargs)
        if size < 1 or size % 2 == 0:
            raise ValueError(f"`size` must be a positive odd number. Received: size={size}")
        self.size, self.alpha, self.beta, self.bias = size, alpha, beta, bias

    def call(self, inputs):
        """Normalises in float32, whatever the precision policy.

        The sum over neighbours is a product with a banded matrix and the power is an exponential, because
        the gradients of shifted slices and of `power` took half of a training step.
        """
        x, place = ops.cast(inputs, "float32"), np.arange(inputs.shape[-1])
        near = np.abs(place[:, None] - place) <= self.size // 2
        total = ops.matmul(ops.square(x), near.astype("float32"))
        factor = ops.exp(-self.beta * ops.log(self.bias + self.alpha / self.size * total))
        return ops.cast(x * factor, inputs.dtype)

    def compute_output_shape(self, input_shape):
        """Returns `input_shape`."""
        return input_shape

    def get_config(self):
        """Returns the arguments that rebuild the layer."""
        own = {"size": self.size, "alpha": self.alpha, "beta": self.beta, "bias": self.bias}
        return {**super().get_config(), **own}


@keras.saving.register_keras_serializable(package=PACKAGE)
class GroupedConv2D(keras.layers.Conv2D):
    """`keras.layers.Conv2D` whose groups are convolved one by one.

    TensorFlow runs grouped convolutions on CPUs only through XLA, and the converters don't take them; this
    layer avoids both limits. Arguments and weights are those of `Conv2D`.
    """

    def call(self, inputs):
        """Convolves each group of channels with its kernels."""
        groups = zip(
            ops.split(inputs, self.groups, axis=-1), ops.split(self.kernel, self.groups, axis=-1), strict=True
        )
        parts = [ops.conv(x, kernel, self.strides, self.padding) for x, kernel in groups]
        x = ops.concatenate(parts, axis=-1)
        return self.activation(x + ops.cast(self.bias, x.dtype)) if self.use_bias else self.activation(x)


@keras.saving.register_keras_serializable(package=PACKAGE)
class ExpectedGrade(keras.layers.Layer):
    """Expected grade under the grades' probabilities: (batch, 5) -> (batch, 1), float32, in grade units."""

    def call(self, inputs):
        """Sums the grades, each weighted with its probability."""
        grades = ops.arange(NUM_GRADES, dtype="float32")
        return ops.sum(ops.cast(inputs, "float32") * grades, axis=-1, keepdims=True)

    def compute_output_shape(self, input_shape):
        """Returns (batch, 1)."""
        return (*input_shape[:-1], 1)
