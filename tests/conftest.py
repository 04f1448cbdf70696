from pathlib import Path

import cv2
import numpy as np
import pytest


@pytest.fixture(scope="session")
def shared_dir():
    """Folder with real photographs beside the checkout."""
    folder = Path(__file__).resolve().parents[2] / "shared"
    if not (folder / "idrid").is_dir():
        pytest.skip("no real photographs in ../shared")
    return folder


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
