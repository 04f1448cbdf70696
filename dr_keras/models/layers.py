"""Custom layers: untied biases, maxout, RMS pooling, standardisation, an ordinal score, grading rules."""

import keras
from keras import ops

from dr_keras.registration import PACKAGE

STEPS = 4  # from one grade to the next


@keras.saving.register_keras_serializable(package=PACKAGE)
class UntiedBias(keras.layers.Layer):
    """Adds one learned value per channel and position (P2 section 4.3).

    Input and output: (batch, height, width, channels).

    Args:
        initial_value: initial value of every bias.
    """

    def __init__(self, initial_value=0.05, **kwargs):
        super().__init__(**kwargs)
        self.initial_value = initial_value

    def build(self, input_shape):
        """Creates the biases (height, width, channels)."""
        if None in input_shape[1:]:
            raise ValueError(
                "`input_shape` must have a known height and width, since untied biases have one value per "
                f"position. Received: input_shape={input_shape}"
            )
        self.bias = self.add_weight(
            shape=input_shape[1:], initializer=keras.initializers.Constant(self.initial_value), name="bias"
        )

    def call(self, inputs):
        """Adds the biases."""
        return inputs + ops.cast(self.bias, inputs.dtype)

    def compute_output_shape(self, input_shape):
        """Returns `input_shape`."""
        return input_shape

    def get_config(self):
        """Returns the arguments that rebuild the layer."""
        return {**super().get_config(), "initial_value": self.initial_value}


