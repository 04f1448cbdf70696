"""Noisy linear imputation: what might have been where a part of a photograph is taken away."""

import functools

import cv2
import numpy as np
from scipy import sparse

from dr_keras.data.fundus import FieldOfView

SIDE = 128  # pixels; larger photographs are imputed at this size: a sixth of the time at 256 px
NOISE = 2.55  # standard deviation in grey levels: the published 0.01 of the range
_NEIGHBORS = {(0, 1): 1 / 6, (1, 0): 1 / 6, (1, 1): 1 / 12, (1, -1): 1 / 12}  # (down, right), and opposite


def retina(image):
    """bool (size, size): the field of view of a prepared image, less what lay outside the photograph.

    Where the photograph ends, one pixel more is left out: it is half dark after the resize.
    """
    lit = image.any(axis=2)
    photograph = (lit.any(axis=1)[:, None] & lit.any(axis=0)).astype(np.uint8)
    return FieldOfView.of_square(len(image)).mask() & cv2.erode(photograph, np.ones((3, 3), np.uint8)).astype(
        bool
    )


class NoisyLinearImputer:
    """Imputes removed parts of one photograph (Rong et al. 2022, section 4).

    Each removed pixel is set to the weighted mean of its eight neighbours, removed or not: one sparse
    linear system. Then noise is added. Of the dark surround nothing is mixed in.

    Args:
        image: uint8 (size, size, 3), a prepared photograph.
        noise: standard deviation of the noise, in grey levels.
        seed: seed of the noise, which is the same whatever is removed.

    Attributes:
        seen: bool (side, side), the retina at the size that is computed at, at most `SIDE`.
    """

    def __init__(self, image, noise=NOISE, seed=0):
        size = len(image)
        side = min(size, SIDE)
        small = cv2.resize(image, (side, side), interpolation=cv2.INTER_AREA)
        self.seen = retina(small)
        self._image = image
        self._colors = small[self.seen].astype("float64")
        weights = _neighbor_weights(side)[self.seen.ravel()][:, self.seen.ravel()]
        self._laplacian = sparse.csr_array(sparse.csgraph.laplacian(weights))
        self._noise = np.random.default_rng(seed).normal(0, noise, image.shape)

    def __call__(self, removed):
        """Returns the image, uint8 (size, size, 3), without what bool (side, side) marks of the retina.

        If that is all of it, it becomes its mean colour.
        """
        gone = removed[self.seen]
        filled = np.zeros((*self.seen.shape, 3))
        filled[self.seen] = self._fill(gone)
        whole = functools.partial(cv2.resize, dsize=self._image.shape[:2], interpolation=cv2.INTER_NEAREST)
        pixels = np.clip((whole(filled) + self._noise).round(), 0, 255)
        mask = whole((removed & self.seen).astype(np.uint8)).astype(bool)
        return np.where(mask[..., None], pixels, self._image).astype(np.uint8)

    def _fill(self, gone):
        """Colours (pixels, 3) of the retina, those that are gone solved for."""
        colors = self._colors.copy()
        if gone.all():
            colors[:] = colors.mean(axis=0)
        elif gone.any():
            rows = self._laplacian[gone]
            matrix = rows[:, gone].tocsc()  # symmetric, its diagonal the largest: no pivoting
            factors = sparse.linalg.splu(
                matrix, "MMD_AT_PLUS_A", diag_pivot_thresh=0, options={"SymmetricMode": True}
            )
            colors[gone] = factors.solve(-(rows[:, ~gone] @ colors[~gone]))
        return colors


@functools.lru_cache(maxsize=2)
def _neighbor_weights(side):
    """Sparse (pixels, pixels) of a square: the weight of one in the other's mean."""
    number = np.arange(side * side).reshape(side, side)
    weights = sparse.csr_array((side * side, side * side))
    for (down, right), weight in _NEIGHBORS.items():
        one = number[: side - down, max(0, -right) : side - max(0, right)].ravel()
        other = number[down:, max(0, right) : side + min(0, right)].ravel()
        half = sparse.csr_array((np.full(len(one), weight), (one, other)), shape=weights.shape)
        weights = weights + half + half.T
    return weights
