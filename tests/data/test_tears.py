"""What damaged bytes look like when a decoder makes a picture of them all the same."""

import io
import os

import cv2
import numpy as np
import pytest
from PIL import Image

from dr_keras.data import tears
from dr_keras.data.decoding import decode_photograph, read_image
from dr_keras.data.synthetic import draw_fundus
from dr_keras.errors import InputError


@pytest.fixture(scope="module")
def eye():
    return draw_fundus(3, 3, 400).image


def shifted(eye, shift, row=208, column=0):
    """The eye, of other brightness or colour from a row of blocks on, in its first row from a column on."""
    torn = eye.astype(int)
    torn[row : row + 8, column:] += shift
    torn[row + 8 :] += shift
    return np.clip(torn, 0, 255).astype(np.uint8)


def test_whole_pictures_show_no_damage(eye):
    rng = np.random.default_rng(0)
    noisy = np.clip(eye + rng.normal(0, 15, eye.shape), 0, 255).astype(np.uint8)
    cropped = eye[60:-60]  # the retina ends in a straight line, above and below
    banded = np.pad(cropped, ((60, 60), (0, 0), (0, 0)))
    framed = np.pad(eye, ((60, 60), (60, 60), (0, 0)), constant_values=90)
    hazy = np.maximum(eye, 45)
    whole = [eye, noisy, cropped, banded, framed, hazy, np.rot90(eye).copy(), eye[::2, ::2].copy(), eye[:40]]
    for picture in whole:
        for kind in ("JPEG", "WEBP", "BMP", "TIFF"):
            assert tears.damage(picture, [kind]) == ""


def test_what_is_drawn_into_a_picture_is_no_damage(eye):
    captioned, ruled, boxed = eye.copy(), eye.copy(), eye.copy()
    cv2.putText(captioned, "OD 2024", (60, 210), cv2.FONT_HERSHEY_SIMPLEX, 1, (255, 255, 255), 3)
    ruled[100::60] = (0, 255, 0)
    cv2.rectangle(boxed, (90, 120), (330, 280), (0, 255, 0), 3)
    for picture in (captioned, ruled, boxed):
        for kind in ("JPEG", "WEBP", "BMP", "TIFF"):
            assert tears.damage(picture, [kind]) == ""


@pytest.mark.parametrize("column", [0, 200])
@pytest.mark.parametrize("shift", [(10, 10, 10), (-12, 0, 0), (0, 0, 15)])
def test_other_brightness_or_colour_from_a_row_on_is_seen(eye, shift, column):
    assert tears.damage(shifted(eye, shift, column=column), ["JPEG"]) == tears.TORN


@pytest.mark.parametrize("value", [0, 255])
@pytest.mark.parametrize("length", [1024, 4096, 20_000])
def test_bytes_that_are_lost_are_seen(eye, value, length):
    torn = eye.copy()
    torn.reshape(-1)[eye.shape[1] * 3 * 200 + 300 :][:length] = value
    assert tears.damage(torn, ["BMP"]) == tears.LOST and tears.damage(torn, ["PNG"]) == ""


def test_noise_around_the_eye_is_seen(eye):
    torn = eye.copy()
    torn[250:] = np.random.default_rng(0).integers(0, 255, torn[250:].shape, np.uint8)
    assert tears.damage(torn, ["WEBP"]) == tears.OVERRUN


def test_a_file_whose_picture_shows_damage_is_refused_by_name(eye):
    file = io.BytesIO()
    Image.fromarray(shifted(eye, (20, 20, 20))).save(file, "JPEG", quality=95)
    with pytest.raises(InputError, match="eye: rows of its picture don't fit those above them"):
        decode_photograph(file.getvalue(), "eye")


def test_damage_of_a_jpeg_in_a_tiff_is_seen(eye):
    file = io.BytesIO()
    Image.fromarray(shifted(eye, (20, 20, 20))).save(file, "TIFF", compression="jpeg", quality=95)
    with pytest.raises(InputError, match="eye: rows of its picture don't fit those above them"):
        decode_photograph(file.getvalue(), "eye")
    file = io.BytesIO()
    Image.fromarray(eye).save(file, "TIFF", compression="jpeg", quality=95)
    assert decode_photograph(file.getvalue(), "eye").shape == eye.shape


def test_a_pipe_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "eye.jpg")
    with pytest.raises(InputError, match="eye.jpg: not a file"):
        read_image(tmp_path / "eye.jpg")
