"""The result of grading one photograph, and the table of many results, one row per photograph."""

import dataclasses
import math

from dr_keras import files
from dr_keras.counts import Counts, keeping, pass_on
from dr_keras.grades import grade_probabilities, likely_range, score_to_grade
from dr_keras.models.rules import GradingRules

GRADE_COLUMNS = (
    "image", "score", "grade", "grade_name", "referable", "error", "gradable", "reason",
    "referable_probability", "lowest_grade", "highest_grade",
)  # fmt: skip
NO_NUMBER = "the model's score isn't a number"


@dataclasses.dataclass(frozen=True)
class Graded:
    """The result of grading a photograph.

    Attributes:
        image: path or name of the photograph.
        score: in grade units; NaN if the photograph can't be read, meaningless if it can't be graded.
        grade: 0-4, or None if the photograph can't be graded.
        grade_name: ICDR name of the grade, or "".
        referable: whether an ophthalmologist should see the eye, or None without a grade.
        gradable: whether the photograph can be read and is good enough to be graded.
        reason: why the photograph isn't gradable, or "".
        readable: whether the photograph can be read at all.
        probabilities: of grades 0 to 4; None without a grade, or if the model isn't calibrated.
        referable_probability: probability that an ophthalmologist should see the eye; None as those.
    """

    image: str
    score: float
    grade: int | None
    grade_name: str
    referable: bool | None
    gradable: bool
    reason: str = ""
    readable: bool = True
    probabilities: tuple | None = None
    referable_probability: float | None = None

    @property
    def grade_range(self):
        """(lowest, highest) grade: each tail beyond has a probability of 0.1 at most; or None."""
        if self.probabilities is None:
            return None
        return tuple(int(grade) for grade in likely_range(self.probabilities))

    @classmethod
    def of_score(cls, image, score, fault, rules):
        """Makes the result of a score; a `fault` says why the photograph is too bad to be graded, or ""."""
        score = float(score)
        if math.isnan(score):
            return cls.unreadable(image, NO_NUMBER)
        shares = None if rules.calibration is None else grade_probabilities(score, rules.calibration).tolist()
        grade = int(score_to_grade(score, rules.thresholds))
        return cls.of_answer(image, score, grade, fault, shares, rules)

    @classmethod
    def of_answer(cls, image, score, grade, message, probabilities=None, rules=GradingRules()):
        """Makes the result of a server's answer: NaN, -1 and the reason for an unreadable photograph."""
        if math.isnan(score):
            return cls.unreadable(image, message or NO_NUMBER)
        if message:
            return cls(image, score, None, "", None, False, message)
        known = {}
        if probabilities is not None:
            known["probabilities"] = tuple(probabilities)
            known["referable_probability"] = sum(probabilities[rules.referable_grade :])
        name, referable = rules.grade_names[grade], grade >= rules.referable_grade
        return cls(image, score, grade, name, referable, True, **known)

    @classmethod
    def unreadable(cls, image, reason):
        """Makes the result of a photograph that can't be scored, for a reason."""
        return cls(image, math.nan, None, "", None, False, reason, readable=False)


def grade_row(graded):
    """Returns a `Graded` as a row of the table: dict with the keys `GRADE_COLUMNS`, "" for unknown values."""
    if not graded.readable:
        values = (graded.image, "", "", "", "", graded.reason, "", "", "", "", "")
    else:
        grade, referable = ("", "") if graded.grade is None else (graded.grade, int(graded.referable))
        values = (graded.image, graded.score, grade, graded.grade_name, referable, "")
        values += (int(graded.gradable), graded.reason)
        known = graded.probabilities is not None
        values += (round(graded.referable_probability, 4), *graded.grade_range) if known else ("", "", "")
    return dict(zip(GRADE_COLUMNS, values, strict=True))


def grade_line(graded):
    """Returns a readable line: the photograph with its grade and score, or why it has none."""
    image = files.printable(graded.image)
    if not graded.gradable:
        return f"{image}: {'not gradable' if graded.readable else 'unreadable'}: {graded.reason}"
    referable = "referable" if graded.referable else "not referable"
    if graded.probabilities is not None:
        referable += f", probability of referable disease {graded.referable_probability:.2f}"
    grade = f"grade {graded.grade}, {graded.grade_name}"
    return f"{image}: {grade}, {referable} (score {graded.score:.2f})"


def write_grades(path, results):
    """Writes one row per photograph: `GRADE_COLUMNS`, with 1 or 0 for yes or no.

    Ctrl-C, and an `InputError` among the results, end the table with the rows that are done; then they are
    passed on.

    Args:
        path: the CSV file. Until it is whole a file that was there stays.
        results: iterable of `Graded`.

    Returns:
        `counts.Counts`.
    """
    counts = Counts()
    with files.csv_rows(path, GRADE_COLUMNS) as write, keeping(counts) as stopped:
        for graded in results:
            write(grade_row(graded).values())
            counts.add(graded.readable, graded.gradable)
    pass_on(stopped, path, counts)
    return counts


def print_grades(results):
    """Prints a line for each `Graded` of an iterable; returns `counts.Counts`."""
    counts = Counts()
    for graded in results:
        print(grade_line(graded), flush=True)
        counts.add(graded.readable, graded.gradable)
    return counts
