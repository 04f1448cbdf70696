"""Random crops of photographs with lesion masks: what a lesion network is trained on.

Every crop is drawn from a seed of its own, so that it is the same in any process, thread or order. Half of
the crops are centred on a lesion, since most of a retina shows none; crops of healthy eyes say what is no
lesion, and some of them get lesions of other eyes pasted in.
"""

import dataclasses
import math

import cv2
import numpy as np

from dr_keras.data.fundus import brightest_channel
from dr_keras.data.harmless_changes import DARK, Changes, degrade, recolour, warp_matrix
from dr_keras.data.lesion_masks import read_prepared
from dr_keras.lesion_kinds import CHANNELS, LESIONS

UNKNOWN = -1.0  # a target that nobody knows, which the loss leaves out
_FEATHER = 1.5  # pixels over which a pasted lesion fades into the retina around it
_SURROUNDINGS = 41  # pixels: side of the window whose mean is a lesion's background


@dataclasses.dataclass(frozen=True)
class CropConfig:
    """How crops are drawn.

    Attributes:
        size: side of a crop, in pixels.
        healthy_share: share of crops that come from photographs without lesions, where there are any.
        paste_share: share of those crops that get lesions pasted in.
        centred_share: share of the other crops that are centred on a lesion; its kind is drawn first, so that
            rare kinds are seen as often as frequent ones.
        changes: `Changes`, how each crop is turned, recoloured and degraded.
    """

    size: int = 256
    healthy_share: float = 0.35
    paste_share: float = 0.3
    centred_share: float = 0.7
    changes: Changes = Changes(zoom=1.35, colour=0.12, gamma=1.4, degrade_share=0.3)


@dataclasses.dataclass(frozen=True)
class LesionExample:
    """A prepared photograph and what is known of its lesions.

    Attributes:
        pixels: uint8 (size, size, 3), RGB.
        masks: uint8 (size, size, channels) of `CHANNELS`, 0 to 255; None for a photograph of a healthy eye.
        unknown: positions of channels of `masks` that nobody marked.
    """

    pixels: np.ndarray
    masks: np.ndarray | None
    unknown: tuple = ()

    @classmethod
    def read(cls, photograph, size, steps=()):
        """Reads a `MaskedPhotograph`; see `lesion_masks.read_prepared`."""
        return cls(*read_prepared(photograph, size, steps))


