"""AlexNet: the published forms of its backbone, with a head of our own (P1 section 2.2).

Three forms are published. "caffe" is P1's "revised AlexNet": one column, groups in convolutions 2, 4 and
5, local response normalisation before the pools. "caffenet" has it after the pools. "torchvision" has
other widths, no groups and no normalisation. All end in `pool5`, (batch, 6, 6, 256).
"""

import dataclasses

import keras
from keras import layers

from dr_keras.grades import NUM_GRADES
from dr_keras.models.alexnet_layers import ExpectedGrade, GroupedConv2D, LocalResponseNormalization

IMAGE_SIZES = (256,)
HEADS = ("regression", "classification")
FEATURE_SCALE = "feature_scale"
SEVERITY, PROBABILITIES = "severity", "grade_probabilities"  # layers whose output the loss takes


@dataclasses.dataclass(frozen=True)
class Conv:
    """A convolution: its filters, kernel, stride, padding on each side and groups."""

    filters: int
    kernel: int
    stride: int = 1
    padding: int = 0
    groups: int = 1


@dataclasses.dataclass(frozen=True)
class Variant:
    """A published form of AlexNet.

    Attributes:
        window: side of the network's input in pixels. At torchvision's 224, its adaptive pool does nothing.
        mean, sd: channel means and standard deviations, RGB, 0-255, that its published weights expect; Caffe
            subtracts the mean only.
        convolutions: conv1 to conv5; pools of 3x3, stride 2, follow the first, second and fifth.
        normalize: whether local response normalisation comes "before" or "after" the first two pools; ""
            leaves it out.
    """

    window: int
    mean: tuple
    sd: tuple
    convolutions: tuple
    normalize: str = ""


_CAFFE_MEAN = (122.67892, 116.66877, 104.00699)  # ImageNet's mean colour, which Caffe's models subtract
_TORCH_MEAN, _TORCH_DEVIATION = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)
_CAFFE = (
    Conv(96, 11, stride=4),
    Conv(256, 5, padding=2, groups=2),
    Conv(384, 3, padding=1),
    Conv(384, 3, padding=1, groups=2),
    Conv(256, 3, padding=1, groups=2),
)
_TORCHVISION = (
    Conv(64, 11, stride=4, padding=2),
    Conv(192, 5, padding=2),
    Conv(384, 3, padding=1),
    Conv(256, 3, padding=1),
    Conv(256, 3, padding=1),
)
VARIANTS = {
    "caffe": Variant(227, _CAFFE_MEAN, (1.0, 1.0, 1.0), _CAFFE, "before"),
    "caffenet": Variant(227, _CAFFE_MEAN, (1.0, 1.0, 1.0), _CAFFE, "after"),
    "torchvision": Variant(224, _TORCH_MEAN, _TORCH_DEVIATION, _TORCHVISION),
}
_POOLED = (1, 2, 5)  # convolutions that a pool follows
_PIXEL_DEVIATION = 60.0  # standard deviation of pixels; where they are not divided by it, the first kernels


def alexnet(image_size=256, head="regression", variant="caffe", hidden=256, seed=0, name="alexnet"):
    """Builds AlexNet with a two-layer head (P1 section 2.2, figure 2).

    Args:
        image_size: side of the stored image: 256. The network's input is the window of it,
            (batch, window, window, 3), RGB, standardised with the variant's `mean` and `sd`.
        head: "regression", a sigmoid times 4; or "classification", a softmax whose score is the expected
            grade: as from `grade_probabilities`, P1's classifier takes the most likely one.
        variant: key of `VARIANTS`.
        hidden: units of the head's first layer, which P1 doesn't say.
        seed: seed of the initial weights.
        name: name of the model.

    Returns:
        A functional `keras.Model` with output (batch, 1), float32, in grade units. Layers: `conv1` (behind
        its ReLU; `conv1_kernel` before it), `lrn1`, `pool1`, ..., `pool5`, `feature_scale` (a constant that
        training sets: trunks differ in the size of what they give), `flatten`, `hidden`, then
        `severity` (0 to 1) or `grade_probabilities`, and `score`. P1 freezes all up to `pool5`; so does
        training with `freeze_through`.

    Raises:
        ValueError: if an argument isn't one of those listed.
    """
    if image_size not in IMAGE_SIZES:
        raise ValueError(f"`image_size` must be one of {IMAGE_SIZES}. Received: image_size={image_size}")
    if head not in HEADS:
        raise ValueError(f"`head` must be one of {HEADS}. Received: head={head!r}")
    if hidden < 1:
        raise ValueError(f"`hidden` must be positive. Received: hidden={hidden}")
    trunk = alexnet_trunk(variant, seed)
    x = layers.Rescaling(1.0, name=FEATURE_SCALE)(trunk.output)
    x = layers.Flatten(name="flatten")(x)
    x = layers.Dense(hidden, activation="relu", kernel_initializer=_he(seed, 6), name="hidden")(x)
    draw = keras.initializers.GlorotUniform(seed=seed * 1000 + 7)
    if head == "regression":
        x = layers.Dense(1, "sigmoid", kernel_initializer=draw, dtype="float32", name=SEVERITY)(x)
        x = layers.Rescaling(NUM_GRADES - 1.0, dtype="float32", name="score")(x)
    else:
        x = layers.Dense(NUM_GRADES, "softmax", kernel_initializer=draw, dtype="float32", name=PROBABILITIES)(
            x
        )
        x = ExpectedGrade(dtype="float32", name="score")(x)
    return keras.Model(trunk.inputs, x, name=name)


