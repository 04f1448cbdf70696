import cv2
import numpy as np
import pytest

from dr_keras.data import synthetic
from dr_keras.data.fundus import crop_square, find_field_of_view
from dr_keras.data.layouts.masked import MaskedPhotograph, find_masked_photographs
from dr_keras.data.lesion_masks import (
    ANY_LESION,
    masked_synthetic_photographs,
    read_masks,
    read_prepared,
)
from dr_keras.errors import InputError
from dr_keras.lesion_kinds import LESIONS

HEIGHT, WIDTH = 80, 120


def write(path, image):
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), image)


@pytest.fixture
def idrid(tmp_path):
    """IDRiD's tree with two photographs: the first with two lesions, the second with one."""
    part = tmp_path / "A. Segmentation"
    masks = part / "2. All Segmentation Groundtruths" / "a. Training Set"
    for name in ("IDRiD_01", "IDRiD_02"):
        write(
            part / "1. Original Images" / "a. Training Set" / f"{name}.jpg",
            np.full((HEIGHT, WIDTH, 3), 90, "uint8"),
        )
    dot, patch = np.zeros((2, HEIGHT, WIDTH), "uint8")
    dot[41, 60] = 255
    patch[10:20, 30:50] = 255
    write(masks / "1. Microaneurysms" / "IDRiD_01_MA.tif", dot)
    write(masks / "3. Hard Exudates" / "IDRiD_01_EX.tif", patch)
    write(masks / "3. Hard Exudates" / "IDRiD_02_EX.tif", patch)
    write(masks / "5. Optic Disc" / "IDRiD_02_OD.tif", patch)
    return tmp_path


def test_photographs_and_the_lesions_they_have(idrid):
    first, second = find_masked_photographs(idrid)
    assert first.image == "a. Training Set/IDRiD_01" and first.path.endswith("IDRiD_01.jpg")
    assert set(first.masks) == {"microaneurysms", "hard_exudates"} and set(second.masks) == {"hard_exudates"}
    assert find_masked_photographs(idrid / "A. Segmentation") == [first, second]


def test_masks_come_in_any_frame_and_no_dot_is_lost(idrid):
    first, _ = find_masked_photographs(idrid)
    whole = read_masks(first, HEIGHT, WIDTH)
    assert np.argwhere(whole["microaneurysms"]).tolist() == [[41, 60]]
    assert whole["hard_exudates"].sum() == 200
    np.testing.assert_array_equal(whole[ANY_LESION], whole["microaneurysms"] | whole["hard_exudates"])
    quarter = read_masks(first, HEIGHT // 4, WIDTH // 4)
    assert np.argwhere(quarter["microaneurysms"]).tolist() == [[10, 15]]
    twice = read_masks(first, 2 * HEIGHT, 2 * WIDTH)
    assert twice["hard_exudates"].sum() == 800 and twice["hard_exudates"][20:40, 60:100].all()


def test_drawn_photographs_bring_their_own():
    photographs = masked_synthetic_photographs(10, seed=3)
    assert len(photographs) == 8  # two have no lesion
    masks = read_masks(photographs[0], 100, 130)
    assert masks[ANY_LESION].shape == (100, 130) and masks[ANY_LESION].any()
    assert all(mask.any() for mask in masks.values())


def test_what_is_not_there_is_named(idrid, tmp_path):
    with pytest.raises(InputError, match="elsewhere: no lesion masks found; expected IDRiD"):
        find_masked_photographs(tmp_path / "elsewhere")
    photograph = idrid / "A. Segmentation" / "1. Original Images" / "a. Training Set" / "IDRiD_03.jpg"
    write(photograph, np.zeros((HEIGHT, WIDTH, 3), "uint8"))
    assert len(find_masked_photographs(idrid)) == 2  # the third has no mask
    empty = tmp_path / "empty.tif"
    write(empty, np.zeros((HEIGHT, WIDTH), "uint8"))
    with pytest.raises(InputError, match="photo.jpg: its lesion masks are empty"):
        read_masks(MaskedPhotograph("photo", "photo.jpg", {"haemorrhages": str(empty)}), HEIGHT, WIDTH)


def test_masks_on_the_prepared_square_lie_where_the_lesions_are():
    """On a synthetic photograph, whose masks are known exactly; read back, they are where they were drawn."""
    photograph = masked_synthetic_photographs(10)[0]
    pixels, masks, unknown = read_prepared(photograph, 256)
    assert pixels.shape == (256, 256, 3) and masks.shape == (256, 256, 5)
    assert unknown == (4,)  # nobody marks optic discs there
    drawn = synthetic.draw_named(photograph.path, 256)
    view = find_field_of_view(drawn.image)
    for channel, kind in enumerate(LESIONS):
        mask = np.repeat(drawn.masks[kind][..., None].astype("uint8") * 255, 3, 2)
        np.testing.assert_array_equal(masks[..., channel], crop_square(mask, view, 256)[..., 0])


def test_the_optic_disc_is_no_lesion(idrid):
    first, second = find_masked_photographs(idrid)
    assert first.optic_disc is None and second.optic_disc.endswith("IDRiD_02_OD.tif")
    assert 4 in read_prepared(first, 64)[2] and 4 not in read_prepared(second, 64)[2]
    assert "optic_disc" not in read_masks(second, HEIGHT, WIDTH)
