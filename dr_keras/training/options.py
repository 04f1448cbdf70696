"""Fields of a dataclass that say what they are and check what they are given; flags can be made from them."""

import dataclasses
import numbers

from dr_keras.errors import InputError

_TYPES = {int: numbers.Integral, float: numbers.Real, str: str, bool: bool}


@dataclasses.dataclass(frozen=True)
class Option:
    """What is known of a field besides its default.

    Attributes:
        help: one or two sentences.
        kind: type of the value, or of each number of a tuple.
        choices: allowed values; () for any.
        low, high: least and greatest value; None for no limit.
        length: numbers in a tuple; 0 for any number of them, None for a single value.
        increasing: whether the numbers of a tuple must increase.
        per_stage: whether each stage of a training, which is one image size, may have its own value.
        flag: whether a flag of the same name is made of it.
    """

    help: str
    kind: type = str
    choices: tuple = ()
    low: float | None = None
    high: float | None = None
    length: int | None = None
    increasing: bool = False
    per_stage: bool = False
    flag: bool = True

    def check(self, name, value):
        """Raises `InputError`, which names the field as a flag, unless the value is allowed."""
        try:
            values = (value,) if self.length is None else tuple(value)
            fits = (
                all(isinstance(each, _TYPES[self.kind]) and each == each for each in values)  # NaN isn't
                and (not self.length or len(values) == self.length)
                and (not self.choices or all(each in self.choices for each in values))
                and (self.low is None or all(each >= self.low for each in values))
                and (self.high is None or all(each <= self.high for each in values))
                and (not self.increasing or list(values) == sorted(set(values)))
            )
        except TypeError:  # no sequence
            fits = False
        if not fits:
            raise InputError(f"--{name}={value}: expected {self.expected()}")

    def expected(self):
        """The allowed values in words."""
        if self.choices:
            return f"one of {', '.join(map(str, self.choices))}"
        noun = {int: "whole number", float: "number", str: "text", bool: "true or false"}[self.kind]
        if self.length is not None:
            noun = f"{self.length or 'any number of'} {'increasing ' * self.increasing}{noun}s"
        low = "" if self.low is None else f" from {self.low}"
        return noun + low + ("" if self.high is None else f" to {self.high}")


def option(default, help, kind=None, **limits):
    """Dataclass field with an `Option`; its kind is that of the default unless it is named."""
    if kind is None:
        kind = type(default[0] if isinstance(default, tuple) else default)
    return dataclasses.field(default=default, metadata={"option": Option(help, kind, **limits)})


def options(cls):
    """Yields (name, default, `Option`) of the fields of a dataclass."""
    for field in dataclasses.fields(cls):
        yield field.name, field.default, field.metadata["option"]


def check_fields(config):
    """Raises `InputError` unless each field is allowed; None is where it is the default."""
    for name, default, known in options(type(config)):
        value = getattr(config, name)
        if value is not None or default is not None:
            known.check(name, value)
