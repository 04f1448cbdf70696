"""What a model says of a photograph, and the table of many: one row a photograph."""

import csv
from typing import NamedTuple

import numpy as np

from dr_keras import files
from dr_keras.grades import DEFAULT_THRESHOLDS, GRADE_NAMES, REFERABLE_GRADE, score_to_grade

GRADE_COLUMNS = ("image", "score", "grade", "grade_name", "referable", "error", "gradable", "reason")


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
