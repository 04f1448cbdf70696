import io

import cv2
import numpy as np
import pytest
from PIL import Image, ImageOps

from dr_keras.data.decoding import decode_image, read_image, reduction, reduction_of
from dr_keras.errors import InputError


def encoded(image, form, **options):
    data = io.BytesIO()
    image.save(data, form, **options)
    return data.getvalue()


def test_odd_files_are_read_or_refused_by_name(tmp_path, write_odd_photographs, draw_photograph, capfd):
    photograph = draw_photograph(0).astype(int)
    for name, reason in write_odd_photographs(tmp_path).items():
        if reason:
            with pytest.raises(InputError) as caught:
                read_image(tmp_path / name)
            assert str(caught.value).startswith(f"{tmp_path / name}: ")
            assert reason in str(caught.value)
            assert "\n" not in str(caught.value)
        else:
            image = read_image(tmp_path / name)
            assert (image.dtype, image.shape) == (np.uint8, photograph.shape), name
            if name != "grey.jpg":
                assert np.abs(image - photograph).mean() < 2, name
    captured = capfd.readouterr()
    assert captured.out + captured.err == ""


def test_lossless_variants_give_the_same_pixels(tmp_path, write_odd_photographs, draw_photograph):
    write_odd_photographs(tmp_path)
    for name in ("plain.png", "alpha.png", "deep.png"):
        np.testing.assert_array_equal(read_image(tmp_path / name), draw_photograph(0))
    grey = read_image(tmp_path / "grey.jpg")
    assert (grey[..., 0] == grey[..., 1]).all() and (grey[..., 0] == grey[..., 2]).all()
    assert np.abs(grey[..., 0].astype(int) - draw_photograph(0)[..., 1]).mean() < 2


@pytest.mark.parametrize("path", ["missing.jpg", "."])
def test_no_readable_file(tmp_path, path):
    with pytest.raises(InputError, match=r"can't be read \((No such file|Is a directory)"):
        read_image(tmp_path / path)


@pytest.mark.parametrize("form", ["TIFF", "BMP", "WEBP"])
def test_a_cut_file_of_another_format_is_refused_in_silence(draw_photograph, capfd, form):
    data = encoded(Image.fromarray(draw_photograph(0)), form)
    assert decode_image(data, "whole").shape == (240, 320, 3)
    with pytest.raises(InputError, match="cut: "):
        decode_image(data[: len(data) // 2], "cut")
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("min_side", [None, 100])
def test_exif_orientation_is_applied(draw_photograph, orientation, min_side):
    exif = Image.Exif()
    exif[274] = orientation
    drawn = draw_photograph(0)
    drawn[:60, :80] = 200, 0, 0  # tells the corners apart
    data = encoded(Image.fromarray(drawn), "JPEG", exif=exif)
    upright = np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(data))))
    image = decode_image(data, "rotated", reduction_of(data, "rotated", min_side))
    if min_side:
        upright = cv2.resize(upright, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
    assert image.shape == upright.shape
    assert np.abs(image.astype(int) - upright).mean() < 2


@pytest.mark.parametrize(("min_side", "shape"), [(None, (240, 320)), (121, (240, 320)), (120, (120, 160)),
                                                 (60, (60, 80)), (30, (30, 40)), (5, (30, 40))])  # fmt: skip
def test_a_jpeg_is_decoded_at_the_smallest_scale_that_suffices(draw_photograph, min_side, shape):
    photograph = Image.fromarray(draw_photograph(0))
    for form, expected in (("JPEG", shape), ("PNG", (240, 320))):
        data = encoded(photograph, form)
        factor = reduction_of(data, "photograph", min_side)
        assert decode_image(data, "photograph", factor).shape == (*expected, 3)


def test_reduction():
    assert [reduction(1000, side) for side in (1001, 1000, 501, 500, 250, 126, 125, 1)] == [
        1,
        1,
        1,
        2,
        4,
        4,
        8,
        8,
    ]


def test_a_thumbnail_in_the_header_is_no_end_of_the_photograph(draw_photograph):
    photograph = Image.fromarray(draw_photograph(0)).resize((1280, 960))
    exif = Image.Exif()
    exif[37500] = encoded(photograph.resize((64, 48)), "JPEG")  # a maker's note with a whole JPEG in it
    data = encoded(photograph, "JPEG", exif=exif, quality=95)
    assert decode_image(data, "whole").shape == (960, 1280, 3)
    for size in (len(data) // 2, 5000):
        with pytest.raises(InputError, match="truncated|damaged"):
            decode_image(data[:size], "cut")
