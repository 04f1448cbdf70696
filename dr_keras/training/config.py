"""What a training is, as validated plain data; the flags of `scripts/train.py` are made from it.

Each field says once its default, its help text and its allowed values, as metadata (`Option`). This module
loads neither Keras nor TensorFlow nor NumPy, so that a script's `--help` stays quick.
"""

import dataclasses
import os

from dr_keras.errors import InputError
from dr_keras.models.architectures import ARCHITECTURES
from dr_keras.training.options import check_fields, option, options

STRATEGIES = ("auto", "default", "mirrored", "multi_worker")
PRECISIONS = ("float32", "mixed_bfloat16")
CROSS_ENTROPY = "cross_entropy"
LESIONS, BCE_DICE = "lesions", "bce_dice"  # the head that is trained on masks, and its loss
RIDGE, ORDINAL = DIRECT = ("ridge", "ordinal")  # optimizers of a head that need no epochs
_PUBLISHED = [name for name, architecture in ARCHITECTURES.items() if architecture.published]


@dataclasses.dataclass(frozen=True)
class TrainingConfig:
    """One stage of a training: P2's recipe at one image size.

    Each field's metadata documents it; `python scripts/train.py --help` prints the same texts. In place of
    `augmentation="own"`, Python code may give an `AugmentationConfig`, whose `color_sigma` then counts.

    Raises:
        InputError: on creation, if a value isn't allowed, or two of them don't go together.
    """

    architecture: str = option(
        "net5", "Network to train; ram_net5 has the finer maps of P2 section 4.5.1.",
        choices=tuple(ARCHITECTURES),
    )  # fmt: skip
    image_size: int = option(512, "Side of the stored images in pixels.", low=1, flag=False)
    head: str = option(
        "gap",
        "gap: global average pooling, which allows regression activation maps; multiscale: the same over two "
        "layers of an EfficientNet, for finer maps; dense: the paper's baseline, without maps; regression, "
        "classification: the AlexNets' heads; lesions: a score that is read off the lesions of lesion_net.",
        choices=("gap", "multiscale", "dense", "regression", "classification", LESIONS),
    )
    untied_biases: bool | None = option(
        None,
        "A bias for each channel and position, as in the paper, or one for each channel. Default: as in the "
        "paper.",
        kind=bool,
    )
    width: float | None = option(None, "Factor on the number of filters. Default: 1.", float, low=0.05)
    hidden: int | None = option(
        None, "Units of the first dense layer of an AlexNet's head. Default: 256.", int, low=1
    )
    trunk_weights: str = option(
        "none", "Published weights of the backbone to start from: imagenet (EfficientNets), none, or a file."
    )
    freeze_through: str | None = option(
        None,
        "Last layer that keeps its weights: its output is computed once for each photograph, in 8 "
        "orientations, and only what follows it is trained. Default: all layers are trained.",
        kind=str,
    )
    changed_copies: int = option(
        0,
        "Copies of each photograph that --optimizer=ridge or ordinal, and the second term of "
        "lesion_efficientnet, are fitted to beside the photograph and its mirror image: turned, recoloured, "
        "blurred, reduced, compressed. They make the score follow the eye, not the file.",
        low=0,
    )
    steadiness: float = option(
        1.0,
        "Weight of the differences among a photograph's --changed_copies. 1 counts a copy like a photograph; "
        "more makes the score steadier, at some cost in accuracy.",
        float, low=0.0,
    )  # fmt: skip
    epochs: int = option(250, "Passes over the training photographs.", low=1, per_stage=True)
    batch_size: int = option(32, "Photographs in a batch, over all devices.", low=1)
    optimizer: str = option(
        "sgd",
        "sgd: with Nesterov momentum; adamw: Adam with --l2 as decoupled weight decay. Behind "
        "--freeze_through also ridge: ridge regression, or ordinal: a logistic regression for each step from "
        "one grade to the next; for both, epochs, batches, learning rate, resampling and loss don't count.",
        choices=("sgd", "adam", "adamw", *DIRECT),
    )
    learning_rate: float = option(0.003, "Learning rate of the first epoch.", low=0, per_stage=True)
    schedule: str = option(
        "step",
        "Learning rate over the epochs. step: a tenth after each of --learning_rate_drops; cosine: half a "
        "cosine, down to zero.",
        choices=("step", "cosine"),
    )
    learning_rate_drops: tuple = option((150, 220), "Epochs at which --schedule=step drops.", low=0, length=0)
    momentum: float = option(0.9, "Momentum of SGD.", low=0.0, high=1.0)
    # Without a limit, a network that takes over its first layers can fall to a constant score at the paper's
    # learning rate, and stay there.
    clip_norm: float = option(
        10.0, "Largest norm of a step's gradient; a longer one is shortened. 0: no limit, as in the paper.",
        low=0.0,
    )  # fmt: skip
    l2: float = option(0.0005, "Factor on the sum of squared kernels, which is added to the loss.", low=0.0)
    loss: str = option(
        "mse",
        "Loss between score and grade, 0 to 4; cross_entropy belongs to --head=classification, bce_dice "
        "(cross-entropy and Dice loss of lesion masks) to --head=lesions.",
        choices=("mse", "mae", "huber", "euclidean", CROSS_ENTROPY, BCE_DICE),
    )
    thresholds: tuple = option(
        (0.5, 1.5, 2.5, 3.5), "Thresholds that turn a score into a grade, increasing.", length=4,
        increasing=True,
    )  # fmt: skip
    augmentation: object = option(
        "own",
        "own: one warp for rotation, flip, shift and stretch, and a colour shift along principal components; "
        "keras_cv: the layers of that package.",
        choices=("own", "keras_cv"),
    )
    color_sigma: float = option(
        0.5, "Standard deviation of the colour shift of --augmentation=own.", low=0, per_stage=True
    )
    resample: bool = option(
        True, "Draw photographs by class weight with replacement; otherwise each is seen once in an epoch."
    )
    resample_decay: float = option(
        0.975, "Factor per epoch by which class weights go from balanced to --final_weights.",
        low=0.0, high=1.0,
    )  # fmt: skip
    final_weights: tuple = option(
        (1, 2, 2, 2, 2), "Class weights that resampling ends with, for grades 0 to 4.", float, length=5,
        low=0.001,
    )  # fmt: skip
    seed: int = option(0, "Seed of the initial weights, the order, the augmentation and the splits.", low=0)
    precision: str = option("float32", "Keras dtype policy of the network.", choices=PRECISIONS, flag=False)

    def __post_init__(self):
        if not isinstance(self.augmentation, str):  # an `AugmentationConfig`; the rest is checked
            dataclasses.replace(self, augmentation="own")
            return
        check_fields(self)
        self._check_architecture()
        self._check_frozen()

    def _check_architecture(self):
        name, known = self.architecture, ARCHITECTURES[self.architecture]
        if self.image_size not in known.image_sizes:
            sizes = ", ".join(map(str, known.image_sizes))
            raise InputError(f"--image_size={self.image_size}: {name} has {sizes} px only")
        if self.head not in known.heads:
            raise InputError(f"--head={self.head}: {name} has --head={' or '.join(known.heads)} only")
        for field in ("untied_biases", "width", "hidden"):
            if getattr(self, field) is not None and field not in known.options:
                others = [other for other in ARCHITECTURES if field in ARCHITECTURES[other].options]
                raise InputError(
                    f"--{field}={getattr(self, field)}: {name} doesn't have it; only {', '.join(others)} do"
                )
        if self.trunk_weights != "none" and not known.published:
            raise InputError(
                f"--trunk_weights={self.trunk_weights}: {name} has no published weights, only "
                f"{', '.join(_PUBLISHED)} have published weights; expected --trunk_weights=none"
            )

    def _check_frozen(self):
        classifier = self.head == "classification"
        if classifier != (self.loss == CROSS_ENTROPY) or (classifier and not self.freeze_through):
            raise InputError(
                f"--head={self.head} --loss={self.loss}: --head=classification needs --loss=cross_entropy "
                "and --freeze_through, other heads another loss"
            )
        if (self.head == LESIONS) != (self.loss == BCE_DICE) or (
            self.head == LESIONS and self.freeze_through
        ):
            raise InputError(
                f"--head={self.head} --loss={self.loss}: --head=lesions needs --loss=bce_dice and no "
                "--freeze_through, other heads another loss"
            )
        if self.optimizer in DIRECT and not self.freeze_through:
            raise InputError(
                f"--optimizer={self.optimizer}: needs --freeze_through, behind which it fits a head"
            )

    @property
    def sampling(self):
        """`SamplingConfig`: how photographs are drawn in an epoch."""
        from dr_keras.data.sampling import SamplingConfig

        return SamplingConfig(self.resample, self.resample_decay, self.final_weights)

    @property
    def augmentation_config(self):
        """`AugmentationConfig` of the project's own augmentation."""
        from dr_keras.data.augmentation import AugmentationConfig

        if isinstance(self.augmentation, AugmentationConfig):
            return self.augmentation
        return AugmentationConfig(color_sigma=self.color_sigma)


