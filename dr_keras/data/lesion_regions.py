"""From a mask of lesion pixels to single lesions."""

import cv2
import numpy as np

MIN_AREA = 1e-5  # of the image: half of a small microaneurysm; what is smaller is noise


def lesion_regions(mask):
    """Divides a mask into lesions: regions of touching pixels, corners included, of at least `MIN_AREA`.

    Args:
        mask: bool (height, width) of a square image.

    Returns:
        count: how many there are.
        labels: int32 (height, width): 1 to `count` on lesions, 0 elsewhere.
        areas: int (count,), pixels.
        centres: float64 (count, 2), y and x, in pixels; the first pixel's centre is at 0.5.
    """
    number, labels, stats, centroids = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=8)
    large = stats[:, cv2.CC_STAT_AREA] >= MIN_AREA * mask.size
    large[0] = False  # the background
    places = np.flatnonzero(large)
    renumbered = np.zeros(number, np.int32)
    renumbered[places] = np.arange(1, len(places) + 1)
    return len(places), renumbered[labels], stats[places, cv2.CC_STAT_AREA], centroids[places, ::-1] + 0.5
