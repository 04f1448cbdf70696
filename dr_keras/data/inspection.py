"""One pass over the photographs of a dataset: can each be read, does it show a retina, what is in it."""

import dataclasses

import cv2
import numpy as np

from dr_keras.data.decoding import read_image, unforeseen
from dr_keras.data.duplicates import fingerprint
from dr_keras.data.fundus import (
    FieldOfView,
    brightest_channel,
    crop_square,
    find_field_of_view,
    without_bright_surround,
)
from dr_keras.data.parallel import map_in_order
from dr_keras.errors import InputError

_DECODED_SIDE = 256  # pixels; JPEGs are decoded at the smallest scale that keeps this
SMALL_SIDE = 64
SURROUND = 3  # grey levels; what isn't brighter is no part of the picture
# Measured on IDRiD and 636 EyePACS photographs of many cameras, in which these limits flag three,
# rightly: a black one, one all but black, one of green haze.
MIN_BRIGHTNESS = 12.0  # grey levels, mean of the brightest channel; the next darkest have 18
MIN_DETAIL = 1.0  # grey levels; standard deviation of what is finer than 2 of 64 pixels; next 1.2
MIN_RED_SHARE = 0.05  # share of pixels at least as red as green; next 0.2
MIN_TISSUE_SHARE = 0.5  # red >= green and red > blue, asked for where no field of view is found
BLACK = "no visible retina: the photograph is black"
NO_DETAIL = "no visible retina: the photograph has no detail"
NO_RED = "no visible retina: nothing in the photograph is red"
NO_FUNDUS = "not a fundus photograph: no field of view, and most of it isn't red"


@dataclasses.dataclass(frozen=True)
class Inspection:
    """What one look at a photograph tells.

    Attributes:
        unreadable: why the file can't be read, or "".
        no_retina: why it shows no retina, or "".
        field_of_view_found: False if only the centre square could be taken.
        fingerprint: float32 vector (`duplicates.fingerprint`), or None if unreadable.
    """

    unreadable: str = ""
    no_retina: str = ""
    field_of_view_found: bool = False
    fingerprint: np.ndarray | None = None


def inspect_file(path):
    """Reads one photograph and returns its `Inspection`; never raises for a bad file."""
    try:
        return _inspect(read_image(path, min_side=_DECODED_SIDE))
    except InputError as error:
        return Inspection(unreadable=str(error).removeprefix(f"{path}: "))
    except Exception as error:  # no photograph ends a run
        return Inspection(unreadable=unforeseen(error))


def _inspect(image):
    image = without_bright_surround(image)
    view = find_field_of_view(image)
    return Inspection(
        no_retina=reason_without_retina(image, view),
        field_of_view_found=view.found,
        fingerprint=fingerprint(image, view),
    )


def inspect_files(paths, workers=None, progress=None):
    """Inspects photographs, over several processes.

    Args:
        paths: the files.
        workers: see `parallel.map_in_order`.
        progress: wraps the iteration as `tqdm.tqdm` does, called with `total`; nothing if None.

    Returns:
        List of `Inspection`, in the order of `paths`.
    """
    return list(map_in_order(inspect_file, [str(path) for path in paths], workers, progress))


def inspect_prepared(prepared):
    """Inspects the images of a `PreparedDataset` in place of its photographs: a list of `Inspection`."""
    inspections = []
    for index, view in enumerate(prepared.views):
        image = prepared.read([index])[0]
        circle = FieldOfView.of_square(prepared.image_size, view.found)
        reason = reason_without_retina(image, circle)
        inspections.append(Inspection("", reason, view.found, fingerprint(image, circle)))
    return inspections


def reason_without_retina(image, field_of_view):
    """Says why a photograph can't be of a retina.

    Args:
        image: uint8 (height, width, 3), RGB.
        field_of_view: its `FieldOfView`.

    Returns:
        One line, or "" if a retina may well be visible.
    """
    small = crop_square(image, field_of_view, SMALL_SIDE).astype(np.float32)
    brightest = brightest_channel(small)
    lit = (brightest > SURROUND).astype(np.uint8)
    covered = cv2.erode(lit, np.ones((5, 5), np.uint8), borderValue=0) > 0
    red, green, blue = small[covered].T
    if not red.size or brightest[covered].mean() < MIN_BRIGHTNESS:
        return BLACK
    grey = small.mean(axis=2)
    detail = grey - cv2.GaussianBlur(grey, (0, 0), 2.0)
    if detail[covered].std() < MIN_DETAIL:
        return NO_DETAIL
    if np.mean(red >= green) < MIN_RED_SHARE:
        return NO_RED
    tissue = np.mean((red >= green) & (red > blue))
    if not field_of_view.found and tissue < MIN_TISSUE_SHARE:
        return NO_FUNDUS
    return ""