@dataclasses.dataclass(frozen=True)
class SplitPlan:
    """How the photographs are divided: the same at every image size.

    Each field's metadata documents it.

    Raises:
        InputError: on creation, if a value isn't allowed.
    """

    folds: int = option(0, "Folds of a cross-validation by patient; 0: a single training.", low=0)
    validation_fraction: float = option(
        0.1,
        "Share of the training photographs set aside to choose the best epoch by; --optimizer=ridge and "
        "ordinal need none, 0.",
        low=0.0, high=0.5,
    )  # fmt: skip
    seed: int = option(0, "Seed of the division.", low=0)
    test_fraction: float = option(
        0.0, "Share set aside first as a test split, of data that has none and without folds.",
        low=0.0, high=0.5,
    )  # fmt: skip
    caps: tuple | None = option(
        None,
        "Most photographs of each grade 0 to 4, drawn at random: five whole numbers separated by commas. "
        "Default: all photographs.",
        kind=int, length=5, low=0,
    )  # fmt: skip

    def __post_init__(self):
        if self.caps == ():
            object.__setattr__(self, "caps", None)
        check_fields(self)
        if self.folds == 1:
            raise InputError("--folds=1: expected 0, or 2 and more")


@dataclasses.dataclass(frozen=True)
class HostConfig:
    """What a training asks of the machine it runs on."""

    strategy: str = option(
        "auto",
        "auto: mirrored where there are several GPUs, else default; default: one device; mirrored: all GPUs "
        "of this machine; multi_worker: the processes that TF_CONFIG names.",
        choices=STRATEGIES,
    )
    precision: str = option(
        "auto", "auto: mixed_bfloat16 where the device computes in it, else float32.",
        choices=("auto", *PRECISIONS),
    )  # fmt: skip
    deterministic: bool = option(
        False,
        "Make two runs with the same flags on the same GPU equal to the last bit, at some cost of speed, and "
        "compute float32 without TF32. On CPUs they are equal anyway.",
    )

    def __post_init__(self):
        check_fields(self)

    @property
    def is_chief(self):
        """Whether this process writes the run folder: it is alone, or `TF_CONFIG` names it first.

        Raises:
            InputError: if the strategy is "multi_worker" and `TF_CONFIG` is missing or wrong.
        """
        from dr_keras.training.hosts.cluster import read_cluster

        return self.strategy != "multi_worker" or read_cluster(os.environ).is_chief


