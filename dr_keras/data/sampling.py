"""Which photograph is seen when: the recipe's class resampling, as a function of the epoch (P2)."""

import dataclasses

import numpy as np

from dr_keras.grades import NUM_GRADES

FINAL_WEIGHTS = (1.0, 2.0, 2.0, 2.0, 2.0)
DECAY = 0.975


@dataclasses.dataclass(frozen=True)
class SamplingConfig:
    """How photographs are drawn in an epoch (P2's recipe).

    Attributes:
        resample: draw with replacement by class weight; otherwise see each photograph once.
        decay: factor per epoch from balanced classes towards `final_weights`.
        final_weights: five class weights.
    """

    resample: bool = True
    decay: float = DECAY
    final_weights: tuple = FINAL_WEIGHTS


def class_weights(grades, epoch, decay=DECAY, final_weights=FINAL_WEIGHTS):
    """Weight of a photograph of each grade in an epoch.

    Classes are equally likely in epoch 0 (weights: all photographs over those of the class);
    every epoch the weights move by the factor `decay` towards `final_weights`.

    Args:
        grades: int array (n,) of the training photographs.
        epoch: 0, 1, ...
        decay: in [0, 1]; 1 keeps the classes balanced.
        final_weights: five positive numbers.

    Returns:
        float64 array (5,); 0 for grades that no photograph has.
    """
    counts = np.bincount(np.asarray(grades, int), minlength=NUM_GRADES)
    present = counts > 0
    balanced = np.divide(counts.sum(), counts, out=np.zeros(NUM_GRADES), where=present)
    share = decay**epoch
    return np.where(present, share * balanced + (1 - share) * np.asarray(final_weights, float), 0.0)


def epoch_weights(grades, epoch, config):
    """Class weights (5,) of an epoch under a `SamplingConfig`: all 1 where each photograph is seen once."""
    if not config.resample:
        return np.ones(NUM_GRADES)
    return class_weights(grades, epoch, config.decay, config.final_weights)
