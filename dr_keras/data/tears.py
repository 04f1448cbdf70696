"""Whether a picture is torn: rows of retina that don't fit those above them, as after damage to its file.

What a decoder makes of damaged bytes often is a picture: from some row on its brightness or colours are
others, or some rows are black. No retina, however photographed, has an edge as sharp, straight and long.
"""

import dataclasses

import cv2
import numpy as np

from dr_keras.data.fundus import brightest_channel, find_field_of_view, without_white_surround

_PARTS = 32  # of a row, each of which has its mean
_LEAST_PARTS, _SHARE = 10, 0.4  # of a row's parts that show retina, those that must have the edge
_MARGIN = 12  # rows; at the edge of the retina, and of the picture, there are such edges
_LEAST_ROWS = 192  # of a picture; smaller ones get no grade, and few rows tell too little
_LIT, _WHITE = 25, 230  # grey levels of the brightest channel, and of the darkest: frames and text
_BAND = 64  # rows; a higher black band isn't looked for
# Of what lies outside the field of view the share that may be brighter than so many grey levels. Of 1,048
# whole photographs none has 0.1 %; what is made of a WebP's damaged bytes has 17 % and more.
_OUTSIDE, _OUTSIDE_LEVEL, _BEYOND = 0.1, 40, 1.06  # `_BEYOND` radii is the edge of what lies outside
# The edge, in grey levels, and as a multiple of what all but 5 % of the rows have. Of 1,047 whole photographs
# of IDRiD and EyePACS, also strongly compressed, sharpened, or with noise, none has both; two more are torn.
_STEP, _MULTIPLE = 7.5, 5.0


def is_torn(image):
    """Whether a picture, uint8 (height, width, 3), RGB, is torn from one row to the next."""
    if len(image) < _LEAST_ROWS:
        return False
    means = cv2.resize(image, (_PARTS, len(image)), interpolation=cv2.INTER_AREA)
    lit = (means.max(axis=2) > _LIT) & (means.min(axis=2) < _WHITE)
    return _has_step(means.astype(np.float32), lit) or _has_black_band(means, lit)


def is_overrun(image):
    """Whether what surrounds the field of view is lit, as where a decoder has made noise of damage."""
    image = without_white_surround(image)
    view = find_field_of_view(image)
    if not view.found:
        return False
    wider = dataclasses.replace(view, radius=_BEYOND * view.radius)
    outside = brightest_channel(image)[~wider.mask()]
    return outside.size > 0 and float(np.mean(outside > _OUTSIDE_LEVEL)) > _OUTSIDE


def _has_step(means, lit):
    inside = cv2.erode(lit.astype(np.uint8), np.ones((2 * _MARGIN + 1, 1), np.uint8), borderValue=0) > 0
    changes = np.diff(means, axis=0)
    # A step that its neighbours share is a slope.
    sharp = changes[1:-1] - (changes[:-2] + changes[2:]) / 2
    both = inside[1:-2] & inside[2:-1]
    counts = both.sum(axis=1)
    asked = np.maximum(_LEAST_PARTS, np.ceil(_SHARE * counts).astype(int))
    # Up or down in a colour, alike in all those parts; noise goes both ways.
    ranked = -np.sort(-np.stack([sharp, -sharp]) * both[:, :, None], axis=2)
    shared = ranked[:, np.arange(len(counts)), asked - 1].max(axis=(0, 2))[counts >= _LEAST_PARTS]
    return bool(len(shared) and shared.max() > max(_STEP, _MULTIPLE * np.percentile(shared, 95)))


def _has_black_band(means, lit):
    """Whether rows are black, exactly, between lit ones, in the same parts."""
    black = means.max(axis=2) == 0
    begins, ends = black[2:] & lit[:-2], black[:-2] & lit[2:]
    followed = cv2.dilate(ends.astype(np.uint8), np.ones((2 * _BAND + 1, 1), np.uint8)) > 0
    return bool(((begins[:-2] & followed[2:]).sum(axis=1) >= _LEAST_PARTS).any())
