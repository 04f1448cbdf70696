"""Whether a photograph can be graded at all, judged by the pixels alone."""

import dataclasses
import math

import cv2
import numpy as np

from dr_keras.data.fundus import brightest_channel, crop_square, disc, shows_two_eyes
from dr_keras.data.inspection import SURROUND, reason_without_retina
from dr_keras.data.retina_check import retina_log_odds

SIDE = 256  # pixels; what is measured here must not depend on the size of the photograph
MARGIN = 15  # pixels; the edge of the field of view is no detail of the retina
DARK, BRIGHT = 30, 230  # grey levels: of the brightest channel, and of both red and green
OCTAVE_SIGMAS = (1.0, 2.0, 4.0, 8.0, 16.0)  # pixels, of the blurs between the octaves of detail
TOO_DARK = "too dark: most of the retina is all but black"
CUT_OFF = "cut off: {}% of the field of view is in the photograph and lit"
TOO_BRIGHT = "too bright: much of the retina is overexposed"
OUT_OF_FOCUS = "out of focus: fine detail is missing"
GREY = "not a colour photograph: red, green and blue are all but equal"
FILTERED = "not as a camera made it: its colours average to grey, as after a filter"
TOO_SMALL = "too small: the retina is {} pixels across, at least {} are needed"
TOO_COMPRESSED = "too strongly compressed: as JPEG of so low a quality fine detail is lost"
NO_RETINA = "not a fundus photograph: its structure isn't a retina's"
TWO_EYES = "shows two eyes, expected a photograph of one"
FEW_COLOURS = "reduced to {} colours: a photograph has thousands"
MIN_COLOURS = 257  # a palette of 256 moves the fast grader's score by up to 0.7, one of 16 by 2.4
SAMPLED = 10_000  # pixels whose colours are counted first; of a photograph they have thousands
MIDDLE_GREY = 128
# What tells a retina from other pictures in or without a dark surround, judged at 256 pixels: vessels are
# few, dark and sharp on a smooth ground, so detail falls off from coarse to fine and has heavy tails, and
# green shows it with red. Beside each limit what 1,042 photographs of IDRiD and EyePACS have, whole,
# compressed, blurred or sharpened.
MAX_OCTAVE_RATIOS = (1.25, 1.15, 1.1)  # second octave to third, and so on; 1.07, 0.92, 0.87
DETAIL_SIGMA = 4.0  # pixels; of a colour, what is finer is its detail
MIN_KURTOSIS = 3.6  # of green detail; 4.9, where a normal distribution has 3
CORRELATIONS = (0.12, 0.975)  # of red with green detail; 0.25 to 0.95
HUE_SPREADS = (0.006, 0.18)  # standard deviation of red's share of a pixel; 0.010 to 0.127
# That it is a retina (`retina_check`). IDRiD: 0.1 and more; two of EyePACS that all else passes lie below.
MIN_LOG_ODDS = -2.5


@dataclasses.dataclass(frozen=True)
class QualityLimits:
    """Limits between a photograph that can be graded and one that can't.

    The defaults were measured on IDRiD's 413 photographs, of one camera, and 636 of EyePACS, of many. IDRiD's
    lie far from every limit; the few of EyePACS beyond one look ungradable to a reader too.

    The two ratios are of neighbouring octaves of detail, which focus changes but neither contrast nor
    brightness. The finest octave falls first, yet noise fills it; strong blur shows in the next. Of
    photographs blurred by 1 of 256 pixels 19 in 20 fall below the first limit; of those blurred by 3, all.

    Attributes:
        min_coverage: share of the field of view that is in the photograph and lit. IDRiD: 0.92 and more.
        max_dark_share: share of the retina that is all but black. IDRiD: 0.02 at most.
        max_bright_share: share of the retina that is overexposed. IDRiD: 0.04 at most.
        min_fine_detail: ratio of the finest octave to the next. IDRiD: 0.90 and more.
        min_middle_detail: ratio of the second octave to the third. IDRiD: 0.48 and more.
        min_saturation: mean difference of a pixel's brightest and darkest channel, as a share of the
            brightest. EyePACS: 0.085 and more.
        min_grey_distance: grey levels between middle grey and that channel's mean which is farthest from it.
            EyePACS: 14 and more; where the local mean was subtracted (Ben Graham's filter) 4, mostly.
        min_resolution: diameter of the field of view in the photograph, as a share of the side of the
            network's image.
        max_quantization: mean step to which a JPEG rounds the frequencies of brightness, in grey levels; of a
            photograph that is reduced for the network that many times more. At quality 30 it is 96, at 25
            115; at 20 the shipped grader's score is 0.5 off on average. IDRiD: 9, EyePACS: 29.
    """

    min_coverage: float = 0.7
    max_dark_share: float = 0.5
    max_bright_share: float = 0.4
    min_fine_detail: float = 0.75
    min_middle_detail: float = 0.39
    min_saturation: float = 0.04
    min_grey_distance: float = 12.0
    min_resolution: float = 0.35
    max_quantization: float = 105.0


