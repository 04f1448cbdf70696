"""Which photograph is seen when: the recipe's class resampling, as a function of the epoch (P2)."""

import numpy as np

from dr_keras.grades import NUM_GRADES

FINAL_WEIGHTS = (1.0, 2.0, 2.0, 2.0, 2.0)
DECAY = 0.975


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


def sampling_probabilities(grades, epoch, decay=DECAY, final_weights=FINAL_WEIGHTS):
    """Probability (n,) with which each photograph is drawn in an epoch; see `class_weights`."""
    grades = np.asarray(grades, int)
    weights = class_weights(grades, epoch, decay, final_weights)[grades]
    return weights / weights.sum()
