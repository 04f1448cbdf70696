"""Writing explanations to disk: pictures, raw values, contact sheets, and a table of all of them."""

import collections
import contextlib
import dataclasses
import os
from pathlib import Path, PurePath

import cv2
import numpy as np

from dr_keras import files
from dr_keras.counts import Counts, keeping, pass_on
from dr_keras.data.dicom import split_name
from dr_keras.explain.contact_sheet import ContactSheet
from dr_keras.explain.lesion_findings import Lesion
from dr_keras.explain.overlay import LIMITS, overlay
from dr_keras.grades import DEFAULT_THRESHOLDS, score_to_grade

TABLE, LESIONS_TABLE = "maps.csv", "lesions.csv"
# The scores of the single models stand between `score` and `grade`.
_LESION_FIELDS = tuple(field.name for field in dataclasses.fields(Lesion))
_LONGEST = 240  # bytes of a name, with which a number and a suffix still fit what file systems allow
COLUMNS = ("image", "map", "label", "score", "grade", "energy_outside", "error", "reason")
SHEETS = {
    "contact_sheet": "Photographs and maps by predicted grade",
    "contact_sheet_right": "Rightly graded photographs and their maps",
    "contact_sheet_under_graded": "Under-graded photographs and their maps",
    "contact_sheet_over_graded": "Over-graded photographs and their maps",
}


def write_explanations(
    output_dir, results, names, model_names, labels=None, limit=LIMITS["ram"], thresholds=DEFAULT_THRESHOLDS
):
    """Writes the pictures and values of all explanations, a table and contact sheets.

    Each photograph gets `NAME.png` (see `overlay`) and `NAME.npz` (see `save_map`). The table `maps.csv` has
    the columns image, map, label, score, the score of each model, grade, energy_outside, error and reason,
    which says why a photograph is too bad to be graded: it has no grade. Where lesions are known,
    `lesions.csv` has a row for each in photographs with a grade: image and the fields of
    `lesion_findings.Lesion`. Of these photographs there is one contact sheet by predicted grade or, where
    true grades are known, one each of the rightly graded, the under-graded and the over-graded ones.

    Args:
        output_dir: folder, made if it doesn't exist.
        results: iterable of (path, `Explanation` or None, reason), as an `Explainer` yields.
        names: dict of path -> name of the photograph's files; see `distinct_names`.
        model_names: a name for each model, for the table's columns.
        labels: dict of path -> true grade.
        limit: absolute value in grade units at which the colour scale ends; see `overlay.LIMITS`.
        thresholds: four increasing scores that separate the grades.

    Where Ctrl-C or an `InputError` stops it, tables and contact sheets of what is done are written first.

    Returns:
        `counts.Counts`; the table has the reasons.
    """
    output_dir, labels, counts = Path(output_dir), labels or {}, Counts()
    group = "True grade" if labels else "Predicted grade"
    sheets = {name: ContactSheet(title, group, limit) for name, title in SHEETS.items()}
    of_models = [f"score_{name}" for name in model_names]
    columns = [*COLUMNS[:4], *of_models, *COLUMNS[4:]]
    with contextlib.ExitStack() as tables, keeping(counts) as stopped:
        write, write_lesion = tables.enter_context(files.csv_rows(output_dir / TABLE, columns)), None
        for path, explanation, reason in results:
            if not reason and not np.isfinite(explanation.score):
                reason = "the model's score isn't a number"
            label = labels.get(path)
            row = {"image": path, "label": label, "error": reason}
            if not reason:
                row |= _values(explanation, thresholds) | {"map": names[path]}
                row |= dict(zip(of_models, explanation.scores, strict=True))
                picture = overlay(explanation, PurePath(path).name, label, limit, thresholds)
                write_png(output_dir / f"{names[path]}.png", picture)
                save_map(output_dir / f"{names[path]}.npz", explanation)
                if explanation.findings is not None and not explanation.fault:
                    if write_lesion is None:
                        rows = files.csv_rows(output_dir / LESIONS_TABLE, ["image", *_LESION_FIELDS])
                        write_lesion = tables.enter_context(rows)
                    for lesion in explanation.findings.lesions:
                        write_lesion([path, *dataclasses.astuple(lesion)])
                if not explanation.fault:
                    _add_to_sheet(sheets, explanation, names[path], row["grade"], label)
            counts.add(not reason, not reason and not explanation.fault)
            write([row.get(column, "") for column in columns])
    for name, sheet in sheets.items():
        if len(sheet):
            write_png(output_dir / f"{name}.png", sheet.draw())
    pass_on(stopped, output_dir / TABLE, counts)
    return counts