def caffenet(image_size=256, head="regression", hidden=256, seed=0, name="caffenet"):
    """Builds CaffeNet. Arguments, result and errors as for `alexnet`."""
    return alexnet(image_size, head, "caffenet", hidden, seed, name)


def alexnet_torchvision(image_size=256, head="regression", hidden=256, seed=0, name="alexnet_torchvision"):
    """Builds torchvision's AlexNet. Arguments, result and errors as for `alexnet`."""
    return alexnet(image_size, head, "torchvision", hidden, seed, name)


def alexnet_trunk(variant="caffe", seed=0, name="alexnet_trunk", normalize_batches=False):
    """Builds the five convolutional layers with their pools, all trainable.

    Args:
        variant: key of `VARIANTS`.
        seed: seed of the initial weights.
        name: name of the model.
        normalize_batches: adds batch normalisation `conv1_bn`, ... behind each convolution, for training
            from scratch; see `fold_batch_normalization`.

    Returns:
        A functional `keras.Model` from (batch, window, window, 3) to (batch, 6, 6, 256).
    """
    if variant not in VARIANTS:
        raise ValueError(f"`variant` must be one of {tuple(VARIANTS)}. Received: variant={variant!r}")
    form = VARIANTS[variant]
    inputs = x = keras.Input((form.window, form.window, 3), name="window")
    for number, row in enumerate(form.convolutions, start=1):
        if row.padding:
            x = layers.ZeroPadding2D(row.padding, name=f"pad{number}")(x)
        gain = 1 / _PIXEL_DEVIATION if number == 1 and form.sd[0] == 1 else 1
        build = GroupedConv2D if row.groups > 1 else layers.Conv2D
        options = {"kernel_initializer": _he(seed, number, gain), "name": f"conv{number}_kernel"}
        x = build(row.filters, row.kernel, row.stride, groups=row.groups, **options)(x)
        if normalize_batches:
            x = layers.BatchNormalization(momentum=0.9, name=f"conv{number}_bn")(x)
        x = layers.ReLU(name=f"conv{number}")(x)
        normalized = form.normalize if number <= 2 else ""
        if normalized == "before":
            x = LocalResponseNormalization(name=f"lrn{number}")(x)
        if number in _POOLED:
            x = layers.MaxPooling2D(3, 2, name=f"pool{number}")(x)
        if normalized == "after":
            x = LocalResponseNormalization(name=f"lrn{number}")(x)
    return keras.Model(inputs, x, name=name)


def fold_batch_normalization(trained, trunk):
    """Copies a backbone trained with `normalize_batches` into one without, which then computes the same."""
    for layer in trunk.layers:
        if not layer.name.endswith("_kernel"):
            continue
        norm = trained.get_layer(layer.name.replace("_kernel", "_bn"))
        gamma, beta, mean, variance = norm.get_weights()
        factor = gamma / (variance + norm.epsilon) ** 0.5
        kernel, bias = trained.get_layer(layer.name).get_weights()
        layer.set_weights([kernel * factor, (bias - mean) * factor + beta])


def _he(seed, number, gain=1):
    return keras.initializers.VarianceScaling(2.0 * gain**2, seed=seed * 1000 + number)
