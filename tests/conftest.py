import io
import os
import shutil
import struct
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

_LONGEST = ("integration", "training", "serving", "export")


def pytest_configure():
    """Gives each of pytest's workers a core's worth of threads: more of them would wait for one another."""
    if "PYTEST_XDIST_WORKER" in os.environ:
        for threads in ("TF_NUM_INTRAOP_THREADS", "OMP_NUM_THREADS"):
            os.environ.setdefault(threads, "1")


def pytest_collection_modifyitems(items):
    """Puts the longest first, so that no worker ends with them alone."""
    places = {name: place for place, name in enumerate(_LONGEST)}
    items.sort(key=lambda item: min((places.get(part, len(places)) for part in item.path.parts), default=0))


@pytest.fixture(scope="module")
def browser():
    """Chromium, headless; its driver's event loop must not outlive a module of tests."""
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright isn't installed")
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None:
        pytest.skip("no Chromium on the PATH")
    quiet = (
        "--no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
        "--disable-component-update --disable-sync"
    )
    with sync_api.sync_playwright() as playwright:
        yield playwright.chromium.launch(executable_path=chromium, args=quiet.split())


@pytest.fixture(scope="session")
def shared_dir():
    """Folder with real photographs beside the checkout."""
    folder = Path(__file__).resolve().parents[2] / "shared"
    if not (folder / "idrid").is_dir():
        pytest.skip("no real photographs in ../shared")
    return folder


@pytest.fixture(scope="session")
def make_grader():
    """Function (seed, **options) -> Net-5 at 128 px that scores brightness differences, about 0 to 4."""

    from dr_keras.models.grader_model import build_grader
    from dr_keras.models.nets import net5

    def make(seed=0, **options):
        network = net5(128, width=0.1, seed=seed, **options)
        score = network.get_layer("score")
        score.kernel.assign(np.abs(score.kernel.numpy()) * 30)
        return build_grader(network, 128, (110, 60, 25), (60, 40, 25))

    return make


@pytest.fixture(scope="session")
def draw_photograph():
    """Function (seed, height, width) -> uint8 RGB: an orange disc with dark branching lines on black."""

    def draw(seed, height=240, width=320):
        rng = np.random.default_rng(seed)
        image = np.zeros((height, width, 3), np.uint8)
        center, radius = (width // 2, height // 2), int(0.47 * height)
        cv2.circle(image, center, radius, (190, 100, 45), -1)
        for _ in range(18):
            turns = rng.normal(0, 0.25, 40).cumsum() + rng.uniform(0, 2 * np.pi)
            start = rng.uniform(-0.6, 0.6, 2) * radius + center
            line = start + 0.06 * radius * np.column_stack([np.cos(turns), np.sin(turns)]).cumsum(0)
            cv2.polylines(image, [line.round().astype(np.int32)], False, (120, 40, 20), height // 80)
        rows, columns = np.ogrid[:height, :width]
        image[(rows - center[1]) ** 2 + (columns - center[0]) ** 2 > radius**2] = 0
        return image

    return draw


@pytest.fixture(scope="session")
def write_odd_photographs(draw_photograph):
    """Function (folder) -> {file name: part of the reason why it can't be read, or "" if it can}."""
    photograph = draw_photograph(0)

    def encoded(pixels, form, **options):
        data = io.BytesIO()
        Image.fromarray(pixels).save(data, form, **options)
        return data.getvalue()

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    def blank_png(side):
        rows = zlib.compress(bytes((side // 8 + 1) * side), 1)  # one bit a pixel
        header = chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0))
        return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", rows) + chunk(b"IEND", b"")

    jpeg, png = encoded(photograph, "JPEG", quality=95), encoded(photograph, "PNG")
    exif = Image.Exif()
    exif[274] = 6  # orientation: the first row is the right-hand side
    cmyk = io.BytesIO()
    Image.fromarray(photograph).convert("CMYK").save(cmyk, "JPEG", quality=95)
    deep = cv2.imencode(".png", photograph[..., ::-1].astype(np.uint16) * 257)[1].tobytes()
    odd = {
        "plain.png": (png, ""),
        "grey.jpg": (encoded(photograph[..., 1], "JPEG"), ""),
        "alpha.png": (encoded(np.dstack([photograph, photograph[..., 0]]), "PNG"), ""),
        "deep.png": (deep, ""),
        "cmyk.jpg": (cmyk.getvalue(), ""),
        "rotated.jpg": (encoded(np.rot90(photograph).copy(), "JPEG", quality=95, exif=exif), ""),
        "empty.jpg": (b"", "the file is empty"),
        "text.jpg": (b"no picture, only words\n" * 20, "not an image"),
        "header.png": (png[:20], "not an image"),
        "truncated.jpg": (jpeg[: len(jpeg) // 2], "the JPEG file is truncated"),
        "truncated.png": (png[: len(png) // 2], "the PNG file is truncated"),
        "damaged.png": (png[:900] + bytes(100) + png[1000:], "the PNG file is damaged"),
        "one_pixel.png": (encoded(photograph[:1, :1], "PNG"), "1x1 pixels, expected at least 32x32"),
        "bomb.png": (blank_png(20000), "20000x20000 pixels, expected at most 150 megapixels"),
    }

    def write(folder):
        folder.mkdir(parents=True, exist_ok=True)
        for name, (data, _) in odd.items():
            (folder / name).write_bytes(data)
        return {name: reason for name, (_, reason) in odd.items()}

    return write
