"""Whether a photograph can be graded at all, judged by the pixels alone."""

import cv2
import numpy as np

from dr_keras.data.fundus import crop_square, disc
from dr_keras.data.inspection import SURROUND, reason_without_retina

SIDE = 256  # pixels; what is measured here must not depend on the size of the photograph
MARGIN = 15  # pixels; the edge of the field of view is no detail of the retina
# Measured on IDRiD's 413 photographs, one camera, and 636 of EyePACS, many cameras. IDRiD's lie far from
# every limit; of EyePACS the limits take the few that a look confirms.
MIN_COVERAGE = 0.7  # of the circle; IDRiD 0.92 and more, EyePACS 0.75 but for one of 0.38
DARK, MAX_DARK_SHARE = 30, 0.5  # brightest channel; IDRiD 0.02 at most, vessels are seen up to 0.4
BRIGHT, MAX_BRIGHT_SHARE = 230, 0.4  # red and green; IDRiD 0.04 at most, EyePACS 0.2 but one of 0.97
# Ratios of neighbouring octaves of detail, which neither contrast nor brightness changes but focus does. The
# finest falls first, yet noise fills it up; what is very blurred shows in the next. Blurred by 1 of 256
# pixels, 19 of 20 photographs fall below the first limit; by 3, all below one of the two.
MIN_FINE_DETAIL = 0.75  # IDRiD 0.90 and more
MIN_MIDDLE_DETAIL = 0.39  # IDRiD 0.48 and more
FOCUS_SIGMAS = (1.0, 2.0, 4.0)  # pixels, of the blurs between the octaves
TOO_DARK = "too dark: most of the retina is all but black"
CUT_OFF = "cut off: {}% of the field of view is in the photograph and lit"
TOO_BRIGHT = "too bright: much of the retina is overexposed"
OUT_OF_FOCUS = "out of focus: fine detail is missing"


def gradability(image, field_of_view):
    """Judges whether a photograph is good enough to be graded.

    Args:
        image: uint8 (height, width, 3), RGB: a photograph, or a prepared square.
        field_of_view: its `FieldOfView`; of a prepared square `FieldOfView.of_square`. Where the circle
            is less than 256 pixels across, focus isn't judged.

    Returns:
        (gradable, reason): a bool, and one line that begins with what is wrong ("no visible retina",
        "not a fundus photograph", "too dark", "cut off", "too bright", "out of focus"), or "".
    """
    reason = reason_without_retina(image, field_of_view) or _fault(image, field_of_view)
    return not reason, reason


def _fault(image, field_of_view):
    square = crop_square(image, field_of_view, SIDE)
    brightest, circle = square.max(axis=2), disc(SIDE)
    lit = (brightest > SURROUND).astype(np.uint8) & circle
    inside = cv2.erode(lit, np.ones((MARGIN, MARGIN), np.uint8), borderValue=0) > 0
    covered = lit.sum() / circle.sum()
    if not inside.any() or np.mean(brightest[inside] < DARK) > MAX_DARK_SHARE:
        return TOO_DARK
    if covered < MIN_COVERAGE:
        return CUT_OFF.format(round(100 * covered))
    if np.mean(square[inside][:, :2].min(axis=1) >= BRIGHT) > MAX_BRIGHT_SHARE:
        return TOO_BRIGHT
    if 2 * field_of_view.radius >= SIDE - 1 and not _in_focus(square, inside):
        return OUT_OF_FOCUS
    return ""


def _in_focus(square, inside):
    grey = square.mean(axis=2, dtype=np.float32)
    levels = [grey, *(cv2.GaussianBlur(grey, (0, 0), sigma) for sigma in FOCUS_SIGMAS)]
    fine, middle, coarse = ((a - b)[inside].std() for a, b in zip(levels, levels[1:]))
    return fine >= MIN_FINE_DETAIL * middle and middle >= MIN_MIDDLE_DETAIL * coarse
