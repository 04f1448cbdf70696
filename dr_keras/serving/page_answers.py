"""Answers to the page: one photograph's grade in plain JSON, its occlusion test, its report."""

import base64
import datetime
import importlib.util

import cv2
import numpy as np

from dr_keras.data import dicom
from dr_keras.data.photograph import Photograph
from dr_keras.errors import InputError
from dr_keras.report import grading_page
from dr_keras.serving.forms import DEFAULT_SIGNATURE
from dr_keras.serving.refusal import Refused, one_line
from dr_keras.serving.servable import EXPLAIN, OCCLUDE, PHOTOGRAPHS

_FURTHER = {"TIFF": "image/tiff", "WebP": "image/webp", "BMP": "image/bmp"}
_DICOM = {"DICOM": "application/dicom,.dcm"}
_TIFF_STARTS = (b"II*\0", b"MM\0*")


def page_model(servable):
    """What the page says of a `Servable`: `grading_page.PageModel`."""
    return grading_page.PageModel(
        servable.name, servable.version, servable.metadata, servable.explains(), servable.occludes()
    )


async def grade(predictor, data, signature=None):
    """Grades one photograph.

    Args:
        predictor: `Predictor`.
        data: bytes of its file.
        signature: that makes the overlay; `explain` where there is one if None.

    Returns:
        Dict for JSON: `score`, `grade`, `grade_name`, `referable`, `referable_words` and, of calibrated
        models, `referable_probability`, each None where it isn't gradable; `gradable`, `message`, and
        `overlay_png`, base64, or None. Of lesion networks also `map_words`: what is outlined, and what each
        kind of lesion adds to the score.

    Raises:
        Refused: as `Predictor.predict`.
    """
    if not data:
        raise Refused(400, "the file is empty")
    signature = signature or (EXPLAIN if predictor.servable.explains() else DEFAULT_SIGNATURE)
    outputs = await predictor.predict(signature, {PHOTOGRAPHS: _one(data)})
    value = {name: array[0] for name, array in outputs.items()}
    gradable, png = bool(value["gradable"]), value.get("overlay_png_bytes")
    number = int(value["grade"]) if gradable and value["grade"] >= 0 else None
    words = {"map_words": _outlined(value)} if "lesion_scores" in value and gradable else {}
    referable = None if number is None else bool(value["referable"])
    chance = float(value["referable_probability"]) if "referable_probability" in value and gradable else None
    return words | {
        "score": float(value["score"]) if number is not None else None,
        "grade": number,
        "grade_name": None if number is None else predictor.servable.metadata["rules"].grade_names[number],
        "referable": referable,
        "referable_probability": chance,
        "referable_words": None if number is None else grading_page.referable_words(referable, chance),
        "gradable": gradable,
        "message": value["message"].decode(),
        "overlay_png": base64.b64encode(png).decode() if png and gradable else None,
    }


def _outlined(value):
    """One sentence on a lesion network's overlay; `value` has the outputs of the signature `explain`."""
    added, context = value["lesion_scores"].tolist(), float(value["context_score"])
    return grading_page.outlined(float(value["score"]), added, context)


async def occlude(predictor, data):
    """The occlusion test of one photograph: as `grade`, the overlay being that test's."""
    if not predictor.servable.occludes():
        raise Refused(404, "this model was exported without the occlusion test")
    return await grade(predictor, data, OCCLUDE)


def _one(data):
    array = np.empty(1, object)
    array[0] = data
    return array


def report(servable, data, result, name=""):
    """Makes the report of one photograph: a page that needs no other file.

    Args:
        servable: `Servable`.
        data: bytes of the photograph's file.
        result: from `grade`.
        name: name of the file, or "".

    Returns:
        HTML, as text.
    """
    name = one_line(name)[: grading_page.LONGEST_NAME] or "One photograph"
    now = datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d %H:%M UTC")
    told, picture = result["message"], result["overlay_png"]
    if result["grade"] is not None:
        low, high = grading_page.limits(servable.metadata["rules"])[result["grade"] :][:2]
        told = {"grade": result["grade"], "grade_name": result["grade_name"], "low": low, "high": high}
        told |= {"score": f"{result['score']:.2f}", "referable": result["referable_words"]}
    return grading_page.report(
        page_model(servable), name, now, told, _reduced(data), picture and base64.b64decode(picture),
        result.get("map_words"),
    )  # fmt: skip


def formats():
    """Formats that the server reads, as `grading_page.index` takes them; DICOM where pydicom is installed."""
    return grading_page.FORMATS | _FURTHER | (_DICOM if importlib.util.find_spec("pydicom") else {})


def shown(data):
    """What a page needs beside the answer to show a photograph that browsers can't.

    Args:
        data: bytes of the photograph's file, which has been graded.

    Returns:
        Dict for JSON: of a DICOM or TIFF file `photograph_jpeg`, reduced, base64; of others nothing.
    """
    if not (dicom.is_dicom(data) or data.startswith(_TIFF_STARTS)):
        return {}
    return {"photograph_jpeg": base64.b64encode(_reduced(data)).decode()}


def _reduced(data):
    """A JPEG of the photograph, upright, at most 1024 pixels a side."""
    try:
        image = Photograph(data).frame(grading_page.REPORT_SIDE)
    except InputError as error:
        raise Refused(400, f"the photograph can't be decoded ({error})") from None
    return cv2.imencode(".jpg", image[..., ::-1])[1].tobytes()
