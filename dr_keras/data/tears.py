"""Whether damage to a file shows in its picture: a decoder often makes one of damaged bytes all the same.

From some row on brightness or colours are others (JPEG, WebP), there is noise around the eye (WebP), or a
stretch of pixels is black or white (BMP and TIFF, whose damaged strips are decoded as black).
"""

import dataclasses

import cv2
import numpy as np

from dr_keras.data.fundus import find_field_of_view, without_bright_surround

TORN = "rows of its picture don't fit those above them, as if its file was damaged"
OVERRUN = "there is noise around the eye, as if its file was damaged"
LOST = "a stretch of its pixels is black or white, as if its file was damaged"
_PARTS = 32  # of a row, each of which has its mean
_LEAST_PARTS, _SHARE = 10, 0.4  # of a row's parts that show retina, those that must have the edge
_END = 3  # parts; the edge reaches one end of the retina, which what is drawn into a picture seldom does
_MARGIN = 12  # rows; at the edge of the retina, and of the picture, there are such edges
_NEAR, _FAR, _LASTS = 3, 11, 0.5  # rows from the edge over which that share of it must last; lines don't
_LEAST_ROWS = 192  # of a picture; smaller ones get no grade, and few rows tell too little
_LIT, _WHITE = 25, 230  # grey levels of the brightest channel, and of the darkest: frames and text
# The edge, in grey levels, and as a multiple of what all but 5 % of the rows have. Of 1,049 photographs of
# IDRiD and EyePACS none has both, nor of 132 of them compressed to quality 28, sharpened, turned, or noisy.
_STEP, _MULTIPLE = 7.5, 5.0
# Of what lies outside the field of view the share that may be brighter than so many grey levels, and how much
# its colours may differ: a frame or haze is of one colour. Of those photographs one, whose file was damaged,
# has more than 0.1 %; what is made of a WebP's damaged bytes has 17 % and more.
_OUTSIDE, _OUTSIDE_LEVEL, _BEYOND = 0.1, 40, 1.06  # `_BEYOND` radii is the edge of what lies outside
_COLOURS = 10.0  # grey levels, standard deviation of red less green
_RUN, _BAND = 128, 131  # pixels of a stretch, along the row, and rows between which it may lie
_RED = 8  # grey levels of red above blue: retina, not grey text


def damage(image, kinds):
    """Says how a picture shows that its file is damaged, in words for the user, or returns "".

    Args:
        image: uint8 (height, width, 3), RGB.
        kinds: formats of the file, see `file_header.Header.kinds`. A PNG's checksums tell its damage.
    """
    if len(image) < _LEAST_ROWS:
        return ""
    if not {"JPEG", "WEBP"}.isdisjoint(kinds) and is_torn(image):
        return TORN
    if "WEBP" in kinds and is_overrun(image):
        return OVERRUN
    return LOST if not {"BMP", "TIFF"}.isdisjoint(kinds) and has_lost_pixels(image) else ""


def is_torn(image):
    """Whether from some row on brightness or a colour is another, up to one end of the retina."""
    means = cv2.resize(image, (_PARTS, len(image)), interpolation=cv2.INTER_AREA).astype(np.float32)
    lit = (means.max(axis=2) > _LIT) & (means.min(axis=2) < _WHITE)
    inside = cv2.erode(lit.astype(np.uint8), np.ones((2 * _MARGIN + 1, 1), np.uint8), borderValue=0) > 0
    changes = np.diff(means, axis=0)
    # A step that its neighbours share is a slope.
    sharp = changes[1:-1] - (changes[:-2] + changes[2:]) / 2
    both = inside[1:-2] & inside[2:-1]
    counts = both.sum(axis=1)
    asked = np.maximum(_LEAST_PARTS, np.ceil(_SHARE * counts).astype(int))
    # Up or down in a colour, alike in all those parts; noise goes both ways.
    ranked = -np.sort(-np.stack([sharp, -sharp]) * both[:, :, None], axis=2)
    shared = ranked[:, np.arange(len(counts)), asked - 1]  # (up or down, rows, colours)
    shared[:, counts < _LEAST_PARTS] = 0
    judged = shared.max(axis=(0, 2))[counts >= _LEAST_PARTS]
    if not len(judged):
        return False
    least = max(_STEP, _MULTIPLE * np.percentile(judged, 95))
    return any(
        _lasts(means, sharp[row, :, colour] * (1 - 2 * way), row + 2, colour, 1 - 2 * way, both[row], least)
        for way, row, colour in zip(*np.nonzero(shared > least))
    )


def _lasts(means, step, row, colour, sign, both, least):
    """Whether a step before a row, in a colour, reaches an end of the retina and lasts for some rows."""
    parts = np.flatnonzero(both)
    has_it = step > least / 2
    if not (has_it[parts[:_END]].all() or has_it[parts[-_END:]].all()):
        return False
    chosen = parts[has_it[parts]]
    above, below = means[max(0, row - _FAR) : row - _NEAR], means[row + _NEAR - 1 : row + _FAR - 1]
    lasting = sign * (below[:, chosen, colour].mean() - above[:, chosen, colour].mean())
    return lasting > _LASTS * step[chosen].mean()


def is_overrun(image):
    """Whether what surrounds the field of view is lit and of many colours."""
    image = without_bright_surround(image)
    view = find_field_of_view(image)
    if not view.found:
        return False
    wider = dataclasses.replace(view, radius=_BEYOND * view.radius)
    outside = image[~wider.mask()]
    bright = outside[outside.max(axis=1) > _OUTSIDE_LEVEL].astype(np.float32)
    return len(bright) > _OUTSIDE * len(outside) and float((bright[:, 0] - bright[:, 1]).std()) > _COLOURS


def has_lost_pixels(image):
    """Whether a stretch of pixels is all black or all white, with retina above and below it."""
    darkest, brightest = image.min(axis=2), image.max(axis=2)
    flat = ((brightest == 0) | (darkest == 255)).astype(np.uint8)
    runs = cv2.morphologyEx(flat, cv2.MORPH_OPEN, np.ones((1, _RUN), np.uint8))
    if not runs.any():
        return False
    redness = cv2.subtract(image[..., 0], image[..., 2])
    lit = ((brightest > _LIT) & (redness > _RED)).astype(np.uint8)
    gaps = cv2.MORPH_CLOSE, np.ones((_BAND, 1), np.uint8)
    between = cv2.morphologyEx(lit, *gaps, borderType=cv2.BORDER_CONSTANT, borderValue=0)
    return bool((runs & between & (1 - lit)).sum() >= _RUN)
