"""P1's classifier, to which it compares its regressor: probabilities, errors that skip stages, ROC areas."""

import functools

import keras
import numpy as np

from dr_keras.errors import InputError
from dr_keras.evaluation.bootstrap import bootstrap_interval
from dr_keras.evaluation.paired import paired_difference
from dr_keras.evaluation.ranking import roc_auc
from dr_keras.evaluation.statistics import nearness
from dr_keras.grades import NUM_GRADES
from dr_keras.models.alexnets import PROBABILITIES
from dr_keras.models.grader_model import network_and_front


def grade_probabilities(evaluated, batch_size=32):
    """Computes the probability of each grade, the mean over the networks that may judge a photograph.

    Args:
        evaluated: `ModelEvaluation` of a classifier.
        batch_size: photographs in a batch.

    Returns:
        float64 (n, 5), in the order of `evaluated.scored`.

    Raises:
        InputError: if the model isn't a classifier.
    """
    indices, total = evaluated.scores.indices, np.zeros((len(evaluated.scores.indices), NUM_GRADES))
    for grader, theirs in zip(evaluated.model.networks, evaluated.scores.scored_by, strict=True):
        network, front = network_and_front(grader)
        if PROBABILITIES not in [layer.name for layer in network.layers]:
            raise InputError(f"{evaluated.path}: expected a run with --head=classification")
        output = keras.Model(network.inputs, network.get_layer(PROBABILITIES).output)
        for start in range(0, len(indices), batch_size):
            rows = np.arange(start, min(start + batch_size, len(indices)))
            rows = rows[theirs[rows]]
            if len(rows):
                images = evaluated.prepared.read(indices[rows]).astype("float32")
                total[rows] += keras.ops.convert_to_numpy(output(front(images), training=False))
    return total / evaluated.scores.scored_by.sum(axis=0)[:, None]


def stage_errors(matrix):
    """Counts errors that skip stages (P1 figure 6).

    Args:
        matrix: (5, 5) confusion matrix, whose rows are true grades.

    Returns:
        Dict of numbers of photographs: `n`, `wrong`, `skipped` (two grades off or more), `proliferative`,
        `proliferative_called_normal` and `normal_called_proliferative`.
    """
    matrix = np.asarray(matrix)
    off = np.abs(np.subtract.outer(np.arange(NUM_GRADES), np.arange(NUM_GRADES)))
    return {
        "n": int(matrix.sum()),
        "wrong": int(matrix[off > 0].sum()),
        "skipped": int(matrix[off > 1].sum()),
        "proliferative": int(matrix[-1].sum()),
        "proliferative_called_normal": int(matrix[-1, 0]),
        "normal_called_proliferative": int(matrix[0, -1]),
    }


def one_against_all(scored, probabilities, seed=0):
    """Areas under the ROC curves of each grade against all others, of regressor and classifier (P1 figure 8).

    Args:
        scored: `EvaluationSet` of the regressor.
        probabilities: (n, 5) of the classifier, of the same photographs.
        seed: seed of the bootstrap over patients.

    Returns:
        List with a dict for each grade: `grade`, `n`, `regressor`, `classifier` and `difference`, each
        `{"value", "low", "high"}`, NaN where no photograph, or every one, has the grade.
    """
    interval = functools.partial(bootstrap_interval, groups=scored.patients, seed=seed)
    rows = []
    for grade in range(NUM_GRADES):
        has_it, near = scored.labels == grade, nearness(scored.scores, grade)
        row = {"grade": grade, "n": int(has_it.sum())}
        if has_it.any() and not has_it.all():
            pair = near, probabilities[:, grade]
            row |= {
                "regressor": interval(roc_auc, has_it, near),
                "classifier": interval(roc_auc, has_it, pair[1]),
            }
            row["difference"] = paired_difference(roc_auc, has_it, *pair, groups=scored.patients, seed=seed)
        else:
            undefined = dict.fromkeys(("value", "low", "high"), float("nan"))
            row |= dict.fromkeys(("regressor", "classifier", "difference"), undefined)
        rows.append(row)
    return rows