class CropSampler:
    """Draws crops.

    Args:
        examples: list of `LesionExample`, at least one of them with masks.
        config: `CropConfig`.
        seed: seed of all draws.
    """

    def __init__(self, examples, config=CropConfig(), seed=0):
        self._masked = [example for example in examples if example.masks is not None]
        self._healthy = [example for example in examples if example.masks is None]
        self._config, self._seed = config, seed
        if not self._masked:
            raise ValueError("`examples` must hold a photograph with masks. Received: none")
        # Of each kind, the photographs that have it and the places where.
        kinds = [
            [(owner, _centres(example.masks[..., kind])) for owner, example in enumerate(self._masked)]
            for kind in range(len(LESIONS))
        ]
        kinds = [[(owner, points) for owner, points in owners if len(points)] for owners in kinds]
        self._kinds = [owners for owners in kinds if owners]

    def crop(self, number):
        """Draws the crop of a number: the same for the same number.

        Returns:
            image: uint8 (size, size, 3), RGB.
            targets: float32 (size, size, channels) of `CHANNELS`: 0 to 1, or `UNKNOWN`.
        """
        rng, config = np.random.default_rng((self._seed, number)), self._config
        if self._healthy and rng.random() < config.healthy_share:
            image, targets = self._healthy_crop(rng)
        else:
            image, targets = self._masked_crop(rng)
        return degrade(recolour(image, rng, config.changes), rng, config.changes.degrade_share), targets

    def _masked_crop(self, rng):
        if self._kinds and rng.random() < self._config.centred_share:
            owners = self._kinds[rng.integers(len(self._kinds))]
            owner, points = owners[rng.integers(len(owners))]
            example, centre = self._masked[owner], points[rng.integers(len(points))]
            centre = centre + rng.uniform(-0.3, 0.3, 2) * self._config.size
        else:
            example = self._masked[rng.integers(len(self._masked))]
            centre = _point_in_view(len(example.pixels), rng)
        transform = self._transform(centre, rng)
        targets = self._warp(example.masks, transform).astype("float32") / 255
        targets[..., list(example.unknown)] = UNKNOWN
        return self._warp(example.pixels, transform), targets

    def _healthy_crop(self, rng):
        example = self._healthy[rng.integers(len(self._healthy))]
        image = self._warp(example.pixels, self._transform(_point_in_view(len(example.pixels), rng), rng))
        targets = np.zeros((*image.shape[:2], len(CHANNELS)), "float32")
        if rng.random() < self._config.paste_share:
            donor, masks = self._masked_crop(rng)
            image, targets[..., : len(LESIONS)] = paste_lesions(image, donor, masks[..., : len(LESIONS)])
        targets[..., len(LESIONS) :] = UNKNOWN
        return image, targets

    def _transform(self, centre, rng):
        """The matrix (2, 3) from pixels of the photograph to pixels of the crop; the centre is (y, x)."""
        return warp_matrix(centre[::-1], self._config.size, rng, self._config.changes.zoom)

    def _warp(self, values, transform):
        size = self._config.size, self._config.size
        warped = cv2.warpAffine(values[..., :4], transform, size, flags=cv2.INTER_LINEAR)
        if values.shape[2] <= 4:
            return warped
        rest = cv2.warpAffine(values[..., 4:], transform, size, flags=cv2.INTER_LINEAR)
        return np.concatenate([warped, rest.reshape(*size, -1)], axis=2)


def _centres(mask):
    """Centres (n, 2), y and x, of the lesions in a mask, each of them once; of large ones several places."""
    count, labels, stats, centroids = cv2.connectedComponentsWithStats((mask > 127).astype(np.uint8))
    points = [centroids[1:count, ::-1]]
    pixels = np.argwhere(labels)
    if len(pixels):  # as many again anywhere on lesions, which favours large ones
        points.append(pixels[:: max(1, len(pixels) // max(1, count - 1))])
    return np.concatenate(points)


def _point_in_view(size, rng):
    radius, angle = size / 2 * math.sqrt(rng.random()), rng.uniform(0, 2 * math.pi)
    return np.array([size / 2 + radius * math.sin(angle), size / 2 + radius * math.cos(angle)])


def paste_lesions(image, donor, masks):
    """Puts the lesions of one crop into another: how much darker or brighter they are than what is around
    them.

    Args:
        image: uint8 (size, size, 3), what they are put into.
        donor: uint8 (size, size, 3), where they come from.
        masks: float32 (size, size, lesions), 0 to 1, of the donor.

    Returns:
        uint8 (size, size, 3) and float32 (size, size, lesions): the image, and the masks less what would lie
        outside either retina.
    """
    inside = ((brightest_channel(image) > DARK) & (brightest_channel(donor) > DARK)).astype("float32")
    masks = masks * inside[..., None]
    marked = (masks.max(axis=2) > 0).astype("float32")
    if not marked.any():
        return image, masks
    edge = cv2.dilate(marked, np.ones((5, 5), np.uint8))
    pixels, around = donor.astype("float32"), ((1 - edge) * inside)[..., None]
    sums = cv2.blur(np.concatenate([pixels * around, around], axis=2), (_SURROUNDINGS, _SURROUNDINGS))
    background = sums[..., :3] / np.maximum(sums[..., 3:], 1e-3)
    share = (pixels + 4) / (background + 4)
    alpha = cv2.GaussianBlur(edge, (0, 0), _FEATHER)[..., None] * inside[..., None]
    pasted = (image.astype("float32") + 4) * (1 + alpha * (np.clip(share, 0.2, 5) - 1)) - 4
    return np.clip(np.rint(pasted), 0, 255).astype(np.uint8), masks
