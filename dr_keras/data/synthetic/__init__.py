"""Procedural fundus photographs, graded and with lesion masks, drawn from a seed.

An eye, a camera and a stage of disease are drawn independently of one another: the same seed at another
grade is the same eye under the same camera. So nothing but the lesions tells the grade.
"""

import dataclasses
import numbers
import re

import numpy as np

from dr_keras.data.records import FundusDataset, Record
from dr_keras.data.synthetic.camera import draw_camera
from dr_keras.data.synthetic.canvas import blend
from dr_keras.data.synthetic.eye import draw_eye, draw_side
from dr_keras.data.synthetic.lesions import LESIONS, draw_lesions
from dr_keras.data.synthetic.retina import paint_retina
from dr_keras.grades import NUM_GRADES

_NAME = re.compile(r"synthetic/(\d+)-(\d{6,})-grade([0-4])")
_MASK_COVERAGE = 0.25  # a pixel belongs to a lesion from this share of its paint on


@dataclasses.dataclass(frozen=True)
class SyntheticFundus:
    """A drawn photograph and what is in it.

    Attributes:
        image: uint8 RGB (height, width, 3).
        masks: dict of lesion name (`LESIONS`) to bool (height, width): where it was painted, also where
            another lesion was painted over it.
        field_of_view: bool (height, width): the photographed retina.
        grade: ICDR grade 0-4.
    """

    image: np.ndarray
    masks: dict
    field_of_view: np.ndarray
    grade: int


def draw_fundus(seed, grade, size=512):
    """Draws a fundus photograph.

    Args:
        seed: whole number of at least 0, or a tuple of such numbers.
        grade: ICDR grade 0-4.
        size: height in pixels, at least 32; the width is 1 to 1.5 times that. The same seed and grade
            give the same eye at every size.

    Returns:
        A `SyntheticFundus`.

    Raises:
        ValueError: for arguments out of range.
    """
    seeds = seed if isinstance(seed, tuple) else (seed,)
    for number in seeds:
        _check_whole("seed", number, 0)
    _check_whole("size", size, 32)
    if grade not in range(NUM_GRADES):
        raise ValueError(f"`grade` must be 0, 1, 2, 3 or 4. Received: grade={grade}")
    eye = draw_eye(_generator(seeds, "eye"))
    camera_rng = _generator(seeds, "camera")
    camera = draw_camera(camera_rng)
    canvas = camera.canvas(int(size))
    lesion_rng = _generator(seeds, "lesions", grade)
    paints = draw_lesions(lesion_rng, eye, canvas, grade)
    beading = lesion_rng.uniform(0.35, 0.5) if grade == 3 else 0.0
    retina = paint_retina(_generator(seeds, "retina"), eye, canvas, beading)
    field_of_view = camera.field_of_view(canvas)
    seen = field_of_view >= 0.5
    masks = {lesion: np.zeros(seen.shape, dtype=bool) for lesion in LESIONS}
    for paint in paints:
        alpha = canvas.coverage(paint.shapes, paint.opacities, paint.softness)
        blend(retina, alpha, paint.colour)
        masks[paint.lesion] |= (alpha >= _MASK_COVERAGE) & seen
    image = camera.expose(camera_rng, canvas, retina, field_of_view)
    return SyntheticFundus(image, masks, seen, int(grade))


def synthetic_dataset(num_images, seed=0):
    """Lists photographs to draw, with grades 0-4 drawn evenly, in shuffled order.

    Args:
        num_images: how many, at least 1.
        seed: whole number of at least 0; another seed gives other eyes.

    Returns:
        A `FundusDataset` whose records `draw_named` draws.

    Raises:
        ValueError: for arguments out of range.
    """
    _check_whole("num_images", num_images, 1)
    _check_whole("seed", seed, 0)
    grades = _generator((seed,), "grades").permutation(np.arange(num_images) % NUM_GRADES)
    records = []
    for index, grade in enumerate(grades.tolist()):
        name = f"synthetic/{seed}-{index:06d}-grade{grade}"
        side = draw_side(_generator((seed, index), "eye"))
        records.append(Record(image=name, path=name, grade=grade, patient=name, eye=side))
    return FundusDataset("synthetic", "", tuple(records))


def is_synthetic(name):
    """Whether a name is one of `synthetic_dataset`: it has no suffix, unlike every photograph's file."""
    return _NAME.fullmatch(str(name)) is not None


def draw_named(name, size=512):
    """Draws the photograph that a name of `synthetic_dataset` stands for.

    Args:
        name: image name or path of a record.
        size: height in pixels, at least 32.

    Returns:
        A `SyntheticFundus`.

    Raises:
        ValueError: if the name isn't one of `synthetic_dataset`, or `size` is out of range.
    """
    match = _NAME.fullmatch(name)
    if match is None:
        raise ValueError(f"`name` must be like synthetic/0-000000-grade0. Received: name={name}")
    seed, index, grade = map(int, match.groups())
    return draw_fundus((seed, index), grade, size)


def _check_whole(name, value, lowest):
    if not isinstance(value, numbers.Integral) or value < lowest:
        raise ValueError(f"`{name}` must be a whole number of at least {lowest}. Received: {name}={value}")


def _generator(seeds, stream, grade=0):
    """A generator of its own for each part of a photograph: changing one part leaves the others."""
    streams = ("eye", "camera", "lesions", "retina", "grades")
    return np.random.default_rng((streams.index(stream), int(grade), *map(int, seeds)))
