"""Drawing attribution maps: the one place where an explanation's values are scaled and coloured."""

import cv2
import numpy as np

from dr_keras.explain import lesion_overlay, lettering
from dr_keras.grades import DEFAULT_THRESHOLDS, GRADE_NAMES, score_to_grade

# Absolute values in grade units at which the colour scale ends. The mean of a regression activation map is
# the score less a bias, but lesions are small, so single cells are far larger: one in twenty of the cells
# of an EfficientNet-Lite0 with a linear head at 640 px lies beyond 13. Hiding one window lowers the score by
# less than a grade.
LIMITS = {"lesions": 12.0, "ram": 12.0, "gradcam": 12.0, "occlusion": 1.0}
TOP_SHARE = 0.02  # share of the field of view that is outlined
TOP_LEAST = 0.125  # least value that is outlined, as a share of the limit
# Red and blue, which colour-blind readers can tell apart.
RAISES = np.array([240, 30, 10], "float32")
LOWERS = np.array([10, 90, 255], "float32")
OPACITY = 0.8  # opacity at the limit
STEEPNESS = 0.8  # opacity grows with this power of the value
RELIEF = 0.6  # share of the colour that follows the retina's brightness, so that lesions show through
GREY = 110  # usual level of a retina in the green channel, and of the colour bar at 0
_MIN_SIDE = 512  # pixels; smaller photographs are enlarged so that the caption fits


def blend(image, heat, limit=LIMITS["ram"], inside=None):
    """Lays an attribution map's colours over a photograph and outlines the regions of `top_regions`.

    The photograph is shown red-free (its green channel in grey, where vessels and lesions stand out), so
    that all colours come from the map. A value of 0 is transparent; colour and opacity depend on the value
    alone, and are the same for every photograph.

    Args:
        image: uint8 (height, width, 3), RGB.
        heat: float (height, width), signed, in grade units; NaN is transparent.
        limit: absolute value in grade units at which the colour scale ends.
        inside: bool (height, width), the field of view; None takes the whole image.

    Returns:
        uint8 (height, width, 3), RGB.
    """
    heat = np.nan_to_num(np.asarray(heat, "float32"), posinf=limit, neginf=-limit)
    blended = _colored(image[..., 1], heat, limit)
    top = top_regions(heat, limit, inside).astype(np.uint8)
    width = max(1, round(max(heat.shape) / 512))
    inner, outer = _grown(top, width), _grown(top, 2 * width)
    blended[outer > inner] = 0
    blended[inner > top] = 255
    return blended


def top_regions(heat, limit=LIMITS["ram"], inside=None):
    """Finds the regions that raise the score most: the highest 2 % of the field of view.

    Values below an eighth of `limit` are never among them, so that a map of small values has no such region.

    Args:
        heat: float (height, width), in grade units.
        limit: absolute value in grade units at which the colour scale ends.
        inside: bool (height, width), the field of view; None takes the whole image.

    Returns:
        bool (height, width).
    """
    inside = np.ones(heat.shape, bool) if inside is None else inside
    highest = np.quantile(heat[inside], 1 - TOP_SHARE) if inside.any() else np.inf
    return inside & (heat >= max(highest, TOP_LEAST * limit))


