"""Masks of lesions: those of experts, and the synthetic photographs' own."""

import cv2
import numpy as np

from dr_keras.data import decoding, fundus, synthetic
from dr_keras.data.layouts.masked import MaskedPhotograph
from dr_keras.data.photograph import Photograph
from dr_keras.errors import InputError
from dr_keras.lesion_kinds import CHANNELS, OPTIC_DISC

ANY_LESION = "any_lesion"  # their union
_DRAWN_HEIGHT = 512  # pixels, of synthetic photographs


def masked_synthetic_photographs(num_images, seed=0):
    """Lists synthetic photographs of grades 1 to 4; another seed gives other eyes than training's 0."""
    records = synthetic.synthetic_dataset(num_images, seed).records
    return [MaskedPhotograph(record.image, record.path, {}) for record in records if record.grade > 0]


def read_masks(photograph, height, width):
    """Reads a photograph's masks in a frame of the photograph: any size, the same view.

    Args:
        photograph: `MaskedPhotograph`.
        height, width: of the frame, in pixels.

    Returns:
        dict of lesion to bool (height, width), for the lesions that it has, and of `ANY_LESION` to their
        union. A pixel of the frame belongs to a lesion that covers any part of it: a microaneurysm
        isn't lost by reduction.

    Raises:
        InputError: if a mask can't be read, or is empty everywhere.
    """
    if photograph.masks:
        full = {lesion: _read_mask(path) for lesion, path in photograph.masks.items()}
    else:
        full = synthetic.draw_named(photograph.path, _DRAWN_HEIGHT).masks
    masks = {lesion: _cover(mask, height, width) for lesion, mask in full.items() if mask.any()}
    if not masks:
        raise InputError(f"{photograph.path}: its lesion masks are empty")
    return {**masks, ANY_LESION: np.logical_or.reduce(list(masks.values()))}


def read_prepared(photograph, size, steps=()):
    """Reads a photograph and its masks as the square images that a network takes and gives.

    Args:
        photograph: `MaskedPhotograph`.
        size: side of the squares, in pixels.
        steps: some of `normalization.STEPS`.

    Returns:
        pixels: uint8 (size, size, 3), RGB.
        masks: uint8 (size, size, channels) of `CHANNELS`: 255 where a pixel is covered, 0 where it isn't.
        unknown: positions of channels that nobody marked.

    Raises:
        InputError: if a file can't be read.
    """
    prepared = Photograph(photograph.path).prepare(size, steps)
    view = prepared.field_of_view
    files = {**photograph.masks, OPTIC_DISC: photograph.optic_disc}
    if photograph.masks:
        full = {kind: _read_mask(path) for kind, path in files.items() if path}
    else:
        full = synthetic.draw_named(photograph.path, view.image_height).masks
    masks = np.zeros((size, size, len(CHANNELS)), np.uint8)
    for channel, kind in enumerate(CHANNELS):
        if kind in full:
            mask = np.repeat(full[kind][..., None].astype(np.uint8) * 255, 3, axis=2)
            own = view.scaled(mask.shape[0] / view.image_height, *mask.shape[:2])
            masks[..., channel] = fundus.crop_square(mask, own, size)[..., 0]
    unknown = {*photograph.unmarked, *({OPTIC_DISC} - set(full))}
    return prepared.pixels, masks, tuple(n for n, kind in enumerate(CHANNELS) if kind in unknown)


def _read_mask(path):
    """A mask file as bool (height, width): where any of its channels isn't black."""
    return fundus.brightest_channel(decoding.decode_image(decoding.read_bytes(path), str(path))) > 0


def _cover(mask, height, width):
    enlarges = height > mask.shape[0]
    interpolation = cv2.INTER_NEAREST if enlarges else cv2.INTER_AREA
    return cv2.resize(mask.astype("float32"), (width, height), interpolation=interpolation) > 0
