"""The field of view: where in a photograph the retina lies, and the square around it."""

import dataclasses
import functools

import cv2
import numpy as np

WORKING_SIDE = 256  # pixels; the edge of the field of view needs no more
NUM_RAYS = 120
NUM_TRIALS = 100
STEP = 4  # pixels on each side of an edge that are averaged
MIN_EDGE_RAYS = 20  # of NUM_RAYS; a circle cut off above and below keeps over 40
WHITE = 230  # grey levels of the darkest channel; of a retina not even the optic disc has as much blue
LIT, COLD = 40, 12  # grey levels: of the brightest channel, and of red above blue, of which a retina has more
MOST_IN_MIDDLE = 0.25  # as a share; an overexposed optic disc has less, a filtered photograph more
SURROUND_EDGE = 3  # pixels; what is that near to a bright surround is half of it itself
MIN_BRIGHTNESS = 8.0  # grey levels of the brightest channel; darker photographs show no retina
# Two retinas in one picture: its shape; in each half a circle whose centre is in the middle of the half, as
# shares of it, of some size, and of the other's. Of 1,049 photographs of IDRiD and EyePACS none has two such.
PAIR_WIDTH, PAIR_HEIGHT = 1.55, 1.25  # at least, as multiples of the other side; a photograph is 1.51 wide
PAIR_CENTRES, PAIR_RADIUS, PAIR_RATIO = (0.25, 0.75), 0.3, 2.0


@dataclasses.dataclass(frozen=True, slots=True)
class FieldOfView:
    """The circle of retina in a photograph, in the photograph's pixels.

    Attributes:
        center_y, center_x, radius: the circle; parts of it may lie outside the photograph.
        image_height, image_width: size of the photograph it belongs to.
        found: False if no edge was found and the circle is that of the centre square.
    """

    center_y: float
    center_x: float
    radius: float
    image_height: int
    image_width: int
    found: bool

    @classmethod
    def of_square(cls, size, found=True):
        """The circle inscribed in a prepared square image."""
        return cls(size / 2, size / 2, size / 2, size, size, found)

    @property
    def square(self):
        """(top, left, side) of the square around the circle, whole pixels, not clipped."""
        side = max(1, round(2 * self.radius))
        return round(self.center_y - side / 2), round(self.center_x - side / 2), side

    @property
    def rectangle(self):
        """(top, left, height, width): the part of the square that lies in the photograph."""
        top, left, side = self.square
        bottom, right = min(top + side, self.image_height), min(left + side, self.image_width)
        top, left = max(top, 0), max(left, 0)
        return top, left, bottom - top, right - left

    def scaled(self, factor, image_height, image_width):
        """Returns the same circle on the same photograph at another size."""
        return dataclasses.replace(
            self,
            center_y=self.center_y * factor,
            center_x=self.center_x * factor,
            radius=self.radius * factor,
            image_height=image_height,
            image_width=image_width,
        )

    def mask(self):
        """bool (image_height, image_width): True inside the circle."""
        y, x = np.ogrid[: self.image_height, : self.image_width]
        return (y + 0.5 - self.center_y) ** 2 + (x + 0.5 - self.center_x) ** 2 <= self.radius**2


def find_field_of_view(image):
    """Finds the circle of retina by its edge against the dark surround.

    Rays from the retina's centre of brightness look for the outermost step from lit to dark, a step
    measured against the ray's own brightness; a circle is fitted to those that agree. No fixed grey
    level decides, so dim photographs and lit surrounds are both read.

    Args:
        image: uint8 (height, width, 3), RGB.

    Returns:
        A `FieldOfView`. Where no circle is found (too dark, no surround), `found` is False and the
        circle is the one inside the centre square.
    """
    height, width = image.shape[:2]
    scale = min(1.0, WORKING_SIDE / max(height, width))
    size = max(1, round(width * scale)), max(1, round(height * scale))
    small = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    brightness = cv2.GaussianBlur(brightest_channel(small).astype(np.float32), (0, 0), 1.0)
    circle = _fit_circle(_edge_points(brightness), min(brightness.shape))
    if circle is None:
        return centre_square(height, width)
    center_y, center_x, radius = (value / scale for value in circle)
    return FieldOfView(center_y, center_x, radius, height, width, found=True)


