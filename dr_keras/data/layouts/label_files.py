"""Label files as they come: CSV with stray columns, rows and spaces, and DDR's plain lists."""

import csv
import dataclasses
import io
import re
from pathlib import Path

from dr_keras.data.suffixes import IMAGE_SUFFIXES
from dr_keras.errors import InputError
from dr_keras.grades import NUM_GRADES

_EYE_NAME = re.compile(r"^(.+)[_. -](left|right|l|r|os|od)$", re.IGNORECASE)
_EYES = {"left": "left", "l": "left", "os": "left", "right": "right", "r": "right", "od": "right"}


@dataclasses.dataclass(frozen=True)
class Row:
    """One row of a label file.

    Attributes:
        file: path of the label file.
        number: line in that file; the header is line 1.
        values: dict of lower-case column name to the cell's text, stripped.
    """

    file: str
    number: int
    values: dict

    def __getitem__(self, column):
        return self.values[column.lower()]

    def error(self, problem):
        """Returns the `InputError` that says what is wrong with this row."""
        return InputError(f"{self.file}, row {self.number}: {problem}")

    def grade(self, column):
        """Returns the ICDR grade in `column`, or raises `InputError` if it isn't one of 0-4."""
        return parse_grade(self[column], self)


@dataclasses.dataclass(frozen=True)
class Label:
    """What a label file says of one photograph; see `records.Record` for the fields."""

    row: Row
    name: str
    grade: int
    patient: str = ""
    eye: str = ""
    split: str = ""


def parse_grade(text, row):
    """Returns `text` as a grade; "2" and "2.0" are both grade 2. `row` is named in the error."""
    try:
        value = float(text)
    except ValueError:
        value = None
    if value not in range(NUM_GRADES):
        raise row.error(f"label {text!r} isn't a whole number from 0 to {NUM_GRADES - 1}")
    return int(value)


def read_rows(path, required, optional=(), other_names=None, headings=None):
    """Reads a CSV file.

    A byte-order mark, Windows line ends, `;` for `,`, unnamed columns, spaces around names and cells,
    and rows with nothing in the columns asked for are all accepted. Column names ignore case.

    Args:
        path: the file.
        required: names of columns that must be there.
        optional: names of columns that read as "" where they aren't.
        other_names: dict of some of these to what they are called besides; the first that is there is taken.
        headings: dict of some of these to what they are called in this file, and nothing else.

    Returns:
        List of `Row`s that hold these columns.

    Raises:
        InputError: if the file can't be read, is empty or lacks a required column.
    """
    lines = _cells(path)
    header = [cell.strip() for cell in next(lines, (1, []))[1]]
    positions = {name.lower(): index for index, name in reversed(list(enumerate(header))) if name}
    for name, others in (other_names or {}).items():
        found = next((other for other in (name, *others) if other in positions), None)
        if found is not None:
            positions[name] = positions[found]
    named = {name: positions.get(heading.lower()) for name, heading in (headings or {}).items()}
    for name, position in named.items():
        if position is None:
            raise InputError(
                f"{path}: no column {headings[name]!r}, which --columns names for {name} "
                f"(columns found: {_listed(header)})"
            )
    positions |= named
    missing = [name for name in required if name.lower() not in positions]
    if missing:
        raise InputError(f"{path}: no column {missing[0]!r} (columns found: {_listed(header)})")
    wanted = [name.lower() for name in (*required, *optional)]
    rows = []
    for number, cells in lines:
        cells = [*map(str.strip, cells), *[""] * (len(header) - len(cells))]
        values = {name: cells[positions[name]] if name in positions else "" for name in wanted}
        if any(values.values()):
            rows.append(Row(str(path), number, values))
    return rows


def _listed(header):
    return ", ".join(name for name in header if name) or "none"


def read_list(path):
    """Reads lines of `name label`, as DDR has them, into `Row`s with the columns image and level."""
    rows = []
    for number, line in enumerate(_text(path).splitlines(), start=1):
        if line.strip():
            row = Row(str(path), number, {})
            parts = line.rsplit(maxsplit=1)
            if len(parts) != 2:
                raise row.error(f"expected 'name label', found {line.strip()!r}")
            rows.append(dataclasses.replace(row, values=dict(zip(("image", "level"), map(str.strip, parts)))))
    return rows


def eye_of(name):
    """Splits names like EyePACS's `<patient>_left`, `Patient001_L` or `12_OD` (oculus dexter, the right one).

    Returns:
        (patient, "left" or "right"), or ("", "") for other names.
    """
    match = _EYE_NAME.match(without_suffix(Path(name).name))
    return (match[1], _EYES[match[2].lower()]) if match else ("", "")


def without_suffix(name):
    """Returns `name` without the suffix of an image file; other dots stay."""
    stem, _, suffix = name.rpartition(".")
    return stem if stem and f".{suffix.lower()}" in IMAGE_SUFFIXES else name


def _cells(path):
    """Yields (line number, cells) of a CSV file."""
    text = _text(path)
    header = text.partition("\n")[0]
    delimiter = ";" if ";" in header and "," not in header else ","
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
    try:
        for cells in reader:
            yield reader.line_num, cells
    except csv.Error as error:
        raise InputError(f"{path}, row {reader.line_num}: not readable as CSV ({error})") from None


def _text(path):
    try:
        text = Path(path).read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise InputError(f"{path}: not a text file in UTF-8") from None
    except OSError as error:
        raise InputError(f"{path}: can't be read ({error.strerror})") from None
    if not text.strip():
        raise InputError(f"{path}: the file is empty")
    return text
