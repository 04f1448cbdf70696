"""Cross-fitting: thresholds applied to a photograph are chosen without its fold.

Thresholds, operating points and calibration are chosen on photographs with known grades, the *choosing
set*. Where a photograph that is evaluated, or its patient, is in that set, the choice is made on the other
parts of the set only: the run's other folds, or the other groups of patients.
"""

import dataclasses

import numpy as np

from dr_keras.evaluation.predictions import PREDICTIONS, read_predictions
from dr_keras.evaluation.referral import check_lengths
from dr_keras.training import run_folder

NUM_PARTS = 5
NO_PART = -1


@dataclasses.dataclass(frozen=True, eq=False)
class EvaluationSet:
    """Photographs with their true grades and scores.

    Attributes:
        images: array (n,) of names.
        patients: array (n,) of patient identifiers.
        labels: array (n,) of true grades.
        scores: float64 (n,), in grade units.
        parts: int array (n,) from 0: which part of a choosing set each is in, a patient's photographs all
            in one; None deals the patients into five, with like grades.

    Raises:
        ValueError: on no photographs, arrays that differ in length, a patient in several parts.
    """

    images: np.ndarray
    patients: np.ndarray
    labels: np.ndarray
    scores: np.ndarray
    parts: np.ndarray | None = None

    def __post_init__(self):
        for name, kind in (("images", str), ("patients", str), ("labels", None), ("scores", "float64")):
            object.__setattr__(self, name, np.asarray(getattr(self, name), dtype=kind))
        parts = deal_parts(self.patients, self.labels) if self.parts is None else np.asarray(self.parts)
        object.__setattr__(self, "parts", parts)
        check_lengths(**{field.name: getattr(self, field.name) for field in dataclasses.fields(self)})
        if len(set(zip(self.patients, parts))) > len(np.unique(self.patients)):
            raise ValueError("`parts` must hold a patient's photographs together. Received: a patient in two")


def deal_parts(patients, labels, num_parts=NUM_PARTS, seed=0):
    """Deals patients into parts of like size and grades.

    Args:
        patients: array (n,) of patient identifiers.
        labels: array (n,) of true grades; a patient counts by the worst.
        num_parts: number of parts; fewer where there are fewer patients.
        seed: seed of the shuffle.

    Returns:
        int64 (n,), from 0.
    """
    names, owner = np.unique(patients, return_inverse=True)
    worst = np.zeros(len(names))
    np.maximum.at(worst, owner, labels)
    order = np.lexsort((np.random.default_rng(seed).permutation(len(names)), worst))
    part = np.empty(len(names), dtype="int64")
    part[order] = np.arange(len(names)) % num_parts
    return part[owner]


def read_choosing_set(path):
    """Reads the choosing set of a run: the photographs that its networks were judged on.

    Args:
        path: what `--model` names: a `.keras` file or a run folder.

    Returns:
        `EvaluationSet` of the run's validation photographs, or of those that its folds hold out, the folds as
        parts; None if the model has no predictions beside it, or if they hold no photograph.

    Raises:
        InputError: if there is no model, or a table that can't be read.
    """
    columns = {name: [] for name in ("images", "patients", "labels", "scores", "parts")}
    leaves = [model.parent for model in run_folder.find_models(path)]
    for part, leaf in enumerate(leaves):
        if not (leaf / PREDICTIONS).is_file():
            return None
        table = read_predictions(leaf / PREDICTIONS)
        patients = run_folder.read_patients(leaf / run_folder.SPLIT)
        columns["images"] += table["image"].tolist()
        columns["patients"] += [patients.get(image, image) for image in table["image"].tolist()]
        columns["labels"] += table["label"].tolist()
        columns["scores"] += table["score"].tolist()
        columns["parts"] += [part] * len(table["image"])
    if not columns["images"]:
        return None
    return EvaluationSet(**columns | ({"parts": None} if len(leaves) == 1 else {}))


def parts_to_leave_out(choosing, evaluated):
    """The part of the choosing set that each evaluated photograph's patient, or the photograph, is in.

    Returns:
        int64 (evaluated,): -1 for photographs that the choosing set doesn't know.
    """
    by_image = dict(zip(choosing.images, choosing.parts, strict=True))
    by_patient = dict(zip(choosing.patients, choosing.parts, strict=True))
    pairs = zip(evaluated.images, evaluated.patients, strict=True)
    return np.array([by_patient.get(patient, by_image.get(image, NO_PART)) for image, patient in pairs])


def cross_fit(choose, choosing, evaluated):
    """Chooses for each evaluated photograph without the part of the choosing set that it is in.

    Args:
        choose: function of (labels, scores) that returns numbers, the same count of them each time. It may
            be given empty arrays, where the choosing set is one part.
        choosing: `EvaluationSet` to choose from.
        evaluated: `EvaluationSet` to choose for; its labels and scores aren't used.

    Returns:
        float64 (evaluated, ...): what was chosen for each. Photographs that the choosing set doesn't know
        get the choice made on all of it.
    """
    left_out, place = np.unique(parts_to_leave_out(choosing, evaluated), return_inverse=True)
    others = [choosing.parts != part for part in left_out]
    choices = [choose(choosing.labels[rows], choosing.scores[rows]) for rows in others]
    return np.array(choices, dtype="float64")[place]
