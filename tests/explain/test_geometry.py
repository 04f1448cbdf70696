import numpy as np
import pytest

from dr_keras.data.fundus import FieldOfView
from dr_keras.explain.geometry import Grid, place

WHOLE = (0, 0, 64, 64)


def view(center_y, center_x, radius, height, width):
    return FieldOfView(center_y, center_x, radius, height, width, found=True)


def test_cells_of_one_pixel_come_back_as_they_are():
    cells = np.random.default_rng(0).normal(size=(64, 64)).astype("float32")
    grid = Grid((0.5, 0.5), (1.0, 1.0), WHOLE, 64)
    np.testing.assert_allclose(place(cells, grid, view(32, 32, 32, 64, 64), 64, 64), cells, atol=1e-5)


def test_constant_map_is_constant_on_what_the_network_sees_and_zero_elsewhere():
    grid = Grid((12.0, 12.0), (8.0, 8.0), (8, 8, 48, 48), 64)
    placed = place(np.full((6, 6), 1.5), grid, view(50, 120, 40, 100, 200), 100, 200)
    top, left, side = 50 - 40 + 8 * 80 / 64, 120 - 40 + 8 * 80 / 64, 48 * 80 / 64
    expected = np.zeros((100, 200))
    expected[round(top) : round(top + side), round(left) : round(left + side)] = 1.5
    np.testing.assert_allclose(placed, expected, atol=1e-5)


@pytest.mark.parametrize("cell", [(1, 4), (4, 1), (0, 5)])
def test_a_cell_lies_where_its_grid_says_on_a_photograph_that_is_not_square(cell):
    cells = np.zeros((6, 6))
    cells[cell] = 1
    grid = Grid((12.0, 12.0), (8.0, 8.0), WHOLE, 64)
    placed = place(cells, grid, view(60, 130, 50, 120, 300), 120, 300)
    scale = 100 / 64
    expected = 10 + (12 + 8 * cell[0]) * scale, 80 + (12 + 8 * cell[1]) * scale
    high = placed > 0.9
    inner = [1 <= index <= 4 for index in cell]  # a cell at the border goes on to the edge
    centre = np.array(np.nonzero(high)).mean(axis=1) + 0.5
    for axis in (0, 1):
        if inner[axis]:
            assert centre[axis] == pytest.approx(expected[axis], abs=0.6)
    assert placed[int(expected[0]), int(expected[1])] == pytest.approx(1, abs=0.05)


def test_sign_and_size_are_kept():
    cells = np.array([[-2.0, -2.0], [3.0, 3.0]])
    grid = Grid((16.0, 16.0), (32.0, 32.0), WHOLE, 64)
    placed = place(cells, grid, view(32, 32, 32, 64, 64), 64, 64)
    assert placed[:16].mean() == pytest.approx(-2, abs=1e-5)
    assert placed[-16:].mean() == pytest.approx(3, abs=1e-5)
    assert placed.dtype == np.float32


def test_a_bright_cell_has_no_rings():
    """What isn't in the map isn't in the picture: around one high cell nothing lowers the score."""
    cells = np.full((8, 8), 0.25)
    cells[3, 4] = 50
    grid = Grid((4.0, 4.0), (8.0, 8.0), WHOLE, 64)
    placed = place(cells, grid, view(100, 100, 90, 200, 200), 200, 200)
    inside = placed[20:180, 20:180]
    assert inside.min() == pytest.approx(0.25, abs=1e-5) and inside.max() == pytest.approx(50, rel=1e-3)
    far = (
        np.hypot(
            *np.indices(placed.shape)
            - np.array([100 - 90 + 28 * 180 / 64, 100 - 90 + 36 * 180 / 64])[:, None, None]
        )
        > 36
    )
    np.testing.assert_allclose(placed[far & (placed != 0)], 0.25, atol=1e-5)