@keras.saving.register_keras_serializable(package=PACKAGE)
class Maxout(keras.layers.Layer):
    """Maximum of each group of neighbouring units: (batch, units) -> (batch, units / pieces).

    Args:
        pieces: units in a group; 2 in P2's dense head.
    """

    def __init__(self, pieces=2, **kwargs):
        super().__init__(**kwargs)
        self.pieces = pieces

    def build(self, input_shape):
        """Checks that the units divide into groups."""
        if input_shape[-1] % self.pieces:
            raise ValueError(
                f"`input_shape` must end with a multiple of {self.pieces} units. "
                f"Received: input_shape={input_shape}"
            )

    def call(self, inputs):
        """Takes the maximum over each group."""
        return ops.max(ops.reshape(inputs, (-1, inputs.shape[-1] // self.pieces, self.pieces)), axis=-1)

    def compute_output_shape(self, input_shape):
        """Returns (batch, units / pieces)."""
        return (*input_shape[:-1], input_shape[-1] // self.pieces)

    def get_config(self):
        """Returns the arguments that rebuild the layer."""
        return {**super().get_config(), "pieces": self.pieces}


@keras.saving.register_keras_serializable(package=PACKAGE)
class RMSPooling2D(keras.layers.Layer):
    """Root mean square over windows without padding (P2's dense head).

    Input and output: (batch, height, width, channels). A small constant keeps the gradient finite at zero.

    Args:
        pool_size: side of the window.
        strides: step between windows.
    """

    def __init__(self, pool_size=3, strides=2, **kwargs):
        super().__init__(**kwargs)
        self.pool_size = pool_size
        self.strides = strides

    def call(self, inputs):
        """Pools in float32, whatever the precision policy."""
        squares = ops.square(ops.cast(inputs, "float32"))
        means = ops.average_pool(squares, self.pool_size, self.strides, padding="valid")
        return ops.cast(ops.sqrt(means + 1e-12), inputs.dtype)

    def compute_output_shape(self, input_shape):
        """Returns (batch, pooled height, pooled width, channels)."""
        height, width = ((side - self.pool_size) // self.strides + 1 for side in input_shape[1:3])
        return (input_shape[0], height, width, input_shape[3])

    def get_config(self):
        """Returns the arguments that rebuild the layer."""
        return {**super().get_config(), "pool_size": self.pool_size, "strides": self.strides}


@keras.saving.register_keras_serializable(package=PACKAGE)
class Standardize(keras.layers.Layer):
    """Subtracts the training set's channel means and divides by its standard deviations (P2 section 4.2).

    The numbers are part of the configuration, not weights. Input (batch, height, width, 3), RGB,
    pixels 0-255 of any dtype; output the same shape, float32 whatever the precision.

    Args:
        mean: three channel means, 0-255.
        sd: three positive channel standard deviations.
    """

    def __init__(self, mean, sd, **kwargs):
        kwargs["dtype"] = "float32"  # mixed precision would cast pixels to bfloat16: 200.4 -> 200
        super().__init__(**kwargs)
        self.mean = tuple(float(value) for value in mean)
        self.sd = tuple(float(value) for value in sd)
        if len(self.mean) != 3 or len(self.sd) != 3 or min(self.sd) <= 0:
            raise ValueError(
                f"`mean` and `sd` must be three numbers each, `sd` positive. Received: mean={mean}, sd={sd}"
            )

    def call(self, inputs):
        """Standardises whole rows at once, since arithmetic over a last axis of 3 isn't vectorised."""
        height, width, channels = inputs.shape[1:]
        rows = ops.reshape(ops.cast(inputs, "float32"), (-1, height, width * channels))
        mean, sd = (ops.array(values * width, "float32") for values in (self.mean, self.sd))
        return ops.reshape((rows - mean) / sd, (-1, height, width, channels))

    def compute_output_shape(self, input_shape):
        """Returns `input_shape`."""
        return input_shape

    def get_config(self):
        """Returns the arguments that rebuild the layer."""
        return {**super().get_config(), "mean": self.mean, "sd": self.sd}


@keras.saving.register_keras_serializable(package=PACKAGE)
class OrdinalScore(keras.layers.Layer):
    """The score of an ordinal regression: the sum of the probabilities that the grade is above 0, 1, 2 and 3.

    Each probability is a logistic regression of its own. Input: features (batch, channels), means over an
    image; output: scores (batch, 1), float32, in grade units, from 0 to 4.
    """

    def __init__(self, **kwargs):
        kwargs["dtype"] = "float32"
        super().__init__(**kwargs)

    def build(self, input_shape):
        """Creates kernel (channels, 4) and bias (4,), all zero."""
        self.kernel = self.add_weight(shape=(input_shape[-1], STEPS), initializer="zeros", name="kernel")
        self.bias = self.add_weight(shape=(STEPS,), initializer="zeros", name="bias")

    def call(self, inputs):
        """Sums the probabilities."""
        logits = ops.matmul(ops.cast(inputs, "float32"), self.kernel) + self.bias
        return ops.sum(ops.sigmoid(logits), axis=-1, keepdims=True)

    def weights_at(self, inputs):
        """Tells what a unit of each feature adds to the score: (batch, channels), each image having its own.

        The score is the inputs times these, summed, plus `score_of_nothing`: by how much each probability
        differs from that of an image without features is shared out as its logit's difference is.
        """
        added = ops.matmul(ops.cast(inputs, "float32"), self.kernel)
        rise = ops.sigmoid(added + self.bias) - ops.sigmoid(self.bias)
        probability = ops.sigmoid(added / 2 + self.bias)
        is_small = ops.abs(added) < 1e-3  # where the quotient is the slope
        slope = ops.where(is_small, probability * (1 - probability), rise / ops.where(is_small, 1.0, added))
        return ops.matmul(slope, ops.transpose(self.kernel))

    def score_of_nothing(self):
        """The score of an image whose features are all 0, a scalar."""
        return ops.sum(ops.sigmoid(self.bias))

    def compute_output_shape(self, input_shape):
        """Returns (batch, 1)."""
        return (input_shape[0], 1)


@keras.saving.register_keras_serializable(package=PACKAGE)
class Rules(keras.layers.Layer):
    """Returns scores unchanged; its configuration stores the `GradingRules` in the model's file.

    Args:
        rules: `GradingRules`, or the dict that its `to_dict` returns.
    """

    def __init__(self, rules, **kwargs):
        super().__init__(**kwargs)
        self._values = rules if isinstance(rules, dict) else rules.to_dict()

    @property
    def rules(self):
        """The `GradingRules`."""
        from dr_keras.models.rules import GradingRules  # imports OpenCV, which loading a layer doesn't need

        return GradingRules.from_dict(self._values)

    def call(self, inputs):
        """Returns the scores."""
        return inputs

    def compute_output_shape(self, input_shape):
        """Returns `input_shape`."""
        return input_shape

    def get_config(self):
        """Returns the arguments that rebuild the layer."""
        return {**super().get_config(), "rules": dict(self._values)}
