import io
import zlib

import cv2
import numpy as np
import pytest
from PIL import Image, ImageOps, TiffImagePlugin

from dr_keras.data.decoding import decode_image, read_image
from dr_keras.data.file_header import read_header, reduction
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
    with pytest.raises(InputError, match=r"can't be read \(No such file|no photograph in that folder"):
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
    image = decode_image(data, "rotated", read_header(data, "rotated").reduction(min_side))
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
        factor = read_header(data, "photograph").reduction(min_side)
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


def jpeg_of(draw_photograph, **options):
    return encoded(Image.fromarray(draw_photograph(0, 480, 640)), "JPEG", quality=95, **options)


@pytest.mark.parametrize("tail", [b"\0" * 100_000, bytes(range(1, 255)) * 200], ids=["padding", "video"])
def test_what_lies_behind_the_end_is_passed_over(draw_photograph, tail):
    jpeg = jpeg_of(draw_photograph)
    np.testing.assert_array_equal(decode_image(jpeg + tail, "long"), decode_image(jpeg, "plain"))
    png = encoded(Image.fromarray(draw_photograph(0)), "PNG")
    np.testing.assert_array_equal(decode_image(png + tail, "long"), draw_photograph(0))


def test_a_phones_picture_with_others_behind_it(draw_photograph):
    image = Image.fromarray(draw_photograph(0, 480, 640))
    data = io.BytesIO()
    image.save(data, "MPO", save_all=True, append_images=[image.resize((160, 120))], quality=95)
    found = decode_image(data.getvalue(), "phone", read_header(data.getvalue(), "phone").reduction(200))
    assert found.shape == (240, 320, 3)


def test_an_orientation_that_is_text_or_damaged_never_decides(draw_photograph):
    plain = decode_image(jpeg_of(draw_photograph), "plain")
    info = TiffImagePlugin.ImageFileDirectory_v2()
    info.tagtype[274], info[274] = 2, "1"
    written = io.BytesIO()
    info.save(written)
    for exif in (b"Exif\0\0" + written.getvalue(), b"Exif\0\0MM\0*\xff\xff\xff\xff", b"Exif\0\0"):
        data = jpeg_of(draw_photograph, exif=exif)
        np.testing.assert_array_equal(decode_image(data, "text"), plain)
        assert read_header(data, "photograph").upright_size == (480, 640)


def png_chunk(kind, content, checksum=None):
    checksum = zlib.crc32(kind + content) if checksum is None else checksum
    return len(content).to_bytes(4, "big") + kind + content + checksum.to_bytes(4, "big")


def test_a_png_whose_metadata_are_damaged_is_read_and_whose_pixels_are_is_not(draw_photograph):
    data = encoded(Image.fromarray(draw_photograph(0)), "PNG")
    start = data.index(b"IDAT") - 4
    for chunk in (png_chunk(b"eXIf", b"nonsense"), png_chunk(b"tEXt", b"a\0b", checksum=7)):
        odd = data[:start] + chunk + data[start:]
        np.testing.assert_array_equal(decode_image(odd, "odd"), draw_photograph(0))
        assert read_header(odd, "photograph").upright_size == (240, 320)
    flipped = bytearray(data)
    flipped[start + 300] ^= 1
    with pytest.raises(InputError, match="flipped: the PNG file is damaged"):
        decode_image(bytes(flipped), "flipped")


def test_a_tiff_is_read_from_its_largest_page(draw_photograph):
    image, data = Image.fromarray(draw_photograph(0)), io.BytesIO()
    image.resize((80, 60)).save(data, "TIFF", save_all=True, append_images=[image, image.resize((40, 30))])
    np.testing.assert_array_equal(decode_image(data.getvalue(), "pages"), draw_photograph(0))
    assert read_header(data.getvalue(), "photograph").upright_size == (240, 320)


def test_which_of_several_like_pages_is_meant_is_not_guessed(draw_photograph):
    image, data = Image.fromarray(draw_photograph(0)), io.BytesIO()
    image.save(data, "TIFF", save_all=True, append_images=[image.resize((40, 30)), image.rotate(180)])
    with pytest.raises(InputError, match="^eyes: the TIFF file holds 2 pictures of one size, expected one"):
        decode_image(data.getvalue(), "eyes")


def test_a_tiff_of_float_samples_is_refused_by_name():
    data = encoded(Image.fromarray(np.zeros((64, 64), "float32")), "TIFF")
    with pytest.raises(InputError, match="floats: the TIFF file has samples of 32 bits, expected 8 or 16"):
        decode_image(data, "floats")
    data = cv2.imencode(".tiff", np.zeros((64, 64, 3), "float32"))[1].tobytes()
    with pytest.raises(InputError, match="floats: a TIFF file that can't be read, .*samples of 8 or 16 bits"):
        decode_image(data, "floats")


def test_a_tiff_of_a_compression_that_is_not_read_is_refused_by_name(draw_photograph):
    data = encoded(Image.fromarray(draw_photograph(0)), "TIFF", compression="lzma")
    with pytest.raises(InputError, match=r"eye: the TIFF file is damaged, or its compression \(.*lzma\)"):
        decode_image(data, "eye")


@pytest.mark.parametrize("factor", [0.5, 0.9, 1.1, 2])
@pytest.mark.parametrize("side", ["height", "width"])
def test_a_jpeg_whose_header_tells_another_size_is_refused(draw_photograph, side, factor):
    data = jpeg_of(draw_photograph)
    place = data.index(b"\xff\xc0") + (5 if side == "height" else 7)
    told = int(factor * int.from_bytes(data[place : place + 2], "big"))
    with pytest.raises(InputError, match="eye: the JPEG file is (damaged|truncated)"):
        decode_image(data[:place] + told.to_bytes(2, "big") + data[place + 2 :], "eye")


@pytest.mark.parametrize("seed", range(12))
def test_a_damaged_jpeg_is_refused_or_all_but_the_same(draw_photograph, capfd, seed):
    """What a decoder fills or guesses must not be graded in silence."""
    data, rng = jpeg_of(draw_photograph), np.random.default_rng(seed)
    place = int(rng.integers(data.index(b"\xff\xda") + 20, len(data) - 6000))
    damaged = [
        data[:place] + b"\xff\xd9",
        data[:place] + bytes(4096) + data[place + 4096 :],
        data[:place] + data[place + 500 :],
        data[:place],
    ]
    whole = decode_image(data, "whole").astype(int)
    for number, content in enumerate(damaged):
        try:
            found = decode_image(content, "damaged")
        except InputError as error:
            assert "truncated" in str(error) or "damaged" in str(error)
        else:
            assert np.abs(found - whole).max() < 60, number
    assert capfd.readouterr().err == ""
