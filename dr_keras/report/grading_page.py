"""The page that grades photographs, on a server or in a browser: files, words, one photograph's report.

`page/` has its markup, looks and script, which takes the answers from a module `source.js` beside it.
"""

import dataclasses
import html
import json
import string
from importlib import resources

import markupsafe
import numpy as np

from dr_keras.explain import overlay
from dr_keras.lesion_kinds import COLOR_NAMES, LESIONS, WORDS
from dr_keras.report import html_page

REPORT_SIDE = 1024  # pixels, of the photograph in a report
LONGEST_NAME = 200  # characters of a file's name
READING_HELP = (
    "Red regions raise the score, blue ones lower it; the outlined ones raise it most. The colours mean the "
    "same on every photograph; values beyond the ends of the scale have the colours of its ends."
)
# One sentence on a lesion network's overlay. The page in the browser fills these in, too.
OUTLINED = {
    "lesions": [f"{WORDS[kind][1]} in {COLOR_NAMES[kind]}, {{added}}" for kind in LESIONS],
    "look": " The look of the retina besides adds {added}.",
    "sentence": "Outlined, with what they add to the score: {lesions}.{look} "
    "An eye without lesions has {rest}.",
    "least": 0.005,  # grade units; of a look that adds less nothing is said
}
# Formats that the page lets be chosen in a browser, and what file choosers call them; a server reads more.
FORMATS = {"JPEG": "image/jpeg", "PNG": "image/png"}
# Between such brackets stands what the page in the browser fills into a report.
_BLANK = "[[{}]]"
_LIMITS = {"explain": overlay.LIMITS["ram"], "occlude": overlay.LIMITS["occlusion"]}  # grade units


@dataclasses.dataclass(frozen=True)
class PageModel:
    """What the page says of the model that grades.

    Attributes:
        name, version: of the model.
        metadata: dict as of `dr_keras.json`, with `rules` as `GradingRules`.
        explains, occludes: whether it has overlays of its own, and whether it offers the occlusion test.
    """

    name: str
    version: str | int
    metadata: dict
    explains: bool
    occludes: bool

    @property
    def rules(self):
        """`GradingRules`."""
        return self.metadata["rules"]

    def about(self):
        """What the page's script needs to know of the model: dict for JSON."""
        return {
            "name": self.name,
            "version": self.version,
            "explains": self.explains,
            "occludes": self.occludes,
            "map_limits": _LIMITS,
            "grade_names": self.rules.grade_names,
            "thresholds": self.rules.thresholds,
            "sha256": self.metadata.get("sha256"),
        }

    def rows(self):
        """What the model is, in words: rows of the report's table."""
        known = self.metadata
        maps = ["regression activation map"] * self.explains + ["occlusion test"] * self.occludes
        rows = {
            "name": f"{self.name}, version {self.version}",
            "architecture": known.get("architecture"),
            "networks": known.get("networks"),
            "image size": known.get("image_size") and f"{known['image_size']} pixels a side",
            "grades": ", ".join(self.rules.grade_names),
            "thresholds": ", ".join(f"{cut:g}" for cut in self.rules.thresholds),
            "maps": ", ".join(maps) or "none",
            "SHA-256 of its weights": known.get("sha256"),
        }
        return [[name, value] for name, value in rows.items() if value]


def index(about, head, formats=FORMATS):
    """The page's HTML.

    Args:
        about: dict that its script reads.
        head: HTML for its head.
        formats: dict of the formats that may be chosen to what file choosers call them; two or more.
    """
    *names, last = formats
    return string.Template(text("index.html")).substitute(
        notice_title=html_page.NOTICE_TITLE,
        notice=html_page.NOTICE,
        model=html.escape(json.dumps(about)),
        head=head,
        formats=f"{', '.join(names)} or {last}",
        accepted=",".join(formats.values()),
    )


def style():
    """The page's CSS."""
    return string.Template(text("page.css")).substitute(scale_colors=scale_colors())


def text(name):
    """The text of one of the page's files."""
    return resources.files(__package__).joinpath("page", name).read_text(encoding="utf-8")


def scale_colors():
    """The colours of the maps from their lowest to their highest value, as a list for a gradient in CSS."""
    values = np.linspace(-1, 1, 17)[:, None]
    opacity = overlay.OPACITY * np.abs(values) ** overlay.STEEPNESS
    colors = overlay.GREY * (1 - opacity) + np.where(values > 0, overlay.RAISES, overlay.LOWERS) * opacity
    return ", ".join(f"rgb({red:.0f}, {green:.0f}, {blue:.0f})" for red, green, blue in colors)


