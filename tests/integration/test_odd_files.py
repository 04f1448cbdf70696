"""One photograph as cameras, phones, programs and accidents leave it: its score, or a reason and no grade."""

import io

import cv2
import numpy as np
import pytest
from PIL import Image, TiffImagePlugin

from dr_keras.data.synthetic import draw_fundus
from dr_keras.inference.grader import load_grader

OFF = 0.1  # grade units that a harmless copy's score may be off
OFF_COARSER = 0.3  # the same where detail is lost
OFF_DRAWN = 0.25  # the same of the fast grader and drawn photographs, which are noisier than real ones
TURNS = {6: Image.ROTATE_90, 8: Image.ROTATE_270, 3: Image.ROTATE_180}


def encoded(image, form, **options):
    file = io.BytesIO()
    image.save(file, form, **options)
    return file.getvalue()


def orientation(number):
    tags = Image.Exif()
    tags[0x0112] = number
    return tags


def orientation_as_text():
    info, file = TiffImagePlugin.ImageFileDirectory_v2(), io.BytesIO()
    info.tagtype[0x0112], info[0x0112] = 2, "1"
    info.save(file)
    return b"Exif\0\0" + file.getvalue()


def with_text(image):
    """What some cameras print into the corners."""
    pixels = np.array(image)
    for place, words in (((8, 24), "OD 45 deg"), ((8, len(pixels) - 10), "2024-03-11 10:22")):
        cv2.putText(pixels, words, place, cv2.FONT_HERSHEY_SIMPLEX, 0.6, (255, 255, 255), 2)
    return Image.fromarray(pixels)


def with_white_surround(image):
    pixels = np.array(image)
    pixels[pixels.max(axis=2) < 20] = 255
    return Image.fromarray(pixels)


def on_a_screen(image):
    """A program's window: a light bar of words, a grey canvas, a dark bar."""
    pixels = cv2.copyMakeBorder(np.array(image), 20, 20, 90, 90, cv2.BORDER_CONSTANT, value=(128, 128, 128))
    pixels = cv2.copyMakeBorder(pixels, 44, 0, 0, 0, cv2.BORDER_CONSTANT, value=(240, 240, 240))
    cv2.putText(pixels, "File Edit View Help", (10, 30), cv2.FONT_HERSHEY_SIMPLEX, 0.6, (30, 30, 30), 1)
    pixels = cv2.copyMakeBorder(pixels, 0, 30, 0, 0, cv2.BORDER_CONSTANT, value=(60, 60, 60))
    return Image.fromarray(pixels)


def with_frame(image):
    return Image.fromarray(
        cv2.copyMakeBorder(np.array(image), 30, 30, 30, 30, cv2.BORDER_CONSTANT, value=(255, 255, 255))
    )


def harmless(image):
    """Copies that show the same eye: a dict of name to bytes of a file."""
    whole, small = encoded(image, "JPEG", quality=98), image.resize((160, 160 * image.height // image.width))
    deep = cv2.imencode(".png", np.array(image)[..., ::-1].astype(np.uint16) * 257)[1].tobytes()
    copies = {
        "quality 98": whole,
        "bytes behind it": whole + np.random.default_rng(0).bytes(10_000),
        "zeros behind it": whole + bytes(100_000),
        "multi-picture": encoded(image, "MPO", save_all=True, append_images=[small], quality=98),
        "progressive": encoded(image, "JPEG", quality=98, progressive=True),
        "CMYK": encoded(image.convert("CMYK"), "JPEG", quality=98),
        "orientation as text": encoded(image, "JPEG", quality=98, exif=orientation_as_text()),
        "PNG with a palette": encoded(image.convert("RGBA"), "PNG"),
        "16 bits": deep,
        "lossless WebP": encoded(image, "WEBP", lossless=True),
        "WebP": encoded(image, "WEBP", quality=97),
        "BMP": encoded(image, "BMP"),
        "LZW": encoded(image, "TIFF", compression="tiff_lzw"),
        "deflated": encoded(image, "TIFF", compression="tiff_adobe_deflate"),
        "thumbnail first": encoded(small, "TIFF", save_all=True, append_images=[image]),
        "text beside the eye": encoded(with_text(image), "PNG"),
        "white surround": encoded(with_white_surround(image), "PNG"),
        "screen shot": encoded(on_a_screen(image), "PNG"),
        "white frame": encoded(with_frame(image), "PNG"),
    }
    for number, turn in TURNS.items():
        turned = image.transpose(turn)
        copies[f"orientation {number}"] = encoded(turned, "JPEG", quality=98, exif=orientation(number))
    return copies


def coarser(image):
    """Copies that lack some of the detail: as `harmless`."""
    size = 640, 640 * image.height // image.width
    return {
        "quality 85": encoded(image, "JPEG", quality=85),
        "quality 75": encoded(image, "JPEG", quality=75),
        "640 pixels wide": encoded(image.resize(size, Image.LANCZOS), "JPEG", quality=95),
    }


def damaged(image):
    """Copies of which a part is lost."""
    whole = encoded(image, "JPEG", quality=98)
    half, third = len(whole) // 2, len(whole) // 3
    copies = {
        "half": whole[:half],
        "half with an end": whole[:half] + b"\xff\xd9",
        "zeros in it": whole[:third] + bytes(5000) + whole[third + 5000 :],
        "a piece gone": whole[:third] + whole[third + 5000 :],
    }
    for form in ("PNG", "WEBP", "BMP"):
        data = encoded(image, form)
        copies[f"half a {form}"] = data[: len(data) // 2]
    return copies


def changed(image):
    """Pictures that no camera made."""
    pixels = np.array(image).astype(np.float32)
    soft = cv2.GaussianBlur(pixels, (0, 0), image.width / 30)
    filtered = np.clip(4 * (pixels - soft) + 128, 0, 255).astype(np.uint8)
    return {
        "red-free": encoded(Image.fromarray(np.array(image)[..., 1]), "PNG"),
        "filtered": encoded(Image.fromarray(filtered), "PNG"),
        "too small": encoded(image.resize((150, 150 * image.height // image.width)), "PNG"),
        "quality 15": encoded(image, "JPEG", quality=15),
        "noise": encoded(
            Image.fromarray(np.random.default_rng(0).integers(0, 255, (600, 600, 3), np.uint8)), "PNG"
        ),
    }


def check(grader, image, most, most_coarser=None):
    plain = grader.grade(encoded(image, "PNG"))
    assert plain.gradable, plain.reason
    judged = [(harmless(image), most)] + ([(coarser(image), most_coarser)] if most_coarser else [])
    for copies, off in judged:
        for name, graded in zip(copies, grader.grade(list(copies.values())), strict=True):
            assert graded.gradable and abs(graded.score - plain.score) <= off, (name, graded, plain.score)
    for copies in (damaged(image), changed(image)):
        for name, graded in zip(copies, grader.grade(list(copies.values())), strict=True):
            assert graded.grade is None and graded.reason, (name, graded)


def test_drawn_photographs():
    grader = load_grader("dr_grader_fast")
    for seed in (2, 4):
        check(grader, Image.fromarray(draw_fundus(seed, seed, 640).image), OFF_DRAWN)


@pytest.mark.slow
@pytest.mark.parametrize("number", [1, 100, 250])
def test_real_photographs(shared_dir, number):
    (path,) = shared_dir.glob(f"idrid/B. */1. */a. */IDRiD_{number:03d}.jpg")
    check(load_grader(), Image.open(path).convert("RGB"), OFF, OFF_COARSER)
