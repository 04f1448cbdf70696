"""Expert masks of lesions: IDRiD's segmentation part, and the synthetic photographs' own."""

import dataclasses
from pathlib import Path

import cv2
import numpy as np

from dr_keras.data import decoding, fundus, synthetic
from dr_keras.data.photograph import Photograph
from dr_keras.errors import InputError
from dr_keras.lesion_kinds import CHANNELS, OPTIC_DISC

_SEGMENTATION = "A. Segmentation"
_PHOTOGRAPHS = "1. Original Images"
_MASKS = "2. All Segmentation Groundtruths"
# Folder and file ending of each lesion in IDRiD. A photograph without the lesion has no file.
_IDRID_LESIONS = {
    "microaneurysms": ("1. Microaneurysms", "MA"),
    "haemorrhages": ("2. Haemorrhages", "HE"),
    "hard_exudates": ("3. Hard Exudates", "EX"),
    "soft_exudates": ("4. Soft Exudates", "SE"),
    OPTIC_DISC: ("5. Optic Disc", "OD"),
}
ANY_LESION = "any_lesion"  # their union
_DRAWN_HEIGHT = 512  # pixels, of synthetic photographs


@dataclasses.dataclass(frozen=True)
class MaskedPhotograph:
    """A photograph with masks.

    Attributes:
        image: its name.
        path: its file, or a synthetic photograph's name.
        masks: dict of lesion to mask file; empty for synthetic photographs, which are drawn with theirs.
        optic_disc: the mask file of the optic disc, or None.
        unmarked: lesions of `LESIONS` that nobody looked for in it.
    """

    image: str
    path: str
    masks: dict
    optic_disc: str | None = None
    unmarked: tuple = ()


def find_masked_photographs(data_dir):
    """Lists the photographs of IDRiD's "A. Segmentation", training and testing set where present.

    Raises:
        InputError: if there is no such folder, or a photograph in it has no mask at all.
    """
    root = next((f for f in (Path(data_dir) / _SEGMENTATION, Path(data_dir)) if (f / _MASKS).is_dir()), None)
    if root is None:
        raise InputError(
            f"--data_dir={data_dir}: expected IDRiD, with a folder {_SEGMENTATION!r} of lesion masks"
        )
    found = []
    for folder in sorted((root / _PHOTOGRAPHS).iterdir()):
        for path in sorted(folder.glob("*")):
            if path.suffix.lower() in decoding.IMAGE_SUFFIXES:
                found.append(_masked(root / _MASKS / folder.name, path, f"{folder.name}/{path.stem}"))
    if not found:
        raise InputError(f"{root / _PHOTOGRAPHS}: no photographs there")
    return found


def _masked(folder, path, name):
    masks = {}
    for lesion, (subfolder, ending) in _IDRID_LESIONS.items():
        files = sorted((folder / subfolder).glob(f"{path.stem}_{ending}.*"))
        masks |= {lesion: str(file) for file in files[:1]}
    disc = masks.pop(OPTIC_DISC, None)
    if not masks:
        raise InputError(f"{path}: no lesion mask of it in {folder}")
    return MaskedPhotograph(name, str(path), masks, disc)


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
        full = {
            lesion: decoding.read_image(path).max(axis=2) > 0 for lesion, path in photograph.masks.items()
        }
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
        full = {kind: decoding.read_image(path).max(axis=2) > 0 for kind, path in files.items() if path}
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


def _cover(mask, height, width):
    enlarges = height > mask.shape[0]
    interpolation = cv2.INTER_NEAREST if enlarges else cv2.INTER_AREA
    return cv2.resize(mask.astype("float32"), (width, height), interpolation=interpolation) > 0
