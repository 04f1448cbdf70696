"""Changes that a photograph goes through without the eye changing: turning, exposure, resizing, compression.

A grade must not depend on them. What is fitted to changed copies of each photograph, beside the photograph
itself, learns to look past them.
"""

import dataclasses
import math

import cv2
import numpy as np

from dr_keras.data.fundus import brightest_channel

DARK = 10  # grey levels; the surround has less, and gets no noise


@dataclasses.dataclass(frozen=True)
class Changes:
    """How far photographs are changed.

    Attributes:
        zoom: factors of size are log-uniform in [1 / zoom, zoom].
        shift: standard deviation of the shift each way, as a share of the side.
        colour: standard deviation of the logarithm of each colour's gain, and of the gain of all three.
        gamma: exponents of brightness are log-uniform in [1 / gamma, gamma].
        degrade_share: share of photographs to which each of these is done: shading, blur, noise; and half of
            it that is sharpened. Of crops, also reduction and enlargement, compression as JPEG.
        save_share: share of whole photographs that are saved again, by `save_again`.
    """

    zoom: float = 1.1
    shift: float = 0.012
    colour: float = 0.1
    gamma: float = 1.3
    degrade_share: float = 0.4
    save_share: float = 0.7


def changed_copy(image, rng, changes=Changes()):
    """Makes a changed copy of a prepared photograph.

    Args:
        image: uint8 (size, size, 3), RGB.
        rng: NumPy generator that all draws come from.
        changes: `Changes`.

    Returns:
        uint8 (size, size, 3): turned by any angle or mirrored, with the changes of `recolour`, `shade` and
        `sharpen`, blurred, noisy, and saved again.
    """
    centre = np.array([len(image), len(image)]) / 2
    transform = warp_matrix(centre, len(image), rng, changes.zoom)
    transform[:, 2] += rng.normal(0, changes.shift * len(image), 2)
    turned = cv2.warpAffine(image, transform, image.shape[1::-1], flags=cv2.INTER_CUBIC)
    seen = recolour(turned, rng, changes)
    if rng.random() < changes.degrade_share:
        seen = shade(seen, rng)
    if rng.random() < changes.degrade_share / 2:
        seen = sharpen(seen, rng)
    seen = _blurred_and_noisy(seen, rng, changes.degrade_share)
    return save_again(seen, rng) if rng.random() < changes.save_share else seen


def warp_matrix(centre, size, rng, zoom):
    """Draws a rotation, a reflection and a change of size.

    Args:
        centre: x and y of the point of the photograph that comes to lie in the middle.
        size: side of the result, in pixels.
        rng: NumPy generator.
        zoom: factors of size are log-uniform in [1 / zoom, zoom].

    Returns:
        float64 (2, 3): the matrix from pixels of the photograph to pixels of the result.
    """
    angle, flip = rng.uniform(0, 2 * math.pi), rng.choice((-1.0, 1.0))
    scale = math.exp(rng.uniform(-1, 1) * math.log(zoom))
    cos, sin = scale * math.cos(angle), scale * math.sin(angle)
    linear = np.array([[cos * flip, -sin], [sin * flip, cos]])
    return np.column_stack([linear, size / 2 - linear @ np.asarray(centre, float)])


def recolour(image, rng, changes):
    """Another exposure, white balance and contrast, as another camera has; the surround stays black."""
    gain = np.exp(rng.normal(0, changes.colour, 3) + rng.normal(0, changes.colour))
    exponent = math.exp(rng.uniform(-1, 1) * math.log(changes.gamma))
    levels = np.arange(256)[:, None] / 255
    table = np.clip(255 * (levels * gain) ** exponent, 0, 255)
    return cv2.LUT(image, np.rint(table).astype(np.uint8).reshape(256, 1, 3))


def shade(image, rng):
    """Darker towards one side or the edge, as flashes and pupils make it."""
    y, x = np.mgrid[: len(image), : len(image)] / len(image) - 0.5
    middle_y, middle_x = rng.normal(0, 0.2, 2)
    fall = 1 - rng.uniform(0, 0.4) * np.minimum(2 * ((y - middle_y) ** 2 + (x - middle_x) ** 2), 1)
    return np.rint(image * fall[..., None]).astype(np.uint8)


def sharpen(image, rng):
    """What cameras and viewers do to edges."""
    amount, soft = rng.uniform(0.2, 0.9), cv2.GaussianBlur(image, (0, 0), rng.uniform(0.8, 1.6))
    return cv2.addWeighted(image, 1 + amount, soft, -amount, 0)


def save_again(image, rng):
    """What a photograph goes through that is kept smaller, mostly as JPEG, and brought to its size again.

    A block of JPEG's is then any size on the retina, as in files of any resolution.
    """
    factor = rng.uniform(0.45, 1.0) if rng.random() < 0.7 else 1.0
    small = cv2.resize(image, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA)
    small = _compressed(small, rng) if rng.random() < 0.75 else small
    return cv2.resize(small, image.shape[1::-1], interpolation=cv2.INTER_CUBIC)


def degrade(image, rng, share):
    """What a crop goes through: reduction, blur, noise and compression, each with probability `share`."""
    if rng.random() < share:
        factor = rng.uniform(0.4, 0.85)
        small = cv2.resize(image, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA)
        image = cv2.resize(small, image.shape[1::-1], interpolation=cv2.INTER_LINEAR)
    image = _blurred_and_noisy(image, rng, share)
    return _compressed(image, rng) if rng.random() < share else image


def _blurred_and_noisy(image, rng, share):
    if rng.random() < share:
        image = cv2.GaussianBlur(image, (0, 0), rng.uniform(0.4, 1.4))
    if rng.random() < share:
        noise = rng.standard_normal(image.shape, "float32") * np.float32(rng.uniform(1, 6))
        noisy = np.clip(np.rint(image + noise), 0, 255).astype(np.uint8)
        image = np.where(brightest_channel(image)[..., None] > DARK, noisy, image)
    return image


def _compressed(image, rng):
    quality = [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(40, 96))]
    data = cv2.imencode(".jpg", image[..., ::-1], quality)[1]  # OpenCV's order is BGR
    return cv2.imdecode(data, cv2.IMREAD_COLOR_RGB)