def without_bright_surround(image):
    """Blackens a surround that no camera makes, so that it is like any other: paper, a program's window.

    Args:
        image: uint8 (height, width, 3), RGB.

    Returns:
        uint8 (height, width, 3): where all four corners are white or brightly grey, green or blue, such
        pixels (`is_no_retina`) and those next to them are black; else `image` itself, and so is what has
        many of them in its middle: a photograph without colours, or filtered.
    """
    height, width = image.shape[:2]
    if not is_no_retina(image[:: max(1, height - 1), :: max(1, width - 1)]).all():
        return image
    outside = is_no_retina(image)
    if outside[height // 3 : -(height // 3), width // 3 : -(width // 3)].mean() > MOST_IN_MIDDLE:
        return image
    near = cv2.dilate(outside.astype(np.uint8), np.ones((SURROUND_EDGE, SURROUND_EDGE), np.uint8))
    return cv2.bitwise_and(image, image, mask=1 - near)


def shows_two_eyes(image):
    """Tells whether a picture shows two retinas, beside or above each other.

    Args:
        image: uint8 (height, width, 3), RGB.
    """
    height, width = image.shape[:2]
    if width < PAIR_WIDTH * height and height < PAIR_HEIGHT * width:
        return False
    scale = min(1.0, 2 * WORKING_SIDE / max(height, width))
    size = max(2, round(width * scale)), max(2, round(height * scale))
    small = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    halves = np.array_split(small, 2, axis=int(width > height))
    views = [find_field_of_view(without_bright_surround(np.ascontiguousarray(half))) for half in halves]
    radii = sorted(view.radius for view in views)
    return all(map(_is_centred, views)) and radii[1] <= PAIR_RATIO * radii[0]


def _is_centred(view):
    low, high = PAIR_CENTRES
    return (
        view.found
        and low <= view.center_y / view.image_height <= high
        and low <= view.center_x / view.image_width <= high
        and view.radius >= PAIR_RADIUS * min(view.image_height, view.image_width)
    )


def is_no_retina(image):
    """Tells pixels that are white, or bright without a retina's surplus of red over blue.

    Args:
        image: uint8 (height, width, 3), RGB.

    Returns:
        bool (height, width).
    """
    red, green, blue = cv2.split(image)
    is_white = cv2.min(cv2.min(red, green), blue) >= WHITE
    is_cold = (cv2.subtract(red, blue) <= COLD) & (cv2.max(cv2.max(red, green), blue) >= LIT)
    return is_white | is_cold


def centre_square(height, width):
    """The circle inside a photograph's centre square: no edge of the retina was looked for, or none found."""
    return FieldOfView(height / 2, width / 2, min(height, width) / 2, height, width, found=False)


def crop_square(image, field_of_view, size):
    """Crops the square around the field of view and resizes it.

    What the square covers outside the photograph, and outside the circle, is black: a lit surround
    says something of the camera and nothing of the eye.

    Args:
        image: uint8 (height, width, 3), RGB.
        field_of_view: its `FieldOfView`.
        size: side of the result in pixels.

    Returns:
        uint8 (size, size, 3); reduced with area interpolation, enlarged linearly.
    """
    top, left, side = field_of_view.square
    row, column, height, width = field_of_view.rectangle
    square = np.zeros((side, side, 3), np.uint8)
    square[row - top : row - top + height, column - left : column - left + width] = image[
        row : row + height, column : column + width
    ]
    interpolation = cv2.INTER_AREA if side > size else cv2.INTER_LINEAR
    square = cv2.resize(square, (size, size), interpolation=interpolation)
    if field_of_view.found:
        square = cv2.bitwise_and(square, square, mask=disc(size))
    return square


def brightest_channel(image):
    """Each pixel's brightest channel, (height, width) of the dtype of `image` (height, width, 3); ten times
    faster than `image.max(axis=2)`.
    """
    red, green, blue = cv2.split(image)
    return cv2.max(cv2.max(red, green), blue)


@functools.lru_cache(maxsize=4)
def disc(size):
    """uint8 (size, size): 1 inside the circle that a square image was cut around."""
    offset = np.arange(size) + 0.5 - size / 2
    return (offset[:, None] ** 2 + offset[None, :] ** 2 <= (size / 2) ** 2).astype(np.uint8)


def _edge_points(brightness):
    """Outermost lit-to-dark step along each ray, as an array (points, 2) of y, x."""
    height, width = brightness.shape
    weights = np.clip(brightness - np.median(brightness) * 0.5, 0, None) + 1e-6
    center_y = float((weights.sum(1) * np.arange(height)).sum() / weights.sum())
    center_x = float((weights.sum(0) * np.arange(width)).sum() / weights.sum())
    angles = np.arange(NUM_RAYS) * (2 * np.pi / NUM_RAYS)
    radii = np.arange(int(np.hypot(height, width)))
    y = center_y + np.sin(angles)[:, None] * radii
    x = center_x + np.cos(angles)[:, None] * radii
    inside = (y >= 0) & (y <= height - 1) & (x >= 0) & (x <= width - 1)
    rays = cv2.remap(brightness, x.astype(np.float32), y.astype(np.float32), cv2.INTER_LINEAR)
    edges = _outermost_steps(rays, inside.sum(axis=1))
    found = edges >= 0
    return np.column_stack([y[found, edges[found]], x[found, edges[found]]])


def _outermost_steps(rays, lengths):
    """Index of the outermost lit-to-dark step of each ray (rays, radii), or -1.

    A step is the mean of `STEP` pixels less that of the next `STEP`, and counts if it is a quarter
    of the mean brightness of the ray's inner half; of a wide one the steepest place is taken.
    """
    totals = np.pad(np.cumsum(rays, axis=1, dtype=np.float64), ((0, 0), (1, 0)))
    means = (totals[:, STEP:] - totals[:, :-STEP]) / STEP
    steps = means[:, :-STEP] - means[:, STEP:]  # column i: rays[i : i + STEP] against what follows
    half = np.maximum(lengths // 2, STEP)
    level = totals[np.arange(len(rays)), half] / half
    columns = np.arange(steps.shape[1])
    valid = columns <= lengths[:, None] - 2 * STEP
    valid &= (level >= MIN_BRIGHTNESS)[:, None] & (steps > np.maximum(0.25 * level, 3.0)[:, None])
    last = np.where(valid, columns, -1).max(axis=1)
    run = valid & (columns > last[:, None] - 2 * STEP)
    steepest = np.where(run, steps, -np.inf).argmax(axis=1)
    return np.where(last >= 0, steepest + STEP - 1, -1)


def _fit_circle(points, shorter_side):
    """Circle (y, x, radius) through most points, or None: a seeded RANSAC, then least squares."""
    if len(points) < MIN_EDGE_RAYS:
        return None
    triples = np.random.default_rng(0).integers(len(points), size=(NUM_TRIALS, 3))
    circles = _circumcircles(points[triples])
    circles = circles[(circles[:, 2] > 0.25 * shorter_side) & (circles[:, 2] < 1.2 * shorter_side)]
    if not len(circles):
        return None
    distances = np.hypot(points[:, 0] - circles[:, :1], points[:, 1] - circles[:, 1:2])
    near = np.abs(distances - circles[:, 2:]) < 2.0
    best = near[np.argmax(near.sum(1))]
    if best.sum() < max(MIN_EDGE_RAYS, 0.5 * len(points)):
        return None
    design = np.column_stack([2 * points[best], np.ones(best.sum())])
    (y, x, rest), *_ = np.linalg.lstsq(design, (points[best] ** 2).sum(1), rcond=None)
    return float(y), float(x), float(np.sqrt(rest + y * y + x * x))


def _circumcircles(triples):
    """Circles (n, 3: y, x, radius) through triples of points (n, 3, 2); NaN where they are in line."""
    first, second, third = np.moveaxis(triples, 1, 0)
    b, c = second - first, third - first
    cross = 2 * (b[:, 0] * c[:, 1] - b[:, 1] * c[:, 0])
    b2, c2 = (b**2).sum(1), (c**2).sum(1)
    with np.errstate(divide="ignore", invalid="ignore"):
        y = (c[:, 1] * b2 - b[:, 1] * c2) / cross
        x = (b[:, 0] * c2 - c[:, 0] * b2) / cross
        return np.column_stack([first[:, 0] + y, first[:, 1] + x, np.hypot(y, x)])
