"""Two thousand damaged files: nothing but a grade or a reason comes of them.

A PNG has checksums, and damage to a JPEG mostly makes libjpeg warn. In the others flipped bits show nowhere
but in the picture, where they are looked for. How many are graded otherwise than the whole file is held here.
"""

import collections
import io
import os

import numpy as np
import pytest
from PIL import Image

from dr_keras.data.synthetic import draw_fundus
from dr_keras.inference.grader import load_grader

FILES = 2000
SEED = int(os.environ.get("FUZZ_SEED", 0))  # of the damage, and of the eyes that are drawn
# Of 400 files each, how many may be graded more than `MOST` off.
UNSEEN = {"JPEG": 1, "PNG": 0, "TIFF": 6, "WEBP": 0, "BMP": 7}
MOST = 0.2  # grade units that a damaged file's score may be off
FORMS = {
    "JPEG": {"quality": 92},
    "PNG": {},
    "TIFF": {"compression": "tiff_lzw"},
    "WEBP": {"quality": 92},
    "BMP": {},
}


def damaged(data, rng):
    """Does one of what disks, networks and programs do to a file."""
    data = bytearray(data)
    place = int(rng.integers(len(data)))
    kind = rng.integers(6)
    if kind == 0:  # cut short
        return bytes(data[:place])
    if kind == 1:  # a sector of zeros
        data[place : place + 4096] = bytes(len(data[place : place + 4096]))
    elif kind == 2:  # bits flipped
        for _ in range(20):
            data[int(rng.integers(len(data)))] ^= 1 << int(rng.integers(8))
    elif kind == 3:  # bytes lost in the middle
        del data[place : place + int(rng.integers(1, 500))]
    elif kind == 4:  # bytes of something else
        data[place : place + 200] = rng.integers(0, 256, len(data[place : place + 200]), np.uint8).tobytes()
    else:  # a part twice
        data[place:place] = data[max(0, place - 300) : place]
    return bytes(data)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_damaged_files_are_refused_or_graded_alike():
    rng, grader = np.random.default_rng(SEED), load_grader("dr_grader_fast")
    files, expected = [], []
    photographs = [Image.fromarray(draw_fundus(SEED + seed, seed, 600).image) for seed in range(5)]
    for number in range(FILES):
        form = list(FORMS)[number % len(FORMS)]
        file = io.BytesIO()
        photographs[number // len(FORMS) % len(photographs)].save(file, form, **FORMS[form])
        if number < len(FORMS) * len(photographs):
            expected.append(grader.grade(file.getvalue()).score)
        files.append(damaged(file.getvalue(), rng))
    wrong = collections.Counter()
    graded = grader.grade(files)
    for number, each in enumerate(graded):
        off = each.score - expected[number % len(expected)]
        if each.gradable and not abs(off) <= MOST:
            wrong[list(FORMS)[number % len(FORMS)]] += 1
        assert each.gradable or each.reason
    assert all(wrong[form] <= most for form, most in UNSEEN.items()), wrong
    assert 0.4 * FILES < sum(not each.readable for each in graded) < FILES
