"""Antialiased shapes and noise in the eye's own coordinates, for the synthetic photographs.

A point is (x, y) in units of the field of view's radius, measured from its centre, y downwards. The
same points give the same eye at any size of photograph.
"""

import dataclasses

import cv2
import numpy as np

_SHIFT = 4  # fractional bits of the vertices handed to OpenCV


@dataclasses.dataclass(frozen=True)
class Canvas:
    """A photograph's frame: how the eye's coordinates map to its pixels.

    Attributes:
        height: height of the photograph, in pixels.
        aspect: its width over its height.
        centre: (x, y) of the field of view, in pixels.
        radius: radius of the field of view, in pixels.
    """

    height: int
    aspect: float
    centre: tuple
    radius: float

    @property
    def width(self):
        """Of the photograph, in pixels."""
        return round(self.height * self.aspect)

    def resized(self, height):
        """Returns the `Canvas` of the same photograph at another height."""
        scale = height / self.height
        return Canvas(
            height, self.aspect, (self.centre[0] * scale, self.centre[1] * scale), self.radius * scale
        )

    def from_point(self, point):
        """Returns float32 (height, width): each pixel's squared distance from (x, y), in radii."""
        x = (np.arange(self.width, dtype="float32") + 0.5 - self.centre[0]) / self.radius
        y = (np.arange(self.height, dtype="float32") + 0.5 - self.centre[1]) / self.radius
        return np.square(x - float(point[0])) + np.square(y - float(point[1]))[:, None]

    def inside(self, points, margin):
        """Says which points, (n, 2) in radii, lie in the photographed part, `margin` off its edge."""
        y = points[:, 1] * self.radius + self.centre[1]
        border = margin * self.radius
        return (np.hypot(*points.T) < 1 - margin) & (y > border) & (y < self.height - border)

    def coverage(self, shapes, opacities=None, softness=0.0):
        """Fills shapes and says how much of each pixel they cover.

        Args:
            shapes: list of float arrays (vertices, 2), in radii.
            opacities: one number in 0-1 per shape; None means 1 for all.
            softness: standard deviation of a blur of the edges, in radii.

        Returns:
            float32 (height, width) in 0-1.
        """
        halvings = 2 if self.height < 256 else 1
        factor = 2**halvings
        layer = np.zeros((self.height * factor, self.width * factor), dtype="uint8")
        scale = self.radius * factor * 2**_SHIFT
        offset = (np.asarray(self.centre) * factor - 0.5) * 2**_SHIFT
        if len(shapes):
            corners = np.cumsum([len(shape) for shape in shapes])
            vertices = np.rint(np.concatenate(shapes) * scale + offset).astype("int32")
            values = [255] * len(shapes) if opacities is None else np.rint(255 * opacities).tolist()
            # One by one: filled together, two shapes leave a hole where they overlap.
            for first, last, value in zip([0, *corners], corners, values):
                cv2.fillPoly(layer, [vertices[first:last]], value, shift=_SHIFT)
        for step in reversed(range(halvings)):  # OpenCV has a fast path for halves, not for quarters
            size = (self.width << step, self.height << step)
            layer = cv2.resize(layer, size, interpolation=cv2.INTER_AREA)
        return self.blurred(layer * np.float32(1 / 255), softness)

    def blurred(self, plane, sigma):
        """Returns a float32 plane, (height, width), blurred; `sigma` in radii."""
        sigma *= self.radius
        return cv2.GaussianBlur(plane, (0, 0), sigma) if sigma > 0.2 else plane

    def noise(self, rng, octaves):
        """Smooth noise about 0.

        Args:
            rng: NumPy generator; as many numbers are drawn for every size of photograph.
            octaves: pairs (lumps along the height, standard deviation), coarsest first.

        Returns:
            float32 (height, width).
        """
        field = np.zeros((1, 1), dtype="float32")
        for lumps, deviation in octaves:
            field = cv2.resize(field, (round(lumps * self.aspect), lumps), interpolation=cv2.INTER_CUBIC)
            field += rng.normal(0, 1.4 * deviation, field.shape)  # the interpolation takes the 1.4 away again
        return cv2.resize(field, (self.width, self.height), interpolation=cv2.INTER_CUBIC)


def blend(planes, alpha, colour):
    """Paints a colour over an image, in place.

    Args:
        planes: float32 (3, height, width); planes of their own, because NumPy is fast on those.
        alpha: float32 (height, width), opacity in 0-1.
        colour: (red, green, blue) in 0-1.
    """
    for plane, value in zip(planes, colour):
        plane += alpha * (np.float32(value) - plane)


def blob(rng, centres, radii, roughness=0.15, stretch=1.0, angles=None):
    """Outlines of roundish shapes.

    Args:
        rng: NumPy generator.
        centres: (n, 2), in radii of the field of view.
        radii: (n,), likewise.
        roughness: how far the outline leaves the circle, as a fraction of the radius.
        stretch: (n,) or a number, length over width.
        angles: (n,) direction of the length in radians; None means any.

    Returns:
        float array (n, 20, 2).
    """
    count = len(centres)
    turn = np.linspace(0, 2 * np.pi, 20, endpoint=False)
    waves = np.arange(2, 6)
    phase = rng.uniform(0, 2 * np.pi, (count, 4, 1))
    weight = rng.normal(0, roughness, (count, 4, 1)) / np.sqrt(waves - 1)[:, None]
    outline = np.maximum(1 + np.sum(weight * np.sin(waves[:, None] * turn + phase), axis=1), 0.3)
    angles = rng.uniform(0, np.pi, count) if angles is None else angles
    stretch = np.sqrt(np.broadcast_to(stretch, (count,)))[:, None]
    along, across = outline * np.cos(turn) * stretch, outline * np.sin(turn) / stretch
    cosine, sine = np.cos(angles)[:, None], np.sin(angles)[:, None]
    points = np.stack([along * cosine - across * sine, along * sine + across * cosine], axis=-1)
    return centres[:, None] + np.asarray(radii)[:, None, None] * points


def ribbons(paths, widths):
    """Outlines of lines with a varying calibre.

    Args:
        paths: (n, points, 2), in radii.
        widths: (n, points), likewise.

    Returns:
        float array (n, 2 * points, 2).
    """
    tangent = np.diff(paths, axis=1, append=2 * paths[:, -1:] - paths[:, -2:-1])
    length = np.maximum(np.hypot(tangent[..., 0], tangent[..., 1]), 1e-6)
    normal = np.stack([-tangent[..., 1], tangent[..., 0]], axis=-1) * (widths / length)[..., None] / 2
    return np.concatenate([paths + normal, (paths - normal)[:, ::-1]], axis=1)
