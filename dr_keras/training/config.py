"""What one training is, as plain data."""

import dataclasses

from dr_keras.data.augmentation import AugmentationConfig
from dr_keras.data.sampling import SamplingConfig

SCHEDULES = ("step", "cosine")
OPTIMIZERS = ("sgd", "adam", "ridge")


@dataclasses.dataclass(frozen=True)
class TrainingConfig:
    """One stage of training: P2's recipe at one image size.

    Attributes:
        architecture: key of `models.grader.ARCHITECTURES`.
        image_size: side of the stored images in pixels.
        head: "gap" or "dense"; RAM networks have "gap" only, AlexNets "regression" or "classification".
        untied_biases: one bias per channel and position.
        width: factor on the number of filters.
        hidden: units of the AlexNets' first dense layer.
        trunk_weights: "none", "imagenet" or the path of a published file, where the architecture has such.
        freeze_through: layer up to which the network keeps its weights, "" for none; see `frozen_trunk`.
        epochs, batch_size: length of the training; the batch is the global one.
        optimizer: "sgd" (Nesterov momentum), "adam", or "ridge": a linear head on a frozen trunk, in
            closed form, for which epochs, batches, rates, sampling and loss don't count.
        learning_rate: at the start.
        schedule: "step" (x0.1 at each of `learning_rate_drops`) or "cosine" (to zero, drops ignored).
        learning_rate_drops: epochs.
        momentum: of SGD.
        clip_norm: largest norm of a step's gradient, 0 for no limit. The paper has none: at its learning
            rate, a network that takes over its first layers can then fall to a constant score for good.
        l2: factor on the sum of squared kernels.
        loss: key of `trainer.LOSSES`, or "cross_entropy" for a classifier on a frozen trunk.
        thresholds: four cuts from score to grade.
        sampling: `SamplingConfig`.
        augmentation: `AugmentationConfig`, or "keras_cv" for that package's layers in its place.
        seed: of the initial weights, the order, the augmentation and the splits.
        precision: Keras dtype policy, "float32" or "mixed_bfloat16".
    """

    architecture: str = "net5"
    image_size: int = 512
    head: str = "gap"
    untied_biases: bool = True
    width: float = 1.0
    hidden: int = 256
    trunk_weights: str = "none"
    freeze_through: str = ""
    epochs: int = 250
    batch_size: int = 32
    optimizer: str = "sgd"
    learning_rate: float = 0.003
    schedule: str = "step"
    learning_rate_drops: tuple = (150, 220)
    momentum: float = 0.9
    clip_norm: float = 10.0
    l2: float = 0.0005
    loss: str = "mse"
    thresholds: tuple = (0.5, 1.5, 2.5, 3.5)
    sampling: SamplingConfig = SamplingConfig()
    augmentation: AugmentationConfig | str = AugmentationConfig()
    seed: int = 0
    precision: str = "float32"
