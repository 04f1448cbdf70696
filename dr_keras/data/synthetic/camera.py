"""The camera of a synthetic photograph: frame, lighting, colours, optics and sensor."""

import dataclasses

import cv2
import numpy as np

from dr_keras.data.synthetic.canvas import Canvas, blend, blob
from dr_keras.data.synthetic.retina import FUNDUS

# Exponents of (red, green, blue) reflectance: the looks that real cameras and fundi range over.
_LOOKS = np.array(
    [
        [0.90, 0.90, 1.70],  # orange
        [0.85, 0.92, 0.75],  # salmon
        [1.30, 1.75, 2.60],  # red
        [1.45, 1.10, 1.20],  # brown
    ]
)
_CONTRAST = np.array([0.145, 0.20, 0.28])  # of a photograph with exponents of 1


@dataclasses.dataclass(frozen=True)
class Camera:
    """How an eye is photographed; drawn without regard to the grade.

    Attributes:
        aspect: width over height.
        radius: radius of the field of view over the height; above 0.5 the circle is cut off.
        centre: (x, y) of the field of view's centre off the middle, over the height.
        notch: angle of the tab that marks the frame's upper edge, or None.
        tone: exponents of (red, green, blue).
        level: mean of (red, green, blue) in the field of view, in 0-1.
        contrast: their standard deviations over their means.
        light: (x, y) of the brightest place, in radii.
        falloff: how much darker it gets a radius away from there.
        haze: strength of the grey veil at the edge of the pupil.
        blur: standard deviation, in radii.
        noise: half range, in 1.
    """

    aspect: float
    radius: float
    centre: tuple
    notch: float | None
    tone: np.ndarray
    level: list
    contrast: list
    light: np.ndarray
    falloff: float
    haze: float
    blur: float
    noise: float

    def canvas(self, size):
        """Returns the `Canvas` of a photograph `size` pixels high."""
        centre = ((self.aspect / 2 + self.centre[0]) * size, (0.5 + self.centre[1]) * size)
        return Canvas(size, self.aspect, centre, self.radius * size)

    def field_of_view(self, canvas):
        """Returns float32 (height, width): how much of each pixel the field of view covers, 0-1."""
        turn = np.linspace(0, 2 * np.pi, 240, endpoint=False)
        shapes = [np.stack([np.cos(turn), np.sin(turn)], axis=1)]
        if self.notch is not None:
            corners = self.notch + np.array([-0.04, 0.0, 0.04])
            tab = np.stack([np.cos(corners), np.sin(corners)], axis=1)
            shapes.append(tab * [[0.98], [1.035], [0.98]])
        return canvas.coverage(shapes)

    def expose(self, rng, canvas, retina, field_of_view):
        """Takes the photograph.

        Exposure and contrast are set for the field of view as a whole, like an automatic camera's, so
        that lesions leave no trace in its mean and spread.

        Args:
            rng: NumPy generator, for what lies on the lens and the sensor's noise.
            canvas: `Canvas`.
            retina: float32 (3, height, width), reflectance in 0-1; painted over.
            field_of_view: float32 (height, width), coverage in 0-1.

        Returns:
            uint8 RGB (height, width, 3).
        """
        rim = np.square(np.square(np.square(canvas.from_point((0, 0)))))
        retina *= np.maximum(1 - self.falloff * canvas.from_point(self.light) - 0.2 * rim, 0.05)
        edge = np.sqrt(canvas.from_point(-self.light))
        blend(retina, self.haze * np.exp(-np.square((edge - 1.25) / 0.3)), (0.75, 0.62, 0.5))
        _artefacts(rng, canvas, retina)
        seen = (field_of_view >= 0.5).astype("uint8")
        noise = np.frombuffer(rng.bytes(retina.size), dtype="int8").reshape(retina.shape)
        photograph = []
        for channel, plane in enumerate(retina):
            plane = cv2.pow(np.clip(canvas.blurred(plane, self.blur), 0, 1), self.tone[channel])
            mean, spread = cv2.meanStdDev(plane, mask=seen)
            level = 255 * self.level[channel]
            gain = level * self.contrast[channel] / spread.item()
            plane = np.maximum(gain * plane + (level - gain * mean.item()), 2) * field_of_view
            plane += noise[channel] * np.float32(self.noise * 255 / 128)
            photograph.append(cv2.convertScaleAbs(plane))  # rounds, saturates
        return cv2.merge(photograph)


def draw_camera(rng):
    """Draws a camera.

    Args:
        rng: NumPy generator.

    Returns:
        A `Camera`.
    """
    cut_off = rng.random() < 0.5
    radius = rng.uniform(0.52, 0.6) if cut_off else rng.uniform(0.44, 0.49)
    aspect = rng.uniform(max(1.0, 2 * radius + 0.04), 1.5)
    tone = rng.dirichlet(np.full(len(_LOOKS), 0.35)) @ _LOOKS + rng.normal(0, 0.05, 3)
    level = np.power(FUNDUS, tone) * rng.uniform(0.8, 1.05) * rng.uniform(0.96, 1.04, 3)
    contrast = _CONTRAST * tone * rng.lognormal(0, 0.2) * rng.lognormal(0, 0.06, 3)
    return Camera(
        aspect=aspect,
        radius=radius,
        centre=(rng.uniform(-0.4, 0.4) * (aspect - 2 * radius - 0.02), rng.uniform(-0.012, 0.012)),
        notch=rng.uniform(-0.9, -0.5) if rng.random() < 0.4 else None,
        tone=tone,
        level=level.tolist(),
        contrast=contrast.tolist(),
        light=rng.normal(0, 0.2, 2),
        falloff=rng.uniform(0.08, 0.4),
        haze=rng.uniform(0, 0.4) if rng.random() < 0.5 else 0.0,
        blur=rng.uniform(0, 0.005),
        noise=rng.uniform(0.008, 0.03),
    )


def _artefacts(rng, canvas, retina):
    """Now and then dust on the lens, or a ghost of the flash."""
    if rng.random() < 0.15:
        count = int(rng.integers(1, 4))
        dust = blob(rng, rng.uniform(-0.7, 0.7, (count, 2)), rng.uniform(0.02, 0.05, count), 0.03)
        alpha = canvas.coverage(dust, rng.uniform(0.15, 0.3, count), softness=0.012)
        blend(retina, alpha, (0.35, 0.30, 0.24))
    if rng.random() < 0.12:
        angle = rng.uniform(0, 2 * np.pi)
        place = rng.uniform(0.5, 0.9) * np.array([[np.cos(angle), np.sin(angle)]])
        ghost = blob(rng, place, [rng.uniform(0.06, 0.2)], 0.03, rng.uniform(1, 2), [angle + np.pi / 2])
        blend(retina, rng.uniform(0.1, 0.25) * canvas.coverage(ghost, softness=0.03), (0.80, 0.78, 0.62))
