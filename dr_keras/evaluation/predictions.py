"""The table of predictions: one row per photograph, `image,label,score,grade,referable`."""

import csv

import numpy as np

from dr_keras import files
from dr_keras.errors import InputError
from dr_keras.grades import DEFAULT_THRESHOLDS, REFERABLE_GRADE, score_to_grade

COLUMNS = ("image", "label", "score", "grade", "referable")


def write_predictions(path, images, labels, scores, thresholds=DEFAULT_THRESHOLDS):
    """Writes one row per photograph: image, true grade, score, predicted grade, referable (1 or 0).

    A NaN score stands as `nan`, with grade and referable left empty.
    """
    scores = np.asarray(scores)
    with files.csv_rows(path, COLUMNS) as write:
        for image, label, score, grade in zip(
            images, labels, scores, score_to_grade(scores, thresholds), strict=True
        ):
            predicted = ("", "") if np.isnan(grade) else (int(grade), int(grade >= REFERABLE_GRADE))
            write([image, int(label), score, *predicted])


def read_predictions(path):
    """Reads what `write_predictions` wrote; further columns are passed over.

    Returns:
        dict of arrays (n,): `image` (str), `label` (int64), and float64 `score`, `grade` and `referable`,
        NaN where empty.

    Raises:
        InputError: if the file is missing, isn't such a table, or holds a value that can't be read.
    """
    try:
        with open(path, encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file)
            missing = [name for name in COLUMNS if name not in (reader.fieldnames or ())]
            if missing:
                raise InputError(f"{path}: expected the columns {','.join(COLUMNS)}; no {missing[0]}")
            rows = [_read_row(path, reader.line_num, row) for row in reader]
    except OSError as error:
        raise InputError(f"{path}: expected a table of predictions: {error.strerror}") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path}: expected a table of predictions in UTF-8: {error}") from error
    columns = list(zip(*rows)) or [()] * len(COLUMNS)
    types = ("str", "int64", "float64", "float64", "float64")
    return {
        name: np.array(column, dtype=kind) for name, column, kind in zip(COLUMNS, columns, types, strict=True)
    }


def _read_row(path, line, row):
    try:
        numbers = [float("nan") if row[name] == "" else float(row[name]) for name in COLUMNS[2:]]
        return files.plain_text(row["image"]), int(row["label"]), *numbers
    except (TypeError, ValueError):
        found = {name: row[name] for name in COLUMNS}
        raise InputError(f"{path}: line {line}: expected a label and numbers, found {found}") from None
