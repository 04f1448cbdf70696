"""One photograph for the page: its grade in plain JSON, its report, a copy of both where that is wanted."""

import base64
import datetime

import cv2
import numpy as np

from dr_keras.report import page
from dr_keras.serving.forms import DEFAULT_SIGNATURE
from dr_keras.serving.refusal import Refused
from dr_keras.serving.servable import EXPLAIN, OCCLUDE, PHOTOGRAPHS

_REPORT_SIDE = 1024  # pixels, of the photograph in a report
READING_HELP = (
    "Red regions raise the score, blue ones lower it; the outlined ones raise it most. The colours end at "
    "four grades, on every photograph alike."
)


def about(servable):
    """What the page says of the model: dict for JSON."""
    names = ("grade_names", "thresholds", "architecture", "networks", "image_size", "sha256")
    known = {name: servable.metadata.get(name) for name in names}
    maps = {"explains": servable.explains(), "occludes": servable.occludes()}
    return {"name": servable.name, "version": servable.version, **maps, **known}


async def grade(predictor, data, signature=None):
    """Grades one photograph.

    Args:
        predictor: `Predictor`.
        data: bytes of its file.
        signature: that makes the overlay; `explain` where there is one if None.

    Returns:
        Dict for JSON: `score`, `grade`, `grade_name` and `referable`, each None where it isn't gradable;
        `gradable`, `message`, and `overlay_png`, base64, or None.

    Raises:
        Refused: as `Predictor.predict`.
    """
    if not data:
        raise Refused(400, "the file is empty")
    signature = signature or (EXPLAIN if predictor.servable.explains() else DEFAULT_SIGNATURE)
    outputs = await predictor.predict(signature, {PHOTOGRAPHS: _one(data)})
    value = {name: array[0] for name, array in outputs.items()}
    gradable, overlay = bool(value["gradable"]), value.get("overlay_png_bytes")
    number = int(value["grade"]) if gradable and value["grade"] >= 0 else None
    return {
        "score": float(value["score"]) if number is not None else None,
        "grade": number,
        "grade_name": None if number is None else predictor.servable.metadata["grade_names"][number],
        "referable": None if number is None else bool(value["referable"]),
        "gradable": gradable,
        "message": value["message"].decode(),
        "overlay_png": base64.b64encode(overlay).decode() if overlay and gradable else None,
    }


async def occlude(predictor, data):
    """The occlusion test of one photograph: as `grade`, the overlay being that test's."""
    if not predictor.servable.occludes():
        raise Refused(404, "this model was exported without the occlusion test")
    return await grade(predictor, data, OCCLUDE)


def _one(data):
    array = np.empty(1, object)
    array[0] = data
    return array


def report(servable, data, result):
    """Makes the report of one photograph: a page that needs no other file.

    Args:
        servable: `Servable`.
        data: bytes of the photograph's file.
        result: from `grade`.

    Returns:
        HTML, as text.
    """
    known, cuts = about(servable), servable.metadata.get("thresholds") or ()
    if result["grade"] is None:
        facts = [("Result", "not gradable", result["message"])]
    else:
        limits = ["below", *(f"{cut:g}" for cut in cuts), "above"]
        low, high = limits[result["grade"]], limits[result["grade"] + 1]
        facts = [
            ("ICDR grade", f"{result['grade']}: {result['grade_name']}", f"scores from {low} to {high}"),
            ("Score", f"{result['score']:.2f}", "in grade units, 0 to 4"),
            ("Referable", "yes" if result["referable"] else "no", "grade 2 or above"),
        ]
    pictures = [
        page.figure(_reduced(data), "The photograph", "The photograph, reduced, as the camera stored it.")
    ]
    if result["overlay_png"]:
        overlay = base64.b64decode(result["overlay_png"])
        pictures.append(page.figure(overlay, "Regression activation map over the photograph", READING_HELP))
    rows = [[name.replace("_", " "), value] for name, value in known.items() if value is not None]
    sections = [
        page.Section("result", "Result", (page.facts(facts),)),
        page.Section("photograph", "Photograph", (page.side_by_side(*pictures),)),
        page.Section("model", "Model", (page.table(["", "value"], rows, "What graded it", words=True),)),
    ]
    now = datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d %H:%M UTC")
    return page.page("Diabetic retinopathy: one photograph", f"Graded by {known['name']} on {now}.", sections)


def _reduced(data):
    """A JPEG of the photograph, at most 1024 pixels a side, rows and columns as they are stored."""
    image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)
    if image is None:
        raise Refused(400, "the photograph can't be decoded")
    scale = _REPORT_SIDE / max(image.shape[:2])
    if scale < 1:
        image = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    return cv2.imencode(".jpg", image)[1].tobytes()