def flag_options():
    """Lists (dataclass, name, default, `Option`) of the fields that flags are made of, each name once."""
    found = {}
    for cls in (TrainingConfig, SplitPlan, HostConfig):
        for name, default, known in options(cls):
            if known.flag and name not in found:
                found[name] = cls, name, default, known
    return list(found.values())


def stage_configs(image_sizes, **values):
    """Makes the configurations of a training in stages, one for each image size (P2 section 4.4).

    Args:
        image_sizes: increasing sides in pixels.
        values: other fields of `TrainingConfig`. `epochs`, `learning_rate` and `color_sigma` are one value
            for all stages, or a sequence with one for each.

    Returns:
        List of `TrainingConfig`.

    Raises:
        InputError: as `TrainingConfig` does, or if the numbers of stages differ.
    """
    sizes = list(image_sizes)
    if not sizes or sizes != sorted(set(sizes)):
        raise InputError(f"--image_sizes={','.join(map(str, sizes))}: expected increasing sizes")
    stages = [{"image_size": size} for size in sizes]
    per_stage = {name for name, _, known in options(TrainingConfig) if known.per_stage}
    for name, value in values.items():
        every = list(value) if name in per_stage and isinstance(value, (list, tuple)) else [value]
        if len(every) not in (1, len(sizes)):
            raise InputError(
                f"--{name}={','.join(map(str, every))}: expected one number, or one for each of the "
                f"{len(sizes)} image sizes"
            )
        for stage, own in zip(stages, every * (len(sizes) // len(every)), strict=True):
            stage[name] = own
    return [TrainingConfig(**stage) for stage in stages]


def check_together(configs, plan, hosts):
    """Raises `InputError` unless the stages, the division and the hosts of a training suit one another."""
    for config in configs:
        if not plan.validation_fraction and config.optimizer not in DIRECT and config.head != LESIONS:
            raise InputError(
                f"--validation_fraction=0: --optimizer={config.optimizer} needs it to be above 0"
            )
        if hosts.strategy in ("mirrored", "multi_worker") and config.head == LESIONS:
            raise InputError(f"--strategy={hosts.strategy}: --head=lesions is trained on one device")
        if hosts.strategy == "multi_worker" and config.freeze_through:
            raise InputError(
                "--strategy=multi_worker isn't for --freeze_through, whose head takes seconds on one host"
            )
