"""Single lesions of a photograph: kind, place, size, and what each adds to the score."""

import dataclasses

import cv2
import numpy as np

from dr_keras.data.lesion_regions import lesion_regions
from dr_keras.lesion_kinds import CHANNELS, LESIONS, OPTIC_DISC, WORDS

QUADRANTS = ("upper left", "upper right", "lower left", "lower right")
_DISC_PROBABILITY = 0.5
_DISC_AREAS = (0.004, 0.06)  # of the square image; what is smaller or larger is no optic disc


@dataclasses.dataclass(frozen=True)
class Lesion:
    """One lesion.

    Attributes:
        kind: one of `LESIONS`.
        center_x, center_y: its middle, in pixels of the photograph, from the upper left corner.
        area: pixels of the photograph.
        disc_areas: the area in areas of this eye's optic disc; NaN where no disc was found.
        quadrant: one of `QUADRANTS`, of the field of view as the photograph shows it.
        probability: the highest of its pixels.
        contribution: what it adds to the score, in grade units.
    """

    kind: str
    center_x: float
    center_y: float
    area: float
    disc_areas: float
    quadrant: str
    probability: float
    contribution: float


@dataclasses.dataclass(frozen=True)
class Findings:
    """The lesions of a photograph.

    Attributes:
        lesions: tuple of `Lesion`, those that add most first.
        probabilities: float32 (size, size, channels) of `CHANNELS`, on the square image around the field of
            view.
        labels: dict of each of `LESIONS` to int32 (size, size): 0, or the number of a lesion there.
        bias: score of an eye without any lesion, in grade units.
        remainder: what pixels add that are too few to be called a lesion.
        context: what the look of the retina adds besides lesions, compared with healthy eyes; 0 for
            `lesion_net`. The contributions, the bias, the remainder and this are the score.
    """

    lesions: tuple
    probabilities: np.ndarray = dataclasses.field(repr=False)
    labels: dict = dataclasses.field(repr=False)
    bias: float = 0.0
    remainder: float = 0.0
    context: float = 0.0

    def of_kind(self, kind):
        """The lesions of a kind: a list."""
        return [lesion for lesion in self.lesions if lesion.kind == kind]

    def in_words(self):
        """One line for each kind: how many, how large, where, and what they add to the score."""
        return [self._kind_in_words(kind) for kind in LESIONS]

    def _kind_in_words(self, kind):
        found = self.of_kind(kind)
        if not found:
            return f"no {WORDS[kind][1]}"
        areas = sum(lesion.disc_areas for lesion in found)
        size = "" if np.isnan(areas) else f", {areas:.2f} disc areas"
        if areas < 0.005:
            size = ", under 0.01 disc areas"
        quadrants = len({lesion.quadrant for lesion in found})
        where = f"{quadrants} quadrant{'s' * (quadrants > 1)}"
        added = sum(lesion.contribution for lesion in found)
        return f"{len(found)} {WORDS[kind][len(found) > 1]}{size}, {where}: {added:+.2f}"


def find_lesions(evidence, least, bias, field_of_view, score=None):
    """Finds the single lesions in a lesion network's maps.

    Args:
        evidence: float32 (size, size, 9), see `lesion_maps.lesion_shares`.
        least: for each of `LESIONS` the probability from which a pixel counts.
        bias: the score's bias, in grade units.
        field_of_view: `FieldOfView` in the photograph that the square image was cut from.
        score: the score; None if lesions and bias are all of it.

    Returns:
        `Findings`.
    """
    probabilities, parts = np.split(evidence, [len(CHANNELS)], axis=-1)
    size = len(evidence)
    scale = 2 * field_of_view.radius / size  # pixels of the photograph for each of the square image
    corner = np.array([field_of_view.center_y, field_of_view.center_x]) - field_of_view.radius
    disc = _disc_area(probabilities[..., CHANNELS.index(OPTIC_DISC)])
    lesions, labels, added = [], {}, 0.0
    for channel, kind in enumerate(LESIONS):
        count, labels[kind], areas, centres = lesion_regions(probabilities[..., channel] > least[channel])
        if not count:
            continue
        own = labels[kind].ravel()
        adds = np.bincount(own, parts[..., channel].ravel(), count + 1)[1:] / size**2
        highest = np.zeros(count + 1, "float32")
        np.maximum.at(highest, own, probabilities[..., channel].ravel())
        for number in range(count):
            y, x = centres[number]
            middle_y, middle_x = corner + scale * centres[number]
            lesions.append(
                Lesion(
                    kind, float(middle_x), float(middle_y), float(areas[number] * scale**2),
                    float(areas[number] / disc), QUADRANTS[2 * (y >= size / 2) + (x >= size / 2)],
                    float(highest[number + 1]), float(adds[number]),
                )  # fmt: skip
            )
        added += float(adds.sum())
    lesions.sort(key=lambda lesion: -lesion.contribution)
    of_lesions = float(parts.sum(dtype="float64")) / size**2
    context = 0.0 if score is None else float(score) - float(bias) - of_lesions
    return Findings(tuple(lesions), probabilities, labels, float(bias), of_lesions - added, context)


def _disc_area(probabilities):
    """Pixels of the optic disc, the largest region of that kind; NaN if it isn't like one."""
    count, _, areas, _ = lesion_regions(probabilities > _DISC_PROBABILITY)
    low, high = (share * probabilities.size for share in _DISC_AREAS)
    return float(areas.max()) if count and low <= areas.max() <= high else float("nan")


def on_frame(square, field_of_view, interpolation=cv2.INTER_LINEAR):
    """Lays a map of the square image over the photograph: the way back from `fundus.crop_square`.

    Args:
        square: (size, size), of any dtype that OpenCV resizes.
        field_of_view: `FieldOfView` in the photograph, at any scale.
        interpolation: of OpenCV, for enlarging; reduction averages areas.

    Returns:
        (image_height, image_width), 0 outside the square.
    """
    top, left, side = field_of_view.square
    row, column, height, width = field_of_view.rectangle
    reduces = side < len(square) and interpolation != cv2.INTER_NEAREST
    whole = cv2.resize(square, (side, side), interpolation=cv2.INTER_AREA if reduces else interpolation)
    frame = np.zeros((field_of_view.image_height, field_of_view.image_width), whole.dtype)
    frame[row : row + height, column : column + width] = whole[
        row - top : row - top + height, column - left : column - left + width
    ]
    return frame
