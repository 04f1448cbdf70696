"""Explanations made by hand, so that a test knows every value in them."""

import numpy as np

from dr_keras.data.fundus import FieldOfView
from dr_keras.explain.explainer import Explanation
from dr_keras.explain.geometry import Grid

GRID = Grid((10.0, 10.0), (12.0, 12.0), (8, 8, 112, 112), 128)


def explanation(height=120, width=200, heat=None, score=2.25, scores=(2.0, 2.5), grey=110):
    """A grey eye in the middle of a black photograph; the heat is 0 unless given."""
    view = FieldOfView(height / 2, width / 2, min(height, width) * 0.48, height, width, found=True)
    image = np.where(view.mask()[..., None], np.uint8([200, grey, 40]), np.uint8(0))
    heat = np.zeros((height, width), "float32") if heat is None else heat
    maps = tuple(np.full((3, 4), value, "float32") for value in scores)
    return Explanation(image, view, heat, score, tuple(scores), maps, (GRID,) * len(scores), 0.25)