def _values(explanation, thresholds):
    return {
        "score": explanation.score,
        "grade": "" if explanation.fault else int(score_to_grade(explanation.score, thresholds)),
        "reason": explanation.fault,
        "energy_outside": explanation.energy_outside,
    }


def _add_to_sheet(sheets, explanation, name, grade, label):
    verdict = ""
    if label is not None:
        verdict = "_right" if grade == label else "_under_graded" if grade < label else "_over_graded"
    shown = grade if label is None else label
    sheets[f"contact_sheet{verdict}"].add(explanation, name, shown, f", grade {grade}")


def save_map(path, explanation):
    """Writes an explanation's unscaled values as a compressed `.npz`.

    The arrays are `heat` (height, width), the attribution map over the photograph; `field_of_view` (center_y,
    center_x, radius) in the pixels of `heat`; `score`, `scores` (models,) and `energy_outside`; the
    attribution map `map_k` (rows, columns) of model k; and, in pixels of the square image, the parts of each
    model's `geometry.Grid`: `offset` (models, 2), `step` (models, 2), `window` (models, 4) and `image_size`
    (models,). Of a lesion network also `probabilities`, float16 (size, size, channels) of `CHANNELS`, and
    `bias` and `context`: the map's mean plus these two is the score.
    """
    view, grids = explanation.field_of_view, explanation.grids
    arrays = {f"map_{number}": cells for number, cells in enumerate(explanation.maps)}
    for name in ("offset", "step", "window", "image_size"):
        arrays[name] = np.array([getattr(grid, name) for grid in grids])
    arrays["field_of_view"] = np.array([view.center_y, view.center_x, view.radius])
    for name in ("heat", "score", "scores", "energy_outside"):
        arrays[name] = np.asarray(getattr(explanation, name))
    if explanation.findings is not None:
        arrays["probabilities"] = explanation.findings.probabilities.astype("float16")
        arrays["bias"], arrays["context"] = explanation.findings.bias, explanation.findings.context
    with files.atomic_path(path) as temporary, open(temporary, "wb") as file:
        np.savez_compressed(file, **arrays)


def write_png(path, picture):
    """Writes a picture, uint8 (height, width, 3), RGB, as a PNG file, atomically."""
    data = cv2.imencode(".png", np.ascontiguousarray(picture[..., ::-1]))[1]
    with files.atomic_path(path) as temporary:
        temporary.write_bytes(data.tobytes())


def distinct_names(paths):
    """Gives each photograph a distinct name: its file's name, preceded by folder names where needed.

    Args:
        paths: file paths, no two the same.

    Returns:
        Dict of path -> name without suffix. No two names differ only in upper and lower case.
    """
    parts = {path: [*PurePath(path).parent.parts, _stem(path)] for path in paths}
    depths = dict.fromkeys(paths, 1)
    while True:
        names = {path: "_".join(parts[path][-depth:]).lstrip("/_") for path, depth in depths.items()}
        uses = collections.Counter(name.lower() for name in names.values())
        alike = [path for path in paths if uses[names[path].lower()] > 1 and depths[path] < len(parts[path])]
        if not alike:
            break
        depths |= {path: depths[path] + 1 for path in alike}
    taken = set(SHEETS)
    for path, name in names.items():
        name = names[path] = os.fsdecode(os.fsencode(name)[-_LONGEST:])
        number = 1
        while names[path].lower() in taken:  # eye.jpg beside eye.png
            number += 1
            names[path] = f"{name}-{number}"
        taken.add(names[path].lower())
    return names


def _stem(path):
    """A file's name without suffix; of a DICOM file's frame with its number, `eye-2`."""
    file, frame = split_name(PurePath(path).name)
    return PurePath(file).stem + (f"-{frame}" if frame else "")
