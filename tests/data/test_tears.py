"""What damaged bytes look like when a decoder makes a picture of them all the same."""

import io

import numpy as np
import pytest
from PIL import Image

from dr_keras.data.decoding import decode_photograph
from dr_keras.data.synthetic import draw_fundus
from dr_keras.data.tears import is_overrun, is_torn
from dr_keras.errors import InputError


@pytest.fixture(scope="module")
def eye():
    return draw_fundus(3, 3, 400).image


def test_whole_pictures_are_not_torn(eye):
    rng = np.random.default_rng(0)
    noisy = np.clip(eye + rng.normal(0, 15, eye.shape), 0, 255).astype(np.uint8)
    cropped = eye[60:-60]  # the retina ends in a straight line, above and below
    framed = np.pad(cropped, ((60, 60), (0, 0), (0, 0)))
    for picture in (eye, noisy, cropped, framed, np.rot90(eye).copy(), eye[::2, ::2].copy(), eye[:40]):
        assert not is_torn(picture) and not is_overrun(picture)
    labelled = eye.copy()
    labelled[5:15, 5:120] = 255  # printed text
    assert not is_torn(labelled) and not is_overrun(labelled)


@pytest.mark.parametrize("shift", [(10, 10, 10), (-12, 0, 0), (0, 0, 15)])
def test_other_brightness_or_colour_from_a_row_on_is_seen(eye, shift):
    torn = eye.astype(int)
    torn[208:] += shift
    assert is_torn(np.clip(torn, 0, 255).astype(np.uint8))
    torn = eye.astype(int)
    torn[208:216, 200:] += shift  # from within a row of blocks on
    torn[216:] += shift
    assert is_torn(np.clip(torn, 0, 255).astype(np.uint8))


def test_rows_that_are_lost_are_seen(eye):
    torn = eye.copy()
    torn.reshape(-1)[3 * 400 * 200 :][:4096] = 0  # a sector of a file that keeps pixels as they are
    assert is_torn(torn)


def test_noise_in_the_surround_is_seen(eye):
    torn = eye.copy()
    torn[250:] = np.random.default_rng(0).integers(0, 255, torn[250:].shape, np.uint8)
    assert is_overrun(torn)


def test_a_torn_file_is_refused_by_name(eye):
    torn, file = eye.copy(), io.BytesIO()
    torn[200:] = np.clip(torn[200:].astype(int) + 20, 0, 255)
    Image.fromarray(torn).save(file, "BMP")
    with pytest.raises(InputError, match="eye: the picture is torn, as if its file was damaged"):
        decode_photograph(file.getvalue(), "eye")
