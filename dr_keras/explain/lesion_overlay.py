"""Drawing lesions: outlines by kind over the photograph, and the key to their colours."""

import cv2
import numpy as np

from dr_keras.explain import lettering
from dr_keras.lesion_kinds import COLORS, LESIONS, WORDS

GAP = 2  # pixels of the square image between a lesion and its outline
_LEAST_RADIUS = 1 / 220  # of the picture's longer side; smaller lesions get a circle that large
_RETINA = (150, 90, 40)  # RGB, behind the colours of the key
_FRACTION_BITS = 4  # of OpenCV's coordinates


def outlined(image, findings, field_of_view):
    """Outlines each lesion in the colour of its kind; the lesion itself stays visible inside.

    Args:
        image: uint8 (height, width, 3), RGB: the photograph at any scale.
        findings: `lesion_findings.Findings`.
        field_of_view: `FieldOfView` in the pixels of `image`.

    Returns:
        uint8 (height, width, 3), RGB.
    """
    picture = image.copy()
    scale = 2 * field_of_view.radius / len(findings.probabilities)
    corner = np.array([field_of_view.center_x, field_of_view.center_y]) - field_of_view.radius
    width, least = max(1, round(max(image.shape) / 640)), max(2.0, _LEAST_RADIUS * max(image.shape))
    for kind in reversed(LESIONS):  # the smallest come last, over the others
        for outline in _outlines(findings.labels[kind] > 0):
            points = corner + (outline + 0.5) * scale
            middle, radius = cv2.minEnclosingCircle(points.astype("float32"))
            if radius < least:
                radius = round(least * 2**_FRACTION_BITS)
                cv2.circle(picture, _fixed(middle), radius, COLORS[kind], width, cv2.LINE_AA, _FRACTION_BITS)
            else:
                cv2.polylines(
                    picture, [_fixed(points)], True, COLORS[kind], width, cv2.LINE_AA, _FRACTION_BITS
                )
    return picture


def key(height, size=14):
    """Draws the key to the colours: uint8 (height, width, 3), RGB, with letters of `size` pixels."""
    names = [WORDS[kind][1] for kind in LESIONS]
    width = max(lettering.text_width(name, size) for name in names) + 2 * size
    picture = np.full((max(height, 8 * size), width, 3), 255, np.uint8)
    for number, (kind, name) in enumerate(zip(LESIONS, names, strict=True)):
        y = round((1.5 + 1.6 * number) * size)
        cv2.rectangle(picture, (0, y - 2 * size // 3), (size + 4, y + 2 * size // 3), _RETINA, cv2.FILLED)
        cv2.circle(picture, (2 + size // 2, y), size // 3, COLORS[kind], 2, cv2.LINE_AA)
        picture = lettering.write(picture, 1.6 * size, y, name, size)
    return picture[:height]


def remarks(findings):
    """Lines of text under a picture: each kind in words, and how the score comes about."""
    lines = [f"{line[0].upper()}{line[1:]}." for line in findings.in_words()]
    parts = [f"{findings.bias:.2f} for an eye without lesions"]
    if abs(findings.context) >= 0.005:
        parts.append(f"{findings.context:+.2f} for the look of the retina besides")
    if findings.remainder >= 0.005:
        parts.append(f"{findings.remainder:.2f} for spots too small to outline")
    words = ", ".join(parts[:-1]) + " and " + parts[-1] if len(parts) > 1 else parts[0]
    return [*lines, f"The score is their sum, with {words}."]


def _outlines(mask):
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * GAP + 1, 2 * GAP + 1))
    grown = cv2.dilate(mask.astype(np.uint8), disc)
    return [points[:, 0] for points in cv2.findContours(grown, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)[0]]


def _fixed(points):
    fixed = np.rint(np.asarray(points) * 2**_FRACTION_BITS).astype(np.int32)
    return tuple(fixed.tolist()) if fixed.ndim == 1 else fixed
