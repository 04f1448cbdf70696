"""The photographs of a report: the worst errors with their maps, and the ranking by score."""

from pathlib import PurePosixPath

import cv2

from dr_keras.grades import GRADE_NAMES
from dr_keras.report import html_page
from dr_keras.report.wording import number

_JPEG_QUALITY = 88
_COLORED = (
    "Red regions raised the score, blue ones lowered it ({}; grade units, one scale for all); white outlines "
    "hold the highest 2 %. A map tells where the model looked, and is no finding."
)
_METHODS = {
    "lesions": "Outlined: what the model takes for lesions, by kind. Its score is read off nothing else.",
    "ram": _COLORED.format("the regression activation map, whose mean plus a constant is the score"),
    "gradcam": _COLORED.format("Grad-CAM, the activations weighted by their gradient"),
}


def worst_errors(cases, images, labels, scores, grades, method):
    """The gallery.

    Args:
        cases: `Case` of each photograph shown, the worst first.
        images, labels, scores, grades: of all photographs: names, true grades, scores, predicted grades.
        method: kind of the maps, a key of `_METHODS`.
    """
    cards = []
    for case in cases:
        name, label, score = short_name(images[case.index]), int(labels[case.index]), scores[case.index]
        text = (
            f"{name}: score {score:.2f}, graded {int(grades[case.index])}; true grade {label}, "
            f"{GRADE_NAMES[label]} ({number(score - label, 1, sign=True)})."
        )
        pictures = [(case.photograph, f"Photograph {name}")]
        if case.overlay is not None:
            alt = f"Map of what raised and lowered the score of {name}"
            pictures.append((case.overlay, alt))
        cards.append((_files(pictures), text + (f" No map: {case.reason}." if case.reason else "")))
    return html_page.Section(
        "worst-errors",
        "The worst errors",
        (
            "The photographs whose score is farthest from the true grade, the worst first. A wrong label or "
            "a poor photograph can be the reason as well as the model.",
            _METHODS[method],
            html_page.photographs(cards, wide=True),
        ),
    )


def progression(shown):
    """Photographs in increasing order of score (P1 figure 11); `shown` is a `progression.Progression`."""
    cards = []
    for picture, image, label, score in zip(
        shown.pictures, shown.images, shown.labels, shown.scores, strict=True
    ):
        alt = f"Photograph {short_name(image)}, score {score:.2f}, true grade {label}"
        cards.append((_files([(picture, alt)]), f"{score:.2f} (true {label})"))
    return html_page.Section(
        "progression",
        "From healthy to severe",
        (
            f"{len(cards)} photographs evenly over the range of scores, from the lowest to the highest, as "
            "the model sees the disease advance. Below each its score and true grade.",
            html_page.photographs(cards, wide=False),
        ),
    )


def short_name(image):
    """The file's name without its folders."""
    return PurePosixPath(image).name


def _files(pictures):
    """(picture, alt) -> what `html_page.photographs` takes."""
    return [(jpeg_bytes(picture), alt, picture.shape[1] / len(picture)) for picture, alt in pictures]


def jpeg_bytes(picture):
    """The JPEG file of a picture: uint8 (height, width, 3), RGB."""
    quality = [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY]
    return cv2.imencode(".jpg", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR), quality)[1].tobytes()
