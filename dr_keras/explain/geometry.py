"""Where an attribution map's cells lie in the square image that a network takes, and in the photograph."""

import dataclasses
import functools

import numpy as np

from dr_keras.data.fundus import FieldOfView

LOBES = 3  # number of lobes of the Lanczos kernel, as is usual


@dataclasses.dataclass(frozen=True)
class Grid:
    """Positions of an attribution map's cells, in pixels of the stored square image.

    All pairs are (vertical, horizontal).

    Attributes:
        offset: position of the centre of cell (0, 0); the first pixel's centre is at 0.5.
        step: distance between the centres of neighbouring cells.
        window: (top, left, height, width) of the part of the image that the network sees.
        image_size: side of the image.
    """

    offset: tuple[float, float]
    step: tuple[float, float]
    window: tuple[int, int, int, int]
    image_size: int


def place(cells, grid, field_of_view, height, width):
    """Lays an attribution map over a photograph by Lanczos interpolation (P2 section 4.5.2).

    This undoes the crop and the resize of preprocessing. Beyond the centres of the outermost cells their
    values are repeated; where the network doesn't see the photograph, the result is 0. Between cells the
    values stay between those of the cells around: the kernel's lobes would draw rings around a bright cell
    that aren't in the map.

    Args:
        cells: attribution map, float array (rows, columns).
        grid: `Grid` of the map.
        field_of_view: `FieldOfView` of the photograph, in pixels of the result.
        height, width: size of the result, in pixels; the photograph may be scaled to any size.

    Returns:
        float32 (height, width), in the map's units.
    """
    scale = 2 * field_of_view.radius / grid.image_size  # pixels of the result per pixel of the square image
    corner = (field_of_view.center_y - field_of_view.radius, field_of_view.center_x - field_of_view.radius)
    rows, columns = (
        _resampling(
            length,
            corner[axis],
            scale,
            grid.offset[axis],
            grid.step[axis],
            grid.window[axis],
            grid.window[axis + 2],
            np.shape(cells)[axis],
        )
        for axis, length in enumerate((height, width))
    )
    across = _along_rows(np.asarray(cells, "float32").T, *columns).T
    return _along_rows(across, *rows)


def place_on_square(cells, grid):
    """Lays an attribution map over its square image: float32 (size, size). See `place`."""
    size = grid.image_size
    return place(cells, grid, FieldOfView.of_square(size), size, size)


@functools.lru_cache(maxsize=64)  # prepared images share one geometry, and so do most photographs of a camera
def _resampling(length, corner, scale, offset, step, start, extent, num_cells):
    """Lanczos interpolation along one axis, for each of `length` places.

    Returns:
        float32 (length, cells), the weights; int (length,), between which cells a place lies, 0 being before
        the first; and bool (length,), whether the network sees it.
    """
    positions = (np.arange(length) + 0.5 - corner) / scale
    at = (positions - offset) / step
    before = np.floor(at).astype(int)
    taps = before[:, None] + np.arange(1 - LOBES, 1 + LOBES)
    distance = at[:, None] - taps
    weights = np.sinc(distance) * np.sinc(distance / LOBES)
    weights /= weights.sum(axis=1, keepdims=True)
    matrix = np.zeros((length, num_cells), "float32")
    np.add.at(matrix, (np.arange(length)[:, None], np.clip(taps, 0, num_cells - 1)), weights)
    matrix.flags.writeable = False
    pair = np.clip(before + 1, 0, num_cells)  # of cells, the outermost of them being doubled
    return matrix, pair, (positions >= start) & (positions < start + extent)


def _along_rows(cells, matrix, pair, seen):
    padded = np.concatenate([cells[:1], cells, cells[-1:]])
    low, high = np.minimum(padded[:-1], padded[1:]), np.maximum(padded[:-1], padded[1:])
    placed = matrix @ cells
    np.clip(placed, low[pair], high[pair], out=placed)
    placed[~seen] = 0
    return placed
