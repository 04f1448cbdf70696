import cv2
import numpy as np
import pytest

from dr_keras.data.harmless_changes import Changes
from dr_keras.data.lesion_crops import (
    UNKNOWN,
    CropConfig,
    CropSampler,
    LesionExample,
    paste_lesions,
)
from dr_keras.lesion_kinds import CHANNELS

SIZE = 160
PLAIN = CropConfig(size=64, healthy_share=0, changes=Changes(zoom=1, colour=0, gamma=1, degrade_share=0))


def eye(spot=None, kind=1, level=20):
    """A round, plain eye; with a spot of another brightness at (y, x), marked as one kind of lesion."""
    y, x = np.mgrid[:SIZE, :SIZE]
    pixels = np.zeros((SIZE, SIZE, 3), np.uint8)
    pixels[(y - 80) ** 2 + (x - 80) ** 2 < 78**2] = (150, 80, 40)
    masks = np.zeros((SIZE, SIZE, len(CHANNELS)), np.uint8)
    if spot:
        inside = (y - spot[0]) ** 2 + (x - spot[1]) ** 2 <= 25
        pixels[inside] = level
        masks[inside, kind] = 255
    return pixels, masks


def test_targets_go_where_the_pixels_go():
    """The spot is dark in the picture exactly where the target says, however the crop is turned."""
    sampler = CropSampler([LesionExample(*eye((60, 100)))], PLAIN, seed=3)
    seen = 0
    for number in range(40):
        image, targets = sampler.crop(number)
        assert image.shape == (64, 64, 3) and image.dtype == np.uint8
        assert targets.shape == (64, 64, 5) and targets.dtype == np.float32
        marked = targets[..., 1] > 0.99
        if marked.sum() > 30:
            seen += 1
            assert np.all(image[marked, 0] < 40)
            around = cv2.dilate(marked.astype("uint8"), np.ones((7, 7))).astype(bool)
            retina = cv2.erode((image[..., 0] > 0).astype("uint8"), np.ones((5, 5)), borderValue=0).astype(
                bool
            )
            assert np.all(image[~around & retina, 0] > 100)
    assert seen > 20  # most crops are centred on it


def test_a_number_always_gives_the_same_crop():
    examples = [LesionExample(*eye((60, 100))), LesionExample(eye()[0], None)]
    first, second = CropSampler(examples, seed=1), CropSampler(examples, seed=1)
    for number in (5, 2, 5):
        for one, other in zip(first.crop(number), second.crop(number), strict=True):
            np.testing.assert_array_equal(one, other)
    assert (first.crop(2)[0] != CropSampler(examples, seed=2).crop(2)[0]).any()


def test_what_nobody_marked_is_unknown_not_absent():
    pixels, masks = eye((60, 100))
    _, targets = CropSampler([LesionExample(pixels, masks, unknown=(0, 4))], PLAIN).crop(0)
    assert np.all(targets[..., [0, 4]] == UNKNOWN) and np.all(targets[..., 1:4] >= 0)


def test_a_healthy_eye_has_no_lesions_but_those_pasted_in():
    examples = [LesionExample(*eye((80, 80), kind=2, level=250)), LesionExample(eye()[0], None)]
    config = CropConfig(**{**PLAIN.__dict__, "healthy_share": 1, "paste_share": 0})
    for number in range(5):
        _, targets = CropSampler(examples, config).crop(number)
        assert np.all(targets[..., :4] == 0) and np.all(targets[..., 4] == UNKNOWN)
    config = CropConfig(**{**config.__dict__, "paste_share": 1, "centred_share": 1})
    pasted = [CropSampler(examples, config).crop(number) for number in range(20)]
    marked = [(image[targets[..., 2] > 0.99], targets) for image, targets in pasted]
    bright = [pixels for pixels, _ in marked if len(pixels) > 20]
    assert len(bright) > 5 and all(np.median(pixels[:, 0]) > 200 for pixels in bright)


def test_pasting_keeps_how_much_darker_a_lesion_is():
    """A spot at half the brightness of a bright retina has half the brightness of a dim one."""
    donor, image = np.full((64, 64, 3), 200, np.uint8), np.full((64, 64, 3), 100, np.uint8)
    masks = np.zeros((64, 64, 4), "float32")
    masks[28:36, 28:36, 1] = 1
    donor[28:36, 28:36] = 100
    pasted, kept = paste_lesions(image, donor, masks)
    assert abs(int(pasted[32, 32, 0]) - 51) <= 3  # (100 + 4) * (104 / 204) - 4 = 49
    np.testing.assert_array_equal(pasted[:16], image[:16])
    np.testing.assert_array_equal(kept, masks)


def test_nothing_is_pasted_outside_the_retina():
    donor, image = np.full((64, 64, 3), 200, np.uint8), np.full((64, 64, 3), 100, np.uint8)
    image[:, :32] = 0
    masks = np.zeros((64, 64, 4), "float32")
    masks[28:36, 20:44, 1] = 1
    pasted, kept = paste_lesions(image, donor, masks)
    assert not pasted[:, :30].any() and not kept[:, :32].any() and kept[30, 40, 1] == 1


def test_without_masks_there_is_nothing_to_learn():
    with pytest.raises(ValueError, match="`examples` must hold a photograph with masks"):
        CropSampler([LesionExample(eye()[0], None)])
