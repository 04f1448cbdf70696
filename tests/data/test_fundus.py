import cv2
import numpy as np
import pytest

from dr_keras.data import fundus
from dr_keras.data.fundus import FieldOfView, crop_square, find_field_of_view

CENTERED = FieldOfView(60, 80, 50, 120, 160, found=True)


def check_circle(view, center_y, center_x, radius, tolerance):
    assert view.found
    assert abs(view.center_y - center_y) < tolerance
    assert abs(view.center_x - center_x) < tolerance
    assert abs(view.radius - radius) < tolerance


@pytest.mark.parametrize(("height", "width"), [(240, 320), (320, 240), (200, 200), (960, 1280)])
def test_the_circle_of_a_drawn_photograph_is_found(draw_photograph, height, width):
    side = min(height, width)
    image = draw_photograph(1, side, side)
    image = cv2.copyMakeBorder(image, 0, height - side, 0, width - side, cv2.BORDER_CONSTANT)
    view = find_field_of_view(image)
    assert (view.image_height, view.image_width) == (height, width)
    check_circle(view, side / 2, side / 2, int(0.47 * side), tolerance=0.015 * max(height, width))


def test_a_circle_cut_off_above_and_below(draw_photograph):
    view = find_field_of_view(draw_photograph(2, 400, 500)[60:-60])
    check_circle(view, 140, 250, 188, tolerance=6)
    top, left, side = view.square
    assert top < 0 < left and side > 280
    assert view.rectangle == (0, left, 280, side)


def test_no_grey_level_decides(draw_photograph):
    image = draw_photograph(3, 400, 500)
    dim = (image * 0.15).astype(np.uint8)
    assert dim.max() < 30
    check_circle(find_field_of_view(dim), 200, 250, 188, tolerance=6)
    lit = np.maximum(image, 60)  # a surround that a threshold on darkness would take for retina
    check_circle(find_field_of_view(lit), 200, 250, 188, tolerance=6)


@pytest.mark.parametrize("name", ["black", "grey", "white", "noise", "gradient"])
@pytest.mark.parametrize(("height", "width"), [(100, 160), (160, 100), (32, 2000)])
def test_without_an_edge_the_centre_square_is_taken(name, height, width):
    rng = np.random.default_rng(0)
    image = {
        "black": np.zeros((height, width, 3), np.uint8),
        "grey": np.full((height, width, 3), 90, np.uint8),
        "white": np.full((height, width, 3), 255, np.uint8),
        "noise": rng.integers(0, 256, (height, width, 3), dtype=np.uint8),
        "gradient": np.broadcast_to(np.linspace(0, 255, width)[None, :, None], (height, width, 3)).astype(
            np.uint8
        ),
    }[name]
    view = find_field_of_view(image)
    side = min(height, width)
    assert view == FieldOfView(height / 2, width / 2, side / 2, height, width, found=False)
    assert view.rectangle == ((height - side) // 2, (width - side) // 2, side, side)
    assert crop_square(image, view, 24).shape == (24, 24, 3)


def test_square_and_rectangle_by_hand():
    view = FieldOfView(center_y=40, center_x=150, radius=50, image_height=120, image_width=160, found=True)
    assert view.square == (-10, 100, 100)
    assert view.rectangle == (0, 100, 90, 60)
    assert CENTERED.square == CENTERED.rectangle[:2] + (100,) == (10, 30, 100)


def test_scaled_by_hand():
    assert CENTERED.scaled(0.5, 60, 80) == FieldOfView(30, 40, 25, 60, 80, found=True)


def test_mask_by_hand():
    mask = FieldOfView(2, 3, 1.6, 4, 6, found=True).mask()
    expected = np.zeros((4, 6), bool)
    expected[1:3, 1:5] = expected[0:4, 2:4] = True
    np.testing.assert_array_equal(mask, expected)
    assert abs(CENTERED.mask().sum() - np.pi * 50**2) < 20


def test_crop_reduces_by_area_and_blackens_the_surround():
    image = np.full((120, 160, 3), 40, np.uint8)
    image[10:110, 30:130] = 2 * np.repeat(np.arange(50, dtype=np.uint8), 2)[:, None, None]
    square = crop_square(image, CENTERED, 50)
    assert square[25, 25].tolist() == [50, 50, 50]  # rows 50 and 51 of the square
    assert square[10, 25].tolist() == [20, 20, 20]
    rows, columns = np.indices((50, 50))
    outside = (rows - 24.5) ** 2 + (columns - 24.5) ** 2 > 25**2
    assert (square[outside] == 0).all()
    assert (square[~outside].min(axis=1) > 0)[rows[~outside] > 0].all()


def test_crop_beyond_the_photograph_is_black():
    view = FieldOfView(0, 80, 50, 120, 160, found=False)
    square = crop_square(np.full((120, 160, 3), 200, np.uint8), view, 100)
    assert (square[:50] == 0).all() and (square[50:] == 200).all()


def test_a_small_eye_is_enlarged():
    image = np.full((40, 40, 3), 200, np.uint8)
    square = crop_square(image, FieldOfView(20, 20, 20, 40, 40, found=True), 120)
    assert square.shape == (120, 120, 3)
    assert square[60, 60].tolist() == [200, 200, 200] and square[0, 0].tolist() == [0, 0, 0]


def test_real_photographs(shared_dir):
    """IDRiD's field of view is wider than its photographs are high: cut off above and below."""
    folder = shared_dir / "idrid/B. Disease Grading/1. Original Images/a. Training Set"
    for path in sorted(folder.glob("*.jpg"))[:5]:
        image = cv2.imread(str(path))[..., ::-1]
        view = find_field_of_view(image)
        assert view.found
        assert 0.38 < view.radius / image.shape[1] < 0.43
        assert view.square[2] > image.shape[0]


@pytest.mark.parametrize("colour", [(255, 255, 255), (128, 128, 128), (60, 60, 60), (40, 90, 120)])
def test_a_bright_surround_is_like_a_black_one(draw_photograph, colour):
    image = draw_photograph(5, 300, 400)
    surrounded = np.where(image.max(axis=2, keepdims=True) == 0, np.uint8(colour), image)
    framed = cv2.copyMakeBorder(image, 20, 20, 20, 20, cv2.BORDER_CONSTANT, value=colour)
    expected = fundus.find_field_of_view(image)
    for picture, shift in ((surrounded, 0), (framed, 20)):
        blackened = fundus.without_bright_surround(picture)
        view = fundus.find_field_of_view(blackened)
        assert view.found and view.radius == pytest.approx(expected.radius, abs=3)
        assert view.center_x == pytest.approx(expected.center_x + shift, abs=2)
        square = fundus.crop_square(blackened, view, 128).astype(float)
        assert np.abs(square - fundus.crop_square(image, expected, 128)).mean() < 4
        assert square.max() < 230


def test_a_bright_retina_keeps_its_pixels(draw_photograph):
    image = draw_photograph(5, 300, 400)
    cv2.circle(image, (200, 150), 30, (255, 255, 255), -1)
    assert fundus.without_bright_surround(image) is image


def test_what_has_no_colours_anywhere_keeps_its_pixels(draw_photograph):
    image = draw_photograph(5, 300, 400)
    filtered = cv2.addWeighted(image, 4, cv2.GaussianBlur(image, (0, 0), 10), -4, 128)
    grey = np.maximum(np.repeat(image[..., 1:2], 3, axis=2), 60)
    for picture in (filtered, grey):
        assert fundus.without_bright_surround(picture) is picture
