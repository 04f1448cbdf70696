"""The icon of the page in the browser: a fundus with a lesion that is outlined."""

import cv2
import numpy as np

_SIDE, _FINER = 64, 16  # units of the drawing, pixels a unit before it is reduced
_BACKGROUND, _RETINA, _DISC, _VESSEL, _OUTLINE = (
    (11, 83, 148),
    (201, 98, 46),
    (255, 214, 140),
    (128, 36, 24),
    (255, 255, 255),
)  # fmt: skip  RGB


def draw(side):
    """Draws the icon: bytes of a PNG file of `side` pixels a side."""
    picture = np.full((_SIDE * _FINER, _SIDE * _FINER, 3), _BACKGROUND, np.uint8)
    _disc(picture, 32, 32, 22, _RETINA)
    for bend, end in ((9, 18), (-9, 46)):  # the temporal arcades
        x = np.linspace(43, 17, 40)
        y = (
            32
            - bend * np.sqrt(np.clip((43 - x) / 12, 0, None))
            + (end - 32 + bend * 1.4) * ((43 - x) / 26) ** 2
        )
        points = np.rint(np.stack([x, y], axis=1) * _FINER).astype(np.int32)
        inside = np.hypot(x - 32, y - 32) < 21
        cv2.polylines(picture, [points[inside]], False, _VESSEL, round(1.6 * _FINER), cv2.LINE_AA)
    _disc(picture, 43, 32, 4.5, _DISC)
    _disc(picture, 25, 35, 1.8, _VESSEL)
    cv2.circle(picture, _pixels(25, 35), round(4.6 * _FINER), _OUTLINE, round(1.5 * _FINER), cv2.LINE_AA)
    reduced = cv2.resize(picture, (side, side), interpolation=cv2.INTER_AREA)
    return cv2.imencode(".png", reduced[..., ::-1])[1].tobytes()


def _disc(picture, x, y, radius, color):
    cv2.circle(picture, _pixels(x, y), round(radius * _FINER), color, cv2.FILLED, cv2.LINE_AA)


def _pixels(*values):
    return tuple(round(value * _FINER) for value in values)