def overlay(
    explanation, name="", label=None, limit=LIMITS["ram"], thresholds=DEFAULT_THRESHOLDS, with_original=True
):
    """Draws an explanation: the photograph, the map over it, the colour bar and a caption.

    Args:
        explanation: `Explanation`.
        name: name of the photograph.
        label: its true grade, where known.
        limit: grade units at which the colours end; see `LIMITS`.
        thresholds: four cuts from score to grade.
        with_original: whether the photograph itself stands to the left.

    Returns:
        uint8 (height, width, 3), RGB. Photographs keep their size; small ones are enlarged to 512 pixels.
    """
    longer_side = max(explanation.heat.shape)
    original, blended = panels(explanation, limit, _MIN_SIDE if longer_side < _MIN_SIDE else None)
    size = max(14, round(max(original.shape) / 50))
    gap = np.full((len(original), size // 2, 3), 255, np.uint8)
    row = [original, gap] if with_original else []
    picture = np.concatenate([*row, blended, gap, key(explanation, len(original), size, limit)], axis=1)
    lines = [name] if name else []
    if explanation.fault:
        lines.append(f"Not gradable, so that it has no grade and its map doesn't count: {explanation.fault}")
    else:
        lines += [caption(explanation, label, thresholds), *_remarks(explanation, limit)]
    return np.concatenate([picture, lettering.text_block(lines, picture.shape[1], size, size // 2)])


def panels(explanation, limit=LIMITS["ram"], longer_side=None):
    """Returns the photograph and its `blend`, or its lesions outlined where they are known, both uint8
    (height, width, 3), RGB.

    Their longer side has `longer_side` pixels; None keeps the photograph's size.
    """
    image, heat, inside = explanation.image, explanation.heat, explanation.field_of_view.mask()
    if longer_side:
        scale = longer_side / max(heat.shape)
        size = tuple(max(1, round(side * scale)) for side in heat.shape[::-1])
        interpolation = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
        image, heat = (cv2.resize(array, size, interpolation=interpolation) for array in (image, heat))
        inside = cv2.resize(inside.astype(np.uint8), size, interpolation=cv2.INTER_NEAREST).astype(bool)
    if explanation.findings is not None:
        view = explanation.field_of_view
        view = view.scaled(len(image) / view.image_height, *image.shape[:2])
        return image, lesion_overlay.outlined(image, explanation.findings, view)
    return image, blend(image, heat, limit, inside)


def caption(explanation, label=None, thresholds=DEFAULT_THRESHOLDS):
    """Returns the caption: score, grade, each model's score (P2 section 4.5.2) and the true grade."""
    text = f"Score {explanation.score:.2f}"
    grade = score_to_grade(explanation.score, thresholds)
    if np.isfinite(grade):
        text += f": grade {int(grade)}, {GRADE_NAMES[int(grade)]}"
    if len(explanation.scores) > 1:
        scales = zip(explanation.grids, explanation.scores, strict=True)
        text += f" ({', '.join(f'{score:.2f} at {grid.image_size} px' for grid, score in scales)})"
    return text if label is None else f"{text}. True grade {label}, {GRADE_NAMES[label]}"


def key(explanation, height, size=14, limit=LIMITS["ram"]):
    """Draws what tells the colours of `panels`: the kinds of lesions, or a `color_bar`."""
    return (
        color_bar(height, size, limit) if explanation.findings is None else lesion_overlay.key(height, size)
    )


def color_bar(height, size=14, limit=LIMITS["ram"]):
    """Draws the colour scale: uint8 (height, width, 3), RGB, with letters of `size` pixels."""
    shown, height = height, max(height, 8 * size)  # cut off at the end for photographs of a lower height
    top, bottom = round(2.5 * size), height - size
    values = np.linspace(limit, -limit, bottom - top)[:, None].repeat(round(1.2 * size), axis=1)
    width = lettering.text_width("grade units", size) + size
    picture = np.full((height, width, 3), 255, np.uint8)
    picture[top:bottom, : values.shape[1]] = _colored(np.full(values.shape, GREY), values, limit)
    picture = lettering.write(picture, 0, size, "grade units", size)
    for step in (1, 0.5, 0, -0.5, -1):
        y = top + (bottom - top) * (1 - step) / 2
        label = f"{step * limit:+g}".replace("-", "\N{MINUS SIGN}") if step else "0"
        picture = lettering.write(picture, values.shape[1] + size // 3, y, label, size)
    return picture[:shown]


def _colored(grey, values, limit):
    """Blends the colours of values (height, width) with a grey picture (height, width): uint8 RGB."""
    strength = np.minimum(np.abs(values) / limit, 1).astype("float32")
    opacity = (OPACITY * strength**STEEPNESS)[..., None]
    grey = grey[..., None].astype("float32")
    colors = np.where(values[..., None] > 0, RAISES, LOWERS) * (1 - RELIEF + RELIEF * grey / GREY)
    return np.clip(grey * (1 - opacity) + colors * opacity, 0, 255).round().astype(np.uint8)


def _grown(mask, pixels):
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * pixels + 1, 2 * pixels + 1))
    return cv2.dilate(mask, disc)


def _remarks(explanation, limit):
    if explanation.findings is not None:
        return lesion_overlay.remarks(explanation.findings)
    text = "Red raises the score, blue lowers it. "
    if top_regions(explanation.heat, limit, explanation.field_of_view.mask()).any():
        text += f"Outlined: the highest {100 * TOP_SHARE:g} % of the field of view. "
    else:
        text += f"Nothing is outlined: values stay below {TOP_LEAST * limit:g}. "
    if any(min(grid.window[2:]) < grid.image_size for grid in explanation.grids):
        text += "What lies beyond the straight edges isn't seen by the network. "
    return [
        text + f"{100 * explanation.energy_outside:.0f} % of the map lay outside the eye and isn't shown."
    ]