def outlined(score, added, context):
    """One sentence on a lesion network's overlay.

    Args:
        score: of the photograph, in grade units.
        added: what each of `LESIONS` adds to it.
        context: what the look of the retina adds besides.
    """
    parts = [
        words.format(added=f"{part:+.2f}") for words, part in zip(OUTLINED["lesions"], added, strict=True)
    ]
    look = OUTLINED["look"].format(added=f"{context:+.2f}") if abs(context) >= OUTLINED["least"] else ""
    rest = score - sum(added) - context
    return OUTLINED["sentence"].format(lesions="; ".join(parts), look=look, rest=f"{rest:.2f}")


def limits(rules):
    """The scores between which each grade lies: six words."""
    return ["below", *(f"{cut:g}" for cut in rules.thresholds), "above"]


def referable_words(referable, probability=None):
    """Whether an ophthalmologist should see the eye, in words; a calibrated model's with the probability."""
    words = "yes" if referable else "no"
    return words if probability is None else f"{words}; probability of referable disease {probability:.2f}"


def report(model, name, time, result, photograph, picture=None, words=None):
    """Makes the report of one photograph: a page that needs no other file.

    Args:
        model: `PageModel`.
        name: name of the file, or words in its place.
        time: when it was graded.
        result: dict of `grade`, `grade_name`, `low`, `high`, `score` and `referable`, all text, or text: why
            the photograph has no grade.
        photograph: bytes of a JPEG.
        picture: bytes of a PNG, the overlay, or None.
        words: what is outlined on it; None for a regression activation map.

    Returns:
        HTML, as text.
    """
    if isinstance(result, str):
        facts = [("Result", "not gradable", result)]
    else:
        least = f"grade {model.rules.referable_grade} or above"
        facts = [
            (
                "ICDR grade",
                "{grade}: {grade_name}".format(**result),
                "scores from {low} to {high}".format(**result),
            ),
            ("Score", result["score"], "in grade units, 0 to 4"),
            ("Referable", result["referable"], least),
        ]
    reduced = "The photograph, reduced, as the camera stored it."
    pictures = [html_page.figure(photograph, "The photograph", reduced)]
    if picture:
        alt = (
            "Lesions outlined on the photograph" if words else "Regression activation map over the photograph"
        )
        pictures.append(html_page.figure(picture, alt, words or _reading_help()))
    table = html_page.table(["", "value"], model.rows(), "What graded it", words=True)
    sections = [
        html_page.Section("result", "Result", (html_page.facts(facts),)),
        html_page.Section("photograph", "Photograph", (html_page.side_by_side(*pictures),)),
        html_page.Section("model", "Model", (table,)),
    ]
    lead = f"{name}, graded by {model.name} on {time}."
    return html_page.page("Diabetic retinopathy: one photograph", lead, sections)


def blank_reports(model, marks_lesions):
    """The reports of a graded photograph and of one without a grade, with blanks that a script fills in.

    The blanks are `[[name]]`: name, time, the keys of `report`'s result, message, words, and the pictures in
    base64, photograph and picture.

    Args:
        model: `PageModel`.
        marks_lesions: whether its overlays outline lesions.

    Returns:
        Dict of `graded` and `refused`, each HTML as text.
    """
    names = ("grade", "grade_name", "low", "high", "score", "referable")
    result = {name: _BLANK.format(name) for name in names}
    pictures = {"photograph": b"\xff\xd8\xffphotograph", "picture": b"\x89PNGpicture"}
    name, time, message, words = (_BLANK.format(each) for each in ("name", "time", "message", "words"))
    drawn = pictures["picture"] if model.explains else None
    words = words if marks_lesions else None
    reports = {
        "graded": report(model, name, time, result, pictures["photograph"], drawn, words),
        "refused": report(model, name, time, message, pictures["photograph"]),
    }  # fmt: skip
    for kind, page in reports.items():
        for each, data in pictures.items():
            page = page.replace(html_page.encoded(data), _BLANK.format(each))
        reports[kind] = page
    return reports


def _reading_help():
    limit = f"{_LIMITS['explain']:g}"
    bar = f"display: block; height: .8rem; background: linear-gradient(to right, {scale_colors()})"
    grid, right = "display: grid; grid-template-columns: 1fr auto 1fr", "text-align: right"
    return html_page.Html(
        f'<span style="{bar}; print-color-adjust: exact"></span><span style="{grid}"><span>'
        f'\N{MINUS SIGN}{limit}</span><span>0</span><span style="{right}">+{limit} grade units</span></span>'
        f"{markupsafe.escape(READING_HELP)}"
    )
