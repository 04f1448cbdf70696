"""What the check for a retina learns from: eyes, and other pictures made to look like eyes at first glance.

Other pictures are photographs that show no eye, of which any part is cut out, and drawn ones. All end as the
square that `data.quality` judges: in a circle with a dark surround, many of them in the colours of a retina.
"""

import cv2
import numpy as np

from dr_keras.data.fundus import disc
from dr_keras.data.harmless_changes import Changes, changed_copy

_SIDE = 256  # pixels; of the square that is judged
_LARGEST = 1000  # pixels; longer side of a photograph without an eye, before a part is cut out


def read_picture(path, rng):
    """Reads a photograph without an eye: uint8 (height, width, 3), RGB, or None if it isn't one.

    What is transparent becomes white, black or any colour.
    """
    image = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    if image is None or min(image.shape[:2]) < 48:
        return None
    image = (image / 257).astype(np.uint8) if image.dtype == np.uint16 else image
    image = np.repeat(image[..., None], 3, axis=2) if image.ndim == 2 else image
    if image.shape[2] == 4:
        ground = rng.choice([0, 255]) if rng.random() < 0.7 else rng.integers(0, 256, 3)
        opacity = image[..., 3:] / 255
        image = (image[..., :3] * opacity + ground * (1 - opacity)).astype(np.uint8)
    scale = min(1, _LARGEST / max(image.shape[:2]))
    image = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    return np.ascontiguousarray(image[..., ::-1])


def part_of_picture(image, rng):
    """A part of a photograph without an eye, or all of it: uint8 (256, 256, 3)."""
    height, width = image.shape[:2]
    side = int(min(height, width) * (1 if rng.random() < 0.3 else rng.uniform(0.3, 1)))
    top, left = rng.integers(0, height - side + 1), rng.integers(0, width - side + 1)
    interpolation = cv2.INTER_AREA if side > _SIDE else cv2.INTER_CUBIC
    part = cv2.resize(
        image[top : top + side, left : left + side], (_SIDE, _SIDE), interpolation=interpolation
    )
    return _finished(_tinted(part.astype(np.float32), rng), rng)


def drawing(rng):
    """A drawn picture, uint8 (256, 256, 3): noise, texture, text, dots, lines, waves, a disc, tiles."""
    y, x = np.mgrid[:_SIDE, :_SIDE] / _SIDE
    ground, colour = _colour(rng), _colour(rng)
    kind = rng.integers(8)
    if kind == 0:
        picture = ground + rng.normal(0, rng.uniform(0, 40), (_SIDE, _SIDE, 3))
    elif kind == 1:
        texture = cv2.GaussianBlur(
            rng.normal(size=(_SIDE, _SIDE)), (0, 0), rng.uniform(0.6, 20), sigmaY=rng.uniform(0.6, 20)
        )
        picture = ground + texture[..., None] / texture.std() * colour * rng.uniform(0.05, 0.4)
    elif kind == 5:
        waves = np.sin(x * rng.uniform(0, 120) + rng.uniform(0, 6)) + np.sin(y * rng.uniform(0, 120))
        picture = ground + 0.3 * waves[..., None] * colour
    elif kind == 6:
        distance = np.hypot(x - 0.5, y - 0.5)[..., None]
        picture = ground * (1 - distance * rng.uniform(0, 1.4)) + colour * distance * rng.uniform(0, 1)
        across, down = rng.uniform(0.2, 0.8, 2)
        spot = np.exp(-((x - across) ** 2 + (y - down) ** 2) / rng.uniform(0.002, 0.05))
        picture = picture + _colour(rng) * spot[..., None] * (rng.random() < 0.7)
    elif kind == 7:
        tiles = int(rng.integers(2, 40))
        tiles = rng.normal(128, 70, (tiles, tiles, 3)).astype(np.float32)
        picture = cv2.resize(tiles, (_SIDE, _SIDE), interpolation=int(rng.choice([0, 1, 2])))
    else:
        picture = _strokes(kind, ground, rng)
    return _finished(picture, rng)


