"""Answers to the page: one photograph's grade in plain JSON, its occlusion test, its report."""

import base64
import datetime

import cv2
import markupsafe
import numpy as np

from dr_keras.data.photograph import Photograph
from dr_keras.errors import InputError
from dr_keras.explain import overlay
from dr_keras.lesion_kinds import COLOR_NAMES, LESIONS, WORDS
from dr_keras.report import html_page
from dr_keras.serving.forms import DEFAULT_SIGNATURE
from dr_keras.serving.refusal import Refused, one_line
from dr_keras.serving.servable import EXPLAIN, OCCLUDE, PHOTOGRAPHS

_REPORT_SIDE = 1024  # pixels, of the photograph in a report
_LIMITS = {EXPLAIN: overlay.LIMITS["ram"], OCCLUDE: overlay.LIMITS["occlusion"]}  # grade units
_LONGEST_NAME = 200  # characters of a file's name
READING_HELP = (
    "Red regions raise the score, blue ones lower it; the outlined ones raise it most. The colours mean the "
    "same on every photograph; values beyond the ends of the scale have the colours of its ends."
)


def about(servable):
    """What the page needs to know of the model: dict for JSON."""
    rules = servable.metadata["rules"]
    known = {"grade_names": rules.grade_names, "thresholds": rules.thresholds}
    known["sha256"] = servable.metadata.get("sha256")
    maps = {"explains": servable.explains(), "occludes": servable.occludes(), "map_limits": _LIMITS}
    return {"name": servable.name, "version": servable.version, **maps, **known}


def scale_colors():
    """The colours of the maps from their lowest to their highest value, as a list for a gradient in CSS."""
    values = np.linspace(-1, 1, 17)[:, None]
    opacity = overlay.OPACITY * np.abs(values) ** overlay.STEEPNESS
    colors = overlay.GREY * (1 - opacity) + np.where(values > 0, overlay.RAISES, overlay.LOWERS) * opacity
    return ", ".join(f"rgb({red:.0f}, {green:.0f}, {blue:.0f})" for red, green, blue in colors)


async def grade(predictor, data, signature=None):
    """Grades one photograph.

    Args:
        predictor: `Predictor`.
        data: bytes of its file.
        signature: that makes the overlay; `explain` where there is one if None.

    Returns:
        Dict for JSON: `score`, `grade`, `grade_name` and `referable`, each None where it isn't gradable;
        `gradable`, `message`, and `overlay_png`, base64, or None. Of lesion networks also `map_words`: what
        is outlined, and what each kind of lesion adds to the score.

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
    return words | {
        "score": float(value["score"]) if number is not None else None,
        "grade": number,
        "grade_name": None if number is None else predictor.servable.metadata["rules"].grade_names[number],
        "referable": None if number is None else bool(value["referable"]),
        "gradable": gradable,
        "message": value["message"].decode(),
        "overlay_png": base64.b64encode(png).decode() if png and gradable else None,
    }


def _outlined(value):
    """One sentence on a lesion network's overlay; `value` has the outputs of the signature `explain`."""
    added = dict(zip(LESIONS, value["lesion_scores"].tolist(), strict=True))
    parts = [f"{WORDS[kind][1]} in {COLOR_NAMES[kind]}, {added[kind]:+.2f}" for kind in LESIONS]
    context = float(value["context_score"])
    rest = float(value["score"]) - sum(added.values()) - context
    look = f" The look of the retina besides adds {context:+.2f}." if abs(context) >= 0.005 else ""
    said = "; ".join(parts)
    return f"Outlined, with what they add to the score: {said}.{look} An eye without lesions has {rest:.2f}."


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
    rules, name = servable.metadata["rules"], one_line(name)[:_LONGEST_NAME]
    if result["grade"] is None:
        facts = [("Result", "not gradable", result["message"])]
    else:
        limits = ["below", *(f"{cut:g}" for cut in rules.thresholds), "above"]
        low, high = limits[result["grade"]], limits[result["grade"] + 1]
        facts = [
            ("ICDR grade", f"{result['grade']}: {result['grade_name']}", f"scores from {low} to {high}"),
            ("Score", f"{result['score']:.2f}", "in grade units, 0 to 4"),
            ("Referable", "yes" if result["referable"] else "no", f"grade {rules.referable_grade} or above"),
        ]
    pictures = [
        html_page.figure(
            _reduced(data), "The photograph", "The photograph, reduced, as the camera stored it."
        )
    ]
    if result["overlay_png"]:
        alt = "Regression activation map over the photograph"
        words = result.get("map_words")
        alt = "Lesions outlined on the photograph" if words else alt
        picture = base64.b64decode(result["overlay_png"])
        pictures.append(html_page.figure(picture, alt, words or _reading_help()))
    model = html_page.table(["", "value"], _model_rows(servable), "What graded it", words=True)
    sections = [
        html_page.Section("result", "Result", (html_page.facts(facts),)),
        html_page.Section("photograph", "Photograph", (html_page.side_by_side(*pictures),)),
        html_page.Section("model", "Model", (model,)),
    ]
    now = datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d %H:%M UTC")
    lead = f"{name or 'One photograph'}, graded by {servable.name} on {now}."
    return html_page.page("Diabetic retinopathy: one photograph", lead, sections)


def _reading_help():
    limit = f"{_LIMITS[EXPLAIN]:g}"
    bar = f"display: block; height: .8rem; background: linear-gradient(to right, {scale_colors()})"
    grid, right = "display: grid; grid-template-columns: 1fr auto 1fr", "text-align: right"
    return html_page.Html(
        f'<span style="{bar}; print-color-adjust: exact"></span><span style="{grid}"><span>'
        f'\N{MINUS SIGN}{limit}</span><span>0</span><span style="{right}">+{limit} grade units</span></span>'
        f"{markupsafe.escape(READING_HELP)}"
    )


def _model_rows(servable):
    """What the model is, in words: rows of the report's table."""
    known = servable.metadata
    maps = ["regression activation map"] * servable.explains() + ["occlusion test"] * servable.occludes()
    rows = {
        "name": f"{servable.name}, version {servable.version}",
        "architecture": known.get("architecture"),
        "networks": known.get("networks"),
        "image size": known.get("image_size") and f"{known['image_size']} pixels a side",
        "grades": ", ".join(known["rules"].grade_names),
        "thresholds": ", ".join(f"{cut:g}" for cut in known["rules"].thresholds),
        "maps": ", ".join(maps) or "none",
        "SHA-256 of its weights": known.get("sha256"),
    }
    return [[name, value] for name, value in rows.items() if value]


def _reduced(data):
    """A JPEG of the photograph, upright, at most 1024 pixels a side."""
    try:
        image = Photograph(data).frame(_REPORT_SIDE)
    except InputError as error:
        raise Refused(400, f"the photograph can't be decoded ({error})") from None
    return cv2.imencode(".jpg", image[..., ::-1])[1].tobytes()
