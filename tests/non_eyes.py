"""Pictures that show no retina, some of them in a dark surround as fundus cameras leave it: all drawn."""

import cv2
import numpy as np

SIZE = 600


def non_eyes():
    """Returns a dict of name to uint8 (600, 600, 3), RGB."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:SIZE, :SIZE] - SIZE / 2
    radius = 0.46 * SIZE
    inside = (np.hypot(y, x) < radius)[..., None]
    shading = np.sqrt(np.clip(1 - np.hypot(y, x)[..., None] ** 2 / radius**2, 0, 1))

    def finished(picture, noise=3):
        return np.clip(picture + rng.normal(0, noise, (SIZE, SIZE, 3)), 0, 255).astype(np.uint8)

    def texture(sigma_x, sigma_y):
        blurred = cv2.GaussianBlur(rng.normal(size=(SIZE, SIZE)), (0, 0), sigma_x, sigmaY=sigma_y)
        return (blurred / blurred.std())[..., None]

    bricks = np.full((SIZE, SIZE, 3), (150, 70, 50), np.uint8)
    for row in range(0, SIZE, 40):
        cv2.line(bricks, (0, row), (SIZE, row), (190, 180, 170), 5)
        for column in range(row % 80, SIZE, 80):
            cv2.line(bricks, (column, row), (column, row + 40), (190, 180, 170), 5)
    text = np.full((SIZE, SIZE, 3), (170, 80, 60), np.uint8)
    for row in range(12):
        cv2.putText(
            text, "Lorem ipsum dolor", (10, 45 + 48 * row), cv2.FONT_HERSHEY_SIMPLEX, 1.8, (30, 10, 10), 3
        )
    chart = np.full((SIZE, SIZE, 3), 255, np.uint8)
    line = np.stack([np.arange(SIZE), 300 + rng.normal(0, 8, SIZE).cumsum()], axis=1).astype(np.int32)
    cv2.polylines(chart, [line], False, (200, 30, 20), 2)
    cells = np.full((SIZE, SIZE, 3), (200, 130, 190), np.uint8)
    for centre in rng.integers(0, SIZE, (900, 2)):
        cv2.circle(cells, tuple(map(int, centre)), 5, (110, 50, 130), -1)
    spot = np.full((SIZE, SIZE, 3), (215, 165, 140), np.uint8)
    cv2.circle(spot, (SIZE // 2, SIZE // 2), 110, (110, 60, 40), -1)
    fur = np.array([150, 100, 60]) + 20 * texture(1, 9)
    orange = np.array([230, 120, 30]) * (0.3 + 0.7 * shading)
    heat = np.kron(rng.normal(size=(20, 20)).cumsum(axis=0), np.ones((30, 30)))
    colours = cv2.applyColorMap(
        cv2.normalize(heat, None, 0, 255, cv2.NORM_MINMAX).astype(np.uint8), cv2.COLORMAP_HOT
    )
    pictures = {
        "bricks": finished(bricks, 8), "text": text, "chart": chart, "heat map": colours[..., ::-1],
        "fur": finished(fur), "histology": cv2.GaussianBlur(cells, (0, 0), 1.2),
        "skin": finished(cv2.GaussianBlur(spot, (0, 0), 10) + 5 * texture(2, 2)),
        "noise": rng.integers(0, 256, (SIZE, SIZE, 3), dtype=np.uint8),
        "red noise": finished(np.array([180.0, 90, 40]), 25), "orange": finished(orange),
        "orange disc": finished(np.array([230.0, 120, 30]), 0),
        "planet": finished(np.array([190, 110, 70]) * (0.5 + 0.5 * shading) + 12 * texture(8, 8)),
    }  # fmt: skip
    return pictures | {f"{name} in a dark surround": picture * inside for name, picture in pictures.items()}
