"""Grading rules: what a model needs besides its weights to grade a photograph, stored in the model's file."""

import dataclasses

from dr_keras.data.normalization import check_steps
from dr_keras.data.quality import QualityLimits
from dr_keras.errors import InputError
from dr_keras.grades import DEFAULT_THRESHOLDS, GRADE_NAMES, NUM_GRADES, REFERABLE_GRADE, score_to_grade


@dataclasses.dataclass(frozen=True)
class GradingRules:
    """How photographs are preprocessed for a model, and what its scores mean.

    The image size and the channel statistics aren't among the rules, since the model's layers hold them.

    Attributes:
        normalization: names of steps in `data.normalization.STEPS`, applied to every photograph in order.
        thresholds: four increasing scores, in grade units, that separate the grades.
        grade_names: names of the grades 0-4.
        referable_grade: the lowest grade that is referred to an ophthalmologist.
        quality: `QualityLimits`; a photograph beyond them gets no grade.
        calibration: what turns a score into probabilities of the grades, as `grades.grade_probabilities`
            takes it; None if that was never fitted.

    Raises:
        InputError: if an attribute has a value that isn't allowed.
    """

    normalization: tuple = ()
    thresholds: tuple = DEFAULT_THRESHOLDS
    grade_names: tuple = GRADE_NAMES
    referable_grade: int = REFERABLE_GRADE
    quality: QualityLimits = QualityLimits()
    calibration: tuple | None = None

    def __post_init__(self):
        object.__setattr__(self, "normalization", check_steps(self.normalization))
        object.__setattr__(self, "thresholds", _numbers(self.thresholds))
        object.__setattr__(self, "grade_names", tuple(self.grade_names))
        if self.calibration is not None:
            slope, *cuts = map(float, self.calibration)
            if not slope > 0 or len(cuts) != NUM_GRADES - 1 or sorted(cuts) != cuts:
                raise InputError(
                    "`calibration` must be a slope above 0 and four increasing cuts. Received: "
                    f"calibration={self.calibration}"
                )
            object.__setattr__(self, "calibration", (slope, *cuts))
        try:
            score_to_grade(0.0, self.thresholds)
        except ValueError as error:
            raise InputError(str(error)) from None
        if len(self.grade_names) != NUM_GRADES or not 0 < self.referable_grade < NUM_GRADES:
            raise InputError(
                f"`grade_names` must be {NUM_GRADES} names and `referable_grade` a grade above 0. Received: "
                f"grade_names={self.grade_names}, referable_grade={self.referable_grade}"
            )

    def to_dict(self):
        """Returns the rules as a dict that JSON can store."""
        return {
            name: list(value) if isinstance(value, tuple) else value
            for name, value in dataclasses.asdict(self).items()
        }

    @classmethod
    def from_dict(cls, values):
        """Makes rules from a dict that `to_dict` returned; unknown keys, from later versions, are ignored,
        and missing limits of quality, from earlier ones, have their defaults.

        Raises:
            InputError: if a value is missing or not allowed.
        """
        try:
            names = [field.name for field in dataclasses.fields(cls) if field.name in values]
            limits = {field.name for field in dataclasses.fields(QualityLimits)}
            given = {name: values[name] for name in names}
            if "quality" in given:
                known = limits.intersection(given["quality"])
                given["quality"] = QualityLimits(**{name: given["quality"][name] for name in known})
            return cls(**given)
        except (TypeError, KeyError, ValueError) as error:
            raise InputError(f"the model's grading rules can't be read ({error})") from None


def _numbers(thresholds):
    try:
        return tuple(float(cut) for cut in thresholds)
    except (TypeError, ValueError):
        raise InputError(f"`thresholds` must be four increasing numbers. Received: {thresholds!r}") from None
