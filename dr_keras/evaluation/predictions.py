"""The table of predictions: one row per photograph, `image,label,score,grade,referable[,patient]`."""

import csv

import numpy as np

from dr_keras import files
from dr_keras.errors import InputError
from dr_keras.grades import DEFAULT_THRESHOLDS, REFERABLE_GRADE, score_to_grade

COLUMNS = ("image", "label", "score", "grade", "referable")
PREDICTIONS = "predictions.csv"  # the table's file in a run or report
PATIENT = "patient"  # a further column, where patients are known


def write_predictions(path, images, labels, scores, thresholds=DEFAULT_THRESHOLDS, patients=None):
    """Writes one row per photograph: image, true grade, score, predicted grade, referable (1 or 0), patient.

    A NaN score stands as `nan`, with grade and referable left empty. Without `patients` that column is left
    out.
    """
    scores = np.asarray(scores)
    further = [(patient,) for patient in patients] if patients is not None else [()] * len(scores)
    with files.csv_rows(path, COLUMNS if patients is None else (*COLUMNS, PATIENT)) as write:
        for image, label, score, grade, patient in zip(
            images, labels, scores, score_to_grade(scores, thresholds), further, strict=True
        ):
            predicted = ("", "") if np.isnan(grade) else (int(grade), int(grade >= REFERABLE_GRADE))
            write([image, int(label), score, *predicted, *patient])


def read_predictions(path):
    """Reads what `write_predictions` wrote; further columns are passed over.

    Returns:
        dict of arrays (n,): `image` (str), `label` (int64), float64 `score`, `grade` and `referable`, NaN
        where empty, and `patient` (str), which is the image where the table doesn't say it.

    Raises:
        InputError: if the file is missing, isn't such a table, or holds a value that can't be read.
    """
    try:
        found, lines = files.read_csv(path)
    except OSError as error:
        raise InputError(f"{path}: expected a table of predictions: {error.strerror}") from error
    except csv.Error as error:
        raise InputError(f"{path}: expected a table of predictions: {error}") from error
    missing = [name for name in COLUMNS if name not in found]
    if missing:
        raise InputError(f"{path}: expected a table with the columns {','.join(COLUMNS)}; no {missing[0]}")
    rows = [_read_row(path, line, row) for line, row in lines]
    names, types = (*COLUMNS, PATIENT), ("str", "int64", "float64", "float64", "float64", "str")
    columns = list(zip(*rows)) or [()] * len(names)
    return {
        name: np.array(column, dtype=kind) for name, column, kind in zip(names, columns, types, strict=True)
    }


def _read_row(path, line, row):
    try:
        numbers = [float("nan") if row[name] == "" else float(row[name]) for name in COLUMNS[2:]]
        return row["image"], int(row["label"]), *numbers, row.get(PATIENT) or row["image"]
    except (TypeError, ValueError):
        found = {name: row[name] for name in COLUMNS}
        raise InputError(f"{path}: line {line}: expected a label and numbers, found {found}") from None