def gradability(image, field_of_view, limits=None, diameter=None, quantization=0.0):
    """Judges whether a photograph is good enough to be graded.

    Args:
        image: uint8 (height, width, 3), RGB: a photograph, or a prepared square.
        field_of_view: its `FieldOfView`; of a prepared square `FieldOfView.of_square`. Where the circle
            is less than 256 pixels across, focus isn't judged.
        limits: `QualityLimits`; None takes the defaults.
        diameter: of the field of view, in pixels, in the photograph that a prepared square was made of; None
            if `image` is no prepared square, whose resolution isn't judged.
        quantization: of the file that a prepared square was made of, see `file_header.Header`; 0 if unknown.

    Returns:
        (gradable, reason): a bool, and one line that begins with what is wrong ("no visible retina",
        "not a fundus photograph", "too dark", "cut off", "too bright", "not a colour photograph", "not as a
        camera made it", "too small", "too strongly compressed", "out of focus"), or "".
    """
    limits = limits or QualityLimits()
    reason = reason_without_retina(image, field_of_view) or _fault(
        image, field_of_view, limits, diameter, quantization
    )
    return not reason, reason


def whole_fault(image):
    """Says why a whole picture, before the field of view is cut out, isn't a photograph of one eye.

    Args:
        image: uint8 (height, width, 3), RGB.

    Returns:
        One line that begins with "shows two eyes" or "reduced to"; or "".
    """
    if shows_two_eyes(image):
        return TWO_EYES
    colours = _count_colours(image)
    return "" if colours is None else FEW_COLOURS.format(colours)


def with_whole(reason, fault):
    """The reason that is told: a picture of two eyes is that first, and one of few colours that last.

    Args:
        reason: what `gradability` says of the square image, or "".
        fault: what `whole_fault` says of the picture, or "".
    """
    return fault if fault == TWO_EYES else reason or fault


def _count_colours(image):
    """How many colours a picture has, if they are few; None if many, or if all are shades of grey."""
    pixels = image.reshape(-1, 3)
    if _count_unlike(pixels[:: max(1, len(pixels) // SAMPLED)]) >= MIN_COLOURS:
        return None
    if (pixels == pixels[:, :1]).all():
        return None
    colours = _count_unlike(pixels)
    return colours if colours < MIN_COLOURS else None


def _count_unlike(pixels):
    return len(np.unique(pixels.astype(np.uint32) @ np.array([1 << 16, 1 << 8, 1], np.uint32)))


def least_diameter(image_size, limits):
    """Pixels across that a field of view must have, for a network's images of a size."""
    return math.ceil(limits.min_resolution * image_size)


def _fault(image, field_of_view, limits, diameter, quantization):
    square = crop_square(image, field_of_view, SIDE)
    brightest, circle = brightest_channel(square), disc(SIDE)
    lit = (brightest > SURROUND).astype(np.uint8) & circle
    inside = cv2.erode(lit, np.ones((MARGIN, MARGIN), np.uint8), borderValue=0) > 0
    covered = lit.sum() / circle.sum()
    if not inside.any() or np.mean(brightest[inside] < DARK) > limits.max_dark_share:
        return TOO_DARK
    if covered < limits.min_coverage:
        return CUT_OFF.format(round(100 * covered))
    red, green, blue = (channel[inside] for channel in cv2.split(square))
    if np.mean(np.minimum(red, green) >= BRIGHT) > limits.max_bright_share:
        return TOO_BRIGHT
    most = brightest[inside].mean()
    if most - np.minimum(np.minimum(red, green), blue).mean() < limits.min_saturation * most:
        return GREY
    if max(abs(channel.mean() - MIDDLE_GREY) for channel in (red, green, blue)) < limits.min_grey_distance:
        return FILTERED
    if diameter is not None and round(diameter) < (least := least_diameter(len(image), limits)):
        return TOO_SMALL.format(round(diameter), least)
    if diameter is not None and quantization > limits.max_quantization * max(1.0, diameter / len(image)):
        return TOO_COMPRESSED
    if 2 * field_of_view.radius < SIDE - 1:
        return ""
    octaves = _octaves(square, inside)
    if not _in_focus(octaves, limits):
        return OUT_OF_FOCUS
    is_retina = _has_a_retinas_structure(square, inside, octaves) and retina_log_odds(square) >= MIN_LOG_ODDS
    return "" if is_retina else NO_RETINA


def _octaves(square, inside):
    """Standard deviations of grey detail between neighbouring blurs of `OCTAVE_SIGMAS`, the finest first."""
    grey = square.mean(axis=2, dtype=np.float32)
    levels = [grey, *(cv2.GaussianBlur(grey, (0, 0), sigma) for sigma in OCTAVE_SIGMAS)]
    return [(a - b)[inside].std() for a, b in zip(levels, levels[1:])]


def _in_focus(octaves, limits):
    fine, middle, coarse = octaves[:3]
    return fine >= limits.min_fine_detail * middle and middle >= limits.min_middle_detail * coarse


def _has_a_retinas_structure(square, inside, octaves):
    """See `MAX_OCTAVE_RATIOS` and what follows it."""
    if any(a > ratio * b for a, b, ratio in zip(octaves[1:], octaves[2:], MAX_OCTAVE_RATIOS)):
        return False
    colours = square[..., :2].astype(np.float32)
    detail = colours - cv2.GaussianBlur(colours, (0, 0), DETAIL_SIGMA)
    red, green = detail[inside].T.astype("float64")
    red, green = red - red.mean(), green - green.mean()
    squares = green * green
    variance = squares.mean()
    correlation = np.mean(red * green) / np.sqrt(np.mean(red * red) * variance + 1e-9)
    shares = colours[inside][:, 0] / (square.sum(axis=2)[inside] + 1)
    if np.mean(squares * squares) < MIN_KURTOSIS * variance**2:
        return False
    judged = (correlation, CORRELATIONS), (shares.std(), HUE_SPREADS)
    return all(low <= value <= high for value, (low, high) in judged)
