"""Normalisation of photographs of many cameras (P1 section 3.1, figure 4): steps that can be switched.

P1 names three: the same height and the square around the vertical centre line, colour, contrast. It doesn't
say how colour and contrast are normalised; here colours get one mean and spread, and contrast is had by
removing the local mean or by adaptive equalisation.
"""

import cv2
import numpy as np

from dr_keras.data import fundus
from dr_keras.errors import InputError

CENTRE_SQUARE, COLOR, LOCAL_MEAN, CLAHE = STEPS = ("centre_square", "color", "local_mean", "clahe")
# What `color` brings a retina's channels to: about the means over IDRiD's, and the standard
# deviations within one of them.
_MEAN, _SD = (160.0, 80.0, 30.0), (27.0, 20.0, 10.0)
_BRIGHT, _DARK = 0.9, 0.2  # what is darker than a fifth of a retina's brighter parts is surround
_SCALE = 1 / 30  # of the image's side: detail wider than that is illumination
_GAIN, _GREY = 4.0, 128.0  # of what is left around the local mean
_CLIP_LIMIT, _TILES = 2.0, 8


def check_steps(steps):
    """Returns the steps as a tuple, in the order in which they are done.

    Raises:
        InputError: if one isn't among `STEPS`.
    """
    steps = tuple(steps)
    for step in steps:
        if step not in STEPS:
            raise InputError(f"--normalization={step}: expected some of {', '.join(STEPS)}")
    return tuple(step for step in STEPS if step in steps)


def find_view(image, steps=()):
    """The part of a photograph that is prepared.

    Args:
        image: uint8 (height, width, 3), RGB.
        steps: with "centre_square", P1's crop: the square around the centre line, as high as the photograph.

    Returns:
        `FieldOfView`: the retina's circle, or the one inside the centre square, which isn't masked.
    """
    return (
        fundus.centre_square(*image.shape[:2]) if CENTRE_SQUARE in steps else fundus.find_field_of_view(image)
    )


def normalize(image, steps=()):
    """Normalises a prepared image's colours and contrast.

    Args:
        image: uint8 (size, size, 3), RGB; what is black is no part of the retina and stays so.
        steps: some of `STEPS`, done in that order.

    Returns:
        uint8 (size, size, 3).
    """
    if not steps:
        return image
    brightest = fundus.brightest_channel(image)
    bright = np.quantile(brightest, _BRIGHT)
    if bright < fundus.MIN_BRIGHTNESS:
        return image
    inside = brightest >= _DARK * bright
    for step, apply in ((COLOR, _color), (LOCAL_MEAN, _local_mean), (CLAHE, _clahe)):
        if step in steps:
            image = np.where(inside[..., None], apply(image, inside), np.uint8(0))
    return image


def _color(image, inside):
    """Each channel's mean and standard deviation over the retina become the same in all photographs."""
    pixels = image[inside].astype("float32")
    gain = np.array(_SD) / np.maximum(pixels.std(axis=0), 1.0)
    return _bytes((image - pixels.mean(axis=0)) * gain + np.array(_MEAN))


def _local_mean(image, inside):
    """Each pixel less the mean around it, over the retina only, so that its edge doesn't glow."""
    sigma = _SCALE * len(image)
    seen = inside.astype("float32")
    total = cv2.GaussianBlur(image * seen[..., None], (0, 0), sigma, borderType=cv2.BORDER_CONSTANT)
    share = cv2.GaussianBlur(seen, (0, 0), sigma, borderType=cv2.BORDER_CONSTANT)
    return _bytes(_GAIN * (image - total / np.maximum(share, 1e-6)[..., None]) + _GREY)


def _clahe(image, inside):
    """Lightness equalised tile by tile with limited contrast (Zuiderveld 1994); colours stay."""
    lab = cv2.cvtColor(image, cv2.COLOR_RGB2LAB)
    # The surround counts as retina of middling lightness: black, it would brighten the tiles at the edge.
    lightness = np.where(inside, lab[..., 0], np.uint8(np.median(lab[..., 0][inside])))
    lab[..., 0] = cv2.createCLAHE(_CLIP_LIMIT, (_TILES, _TILES)).apply(lightness)
    return cv2.cvtColor(lab, cv2.COLOR_LAB2RGB)


def _bytes(values):
    return np.clip(np.round(values), 0, 255).astype(np.uint8)