def eye(image, rng):
    """A prepared photograph of an eye, changed as other cameras and angles show it: uint8 (256, 256, 3)."""
    image = changed_copy(image, rng, Changes()) if rng.random() < 0.8 else image
    picture = cv2.resize(image, (_SIDE, _SIDE), interpolation=cv2.INTER_AREA).astype(np.float32)
    if rng.random() < 0.35:
        zoom, shift = 1 / rng.uniform(0.55, 1.05), rng.uniform(-0.25, 0.25, 2) * _SIDE
        middle = _SIDE / 2 * (1 - zoom) + shift
        picture = cv2.warpAffine(
            picture, np.float32([[zoom, 0, middle[0]], [0, zoom, middle[1]]]), (_SIDE, _SIDE)
        )
    if rng.random() < 0.6:
        picture *= rng.uniform((0.6, 0.6, 0.3), (1.4, 1.5, 2.5))
    if rng.random() < 0.3:
        picture += rng.uniform(0, 40, 3)
    if rng.random() < 0.4:
        picture = 255 * np.clip(picture / 255, 0, 1) ** rng.uniform(0.6, 1.7)
    if rng.random() < 0.3:
        rows = int(rng.integers(5, 45))
        picture[:rows] = picture[-rows:] = 0
    if rng.random() < 0.2:
        picture = cv2.GaussianBlur(picture, (0, 0), rng.uniform(0.5, 1.6))
    if rng.random() < 0.2:
        picture = picture * _shade(rng.uniform(-0.7, 0.7, 2), rng.uniform(0, 0.9))
    return _squared(picture + rng.normal(0, rng.uniform(0, 4), picture.shape), rng)


def _strokes(kind, ground, rng):
    """Text, dots or lines on a ground of one colour."""
    picture = np.full((_SIDE, _SIDE, 3), ground).clip(0, 255).astype(np.uint8)
    place = lambda: tuple(map(int, rng.integers(-20, _SIDE, 2)))  # noqa: E731
    for _ in range(rng.integers(3, 60)):
        colour = tuple(map(float, _colour(rng)))
        if kind == 2:
            letters = "".join(rng.choice(list("abcdefghiklmnopqrstuvwxyzABC0123456789"), 8))
            size, width = rng.uniform(0.3, 2), int(rng.integers(1, 4))
            cv2.putText(picture, letters, place(), int(rng.integers(0, 8)), size, colour, width)
        elif kind == 3:
            cv2.circle(picture, place(), int(rng.integers(1, 25)), colour, -1)
        else:
            cv2.line(picture, place(), place(), colour, int(rng.integers(1, 8)))
    return picture


def _colour(rng):
    return rng.uniform(0, 255, 3) * (1, rng.uniform(0.2, 1), rng.uniform(0, 1))


def _tinted(picture, rng):
    """Colours as they are, or nearer to a retina's."""
    kind = rng.random()
    if kind < 0.35:
        return picture
    if kind < 0.55:
        tint = rng.uniform((0.9, 0.35, 0.1), (1.6, 1.0, 0.7))
        return picture.mean(axis=2, keepdims=True) * tint
    if kind < 0.75:
        return picture * rng.uniform((0.9, 0.5, 0.2), (1.5, 1.0, 0.9))
    if kind < 0.85:
        return picture[..., rng.permutation(3)]
    least = rng.uniform(0, 150, 3) * (1, 0.5, 0.3)
    return least + picture * (255 - least) / 255 * rng.uniform(0.3, 1)


def _finished(picture, rng):
    """Focus, light, noise and compression of a camera."""
    if rng.random() < 0.3:
        picture = cv2.GaussianBlur(picture.astype(np.float32), (0, 0), rng.uniform(0.4, 2.5))
    if rng.random() < 0.25:
        picture = picture * _shade((0, 0), rng.uniform(0, 0.8))
    picture = picture * rng.uniform(0.5, 1.2) + rng.normal(0, rng.uniform(0, 5), picture.shape)
    if rng.random() < 0.3:
        quality = [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(40, 95))]
        stored = cv2.imencode(".jpg", np.clip(picture, 0, 255).astype(np.uint8), quality)[1]
        picture = cv2.imdecode(stored, cv2.IMREAD_COLOR)
    return _squared(picture, rng)


def _shade(centre, depth):
    y, x = np.mgrid[-1 : 1 : 1j * _SIDE, -1 : 1 : 1j * _SIDE]
    return np.clip(1 - depth * ((x - centre[0]) ** 2 + (y - centre[1]) ** 2), 0.05, 1)[..., None]


def _squared(picture, rng):
    """Turned or mirrored, in its circle."""
    picture = np.rot90(picture if rng.random() < 0.5 else picture[:, ::-1], rng.integers(4))
    return np.clip(picture, 0, 255).astype(np.uint8) * disc(_SIDE)[..., None]
