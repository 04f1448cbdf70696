"""The table of predictions: one row per photograph, `image,label,score,grade,referable`."""

import csv
from typing import NamedTuple

import numpy as np

from dr_keras import files
from dr_keras.errors import InputError
from dr_keras.grades import DEFAULT_THRESHOLDS, GRADE_NAMES, REFERABLE_GRADE, score_to_grade

COLUMNS = ("image", "label", "score", "grade", "referable")
GRADE_COLUMNS = ("image", "score", "grade", "grade_name", "referable", "error", "gradable", "reason")


def write_predictions(path, images, labels, scores, thresholds=DEFAULT_THRESHOLDS):
    """Writes one row per photograph: image, true grade, score, predicted grade, referable (1 or 0).

    A NaN score stands as `nan`, with grade and referable left empty.
    """
    scores = np.asarray(scores)
    with files.atomic_path(path) as temporary, open(temporary, "w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        for image, label, score, grade in zip(
            images, labels, scores, score_to_grade(scores, thresholds), strict=True
        ):
            predicted = ("", "") if np.isnan(grade) else (int(grade), int(grade >= REFERABLE_GRADE))
            writer.writerow([image, int(label), score, *predicted])


class Graded(NamedTuple):
    """What a model says of a file.

    Attributes:
        image: the file.
        score: in grade units, or NaN.
        error: why it has no score, or "".
        grade: where a server cut the score itself; otherwise None.
        fault: why the photograph is too bad to be graded, "" if it isn't, None where it wasn't judged.
    """

    image: str
    score: float
    error: str = ""
    grade: int | None = None
    fault: str | None = None


def write_grades(path, results, thresholds=DEFAULT_THRESHOLDS):
    """Writes one row per file: `GRADE_COLUMNS`, with the grade's ICDR name, and 1 or 0 for yes or no.

    Args:
        path: the CSV file, written whole or not at all.
        results: iterable of `Graded`; a file with an error has that in its row and nothing else.
        thresholds: four increasing cuts, for scores without a grade.

    Returns:
        The number of files that have an error in place of a grade.
    """
    failed = 0
    with files.atomic_path(path) as temporary, open(temporary, "w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(GRADE_COLUMNS)
        for result in results:
            row = grade_row(result, thresholds)
            failed += bool(row["error"])
            writer.writerow(row.values())
    return failed


def grade_row(graded, thresholds=DEFAULT_THRESHOLDS):
    """Returns the row of a `Graded`: dict of `GRADE_COLUMNS`, in order, "" where there is nothing to say."""
    image, score, error, grade, fault = graded
    if not error and np.isnan(score):
        error = "the model's score isn't a number"
    given = ("",) * 4
    if not error:
        grade = int(score_to_grade(score, thresholds)) if grade is None else grade
        given = (score, grade, GRADE_NAMES[grade], int(grade >= REFERABLE_GRADE))
    quality = ("", "") if fault is None else (int(not fault), fault)
    return dict(zip(GRADE_COLUMNS, (image, *given, error, *quality), strict=True))


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
        return row["image"], int(row["label"]), *numbers
    except (TypeError, ValueError):
        found = {name: row[name] for name in COLUMNS}
        raise InputError(f"{path}: line {line}: expected a label and numbers, found {found}") from None
