"""The configuration: what it accepts, what it refuses and how, and the stages made from it."""

import dataclasses

import pytest

from dr_keras.data.augmentation import AugmentationConfig
from dr_keras.data.sampling import DECAY, FINAL_WEIGHTS
from dr_keras.errors import InputError
from dr_keras.grades import DEFAULT_THRESHOLDS
from dr_keras.training.config import (
    HostConfig,
    SplitPlan,
    TrainingConfig,
    check_together,
    flag_options,
    stage_configs,
)
from dr_keras.training.options import options
from dr_keras.training.trainer import LOSSES

FROZEN = {"freeze_through": "gap", "optimizer": "ridge"}


def test_every_field_says_what_it_is():
    for cls in (TrainingConfig, SplitPlan, HostConfig):
        for name, default, known in options(cls):
            assert known.help.endswith("."), name
            if default is not None:
                known.check(name, default)
    names = [name for _, name, _, _ in flag_options()]
    assert len(names) == len(set(names)) and {"precision", "seed", "caps"} <= set(names)


def test_defaults_are_those_of_the_parts():
    config = TrainingConfig()
    assert (config.sampling.decay, config.sampling.final_weights) == (DECAY, FINAL_WEIGHTS)
    assert config.augmentation_config == AugmentationConfig()
    assert config.thresholds == tuple(DEFAULT_THRESHOLDS)
    (losses,) = [known.choices for name, _, known in options(TrainingConfig) if name == "loss"]
    assert losses == (*LOSSES, "cross_entropy", "bce_dice")


def test_augmentation_can_be_given_as_ranges():
    still = AugmentationConfig(rotation=0.0, color_sigma=0.1)
    assert TrainingConfig(augmentation=still).augmentation_config == still
    assert TrainingConfig(color_sigma=0.25).augmentation_config == AugmentationConfig(color_sigma=0.25)
    with pytest.raises(InputError, match="--momentum=2: expected number from 0.0 to 1.0"):
        TrainingConfig(augmentation=still, momentum=2)


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"architecture": "net6"}, "--architecture=net6: expected one of net5, net4, ram_net5, "),
        ({"image_size": 384}, "--image_size=384: net5 has 128, 256, 512, 768 px only"),
        ({"head": "multiscale"}, "--head=multiscale: net5 has --head=gap or dense only"),
        ({"head": "huge"}, "--head=huge: expected one of gap, "),
        ({"hidden": 8}, "--hidden=8: net5 doesn't have it; only alexnet, caffenet, alexnet_torchvision do"),
        ({"width": 0.01}, "--width=0.01: expected number from 0.05"),
        ({"trunk_weights": "imagenet"}, "--trunk_weights=imagenet: net5 has no published weights, only "),
        ({"epochs": 0}, "--epochs=0: expected whole number from 1"),
        ({"epochs": 1.5}, "--epochs=1.5: expected whole number from 1"),
        ({"epochs": None}, "--epochs=None: expected whole number from 1"),
        ({"learning_rate": float("nan")}, "--learning_rate=nan: expected number from 0"),
        ({"learning_rate": "fast"}, "--learning_rate=fast: expected number from 0"),
        ({"resample": "no"}, "--resample=no: expected true or false"),
        ({"thresholds": (1, 2, 2, 3)}, r"--thresholds=\(1, 2, 2, 3\): expected 4 increasing numbers"),
        ({"thresholds": 2.5}, "--thresholds=2.5: expected 4 increasing numbers"),
        ({"final_weights": (1, 2)}, r"--final_weights=\(1, 2\): expected 5 numbers from 0.001"),
        ({"loss": "cross_entropy"}, "--head=gap --loss=cross_entropy: --head=classification needs --loss"),
        ({"optimizer": "ridge"}, "--optimizer=ridge: needs --freeze_through"),
        ({"architecture": "alexnet", "image_size": 256}, "--head=gap: alexnet has --head=regression or c"),
        ({"architecture": "alexnet", "image_size": 256, "head": "classification", "loss": "cross_entropy"},
         "--head=classification needs --loss=cross_entropy and --freeze_through"),
        ({"precision": "auto"}, "--precision=auto: expected one of float32, mixed_bfloat16"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_named_as_a_flag(changes, message):
    with pytest.raises(InputError, match=message):
        TrainingConfig(**changes)
    with pytest.raises(InputError, match=message):
        dataclasses.replace(TrainingConfig(), **changes)


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: SplitPlan(folds=1), "--folds=1: expected 0, or 2 and more"),
        (lambda: SplitPlan(validation_fraction=0.6), "--validation_fraction=0.6: expected number from 0.0"),
        (lambda: SplitPlan(caps=(1, 2)), r"--caps=\(1, 2\): expected 5 whole numbers from 0"),
        (lambda: HostConfig(strategy="tpu"), "--strategy=tpu: expected one of auto, default, "),
        (lambda: HostConfig(deterministic=1.5), "--deterministic=1.5: expected true or false"),
    ],
)
def test_division_and_hosts_are_checked_too(make, message):
    with pytest.raises(InputError, match=message):
        make()


def test_no_caps_are_none_of_them():
    assert SplitPlan(caps=()) == SplitPlan()


def test_what_belongs_together():
    check_together([TrainingConfig(**FROZEN)], SplitPlan(validation_fraction=0.0), HostConfig())
    with pytest.raises(InputError, match="--validation_fraction=0: --optimizer=sgd needs it to be above 0"):
        check_together([TrainingConfig()], SplitPlan(validation_fraction=0.0), HostConfig())
    with pytest.raises(InputError, match="--strategy=multi_worker isn't for --freeze_through"):
        check_together([TrainingConfig(**FROZEN)], SplitPlan(), HostConfig(strategy="multi_worker"))


def test_stages_share_all_but_what_they_have_of_their_own():
    stages = stage_configs((128, 256), epochs=(3, 4), learning_rate=(0.1,), color_sigma=0.2, momentum=0.5)
    assert [stage.image_size for stage in stages] == [128, 256]
    assert [stage.epochs for stage in stages] == [3, 4]
    assert stages[1] == TrainingConfig(
        image_size=256, epochs=4, learning_rate=0.1, color_sigma=0.2, momentum=0.5
    )
    (stage,) = stage_configs([128], thresholds=(1, 2, 3, 4), learning_rate_drops=(5,))
    assert stage.thresholds == (1, 2, 3, 4) and stage.learning_rate_drops == (5,)


def test_stages_that_do_not_fit():
    with pytest.raises(InputError, match="--epochs=1,2,3: expected one number, or one for each of the 2"):
        stage_configs((128, 256), epochs=(1, 2, 3))
    for sizes in ((256, 128), (128, 128), ()):
        with pytest.raises(InputError, match="expected increasing sizes"):
            stage_configs(sizes)
    with pytest.raises(InputError, match="--image_size=384: net5 has"):
        stage_configs((128, 384))
