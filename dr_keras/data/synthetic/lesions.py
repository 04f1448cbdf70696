"""Lesions of diabetic retinopathy for the synthetic photographs, placed by ICDR grade.

Coordinates are those of `canvas`: radii of the field of view from its centre, y downwards.
"""

import dataclasses

import numpy as np

from dr_keras.data.synthetic.canvas import blob, ribbons

LESIONS = ("microaneurysms", "haemorrhages", "hard_exudates", "soft_exudates", "neovascularisation")

# How many of each (lowest, highest) a grade shows, after the ICDR scale: nothing; microaneurysms only;
# more than those but less than the 4-2-1 rule; haemorrhages in all four quadrants; new vessels or
# preretinal haemorrhage. Hard exudates are counted in groups, new vessels in fronds.
_COUNTS = {
    0: {},
    1: {"microaneurysms": (4, 9)},
    2: {"microaneurysms": (8, 15), "haemorrhages": (5, 11), "hard_exudates": (0, 2), "soft_exudates": (0, 1)},
    3: {
        "microaneurysms": (10, 20),
        "haemorrhages": (24, 36),
        "hard_exudates": (0, 2),
        "soft_exudates": (2, 4),
    },
    4: {
        "microaneurysms": (6, 18),
        "haemorrhages": (6, 22),
        "hard_exudates": (0, 2),
        "soft_exudates": (0, 2),
        "neovascularisation": (1, 3),
        "preretinal": (0, 1),
    },
}
_EDGE = 0.07  # lesions keep this far from the edge of the field of view


@dataclasses.dataclass(frozen=True)
class Paint:
    """Shapes of one lesion and how they look.

    Attributes:
        lesion: one of `LESIONS`.
        shapes: list of float arrays (vertices, 2), in radii.
        opacities: float array, one per shape, in 0-1.
        colour: reflectance (red, green, blue) in 0-1.
        softness: blur of the edges, in radii.
    """

    lesion: str
    shapes: list
    opacities: np.ndarray
    colour: tuple
    softness: float


def draw_lesions(rng, eye, canvas, grade):
    """Draws the lesions of a grade.

    Args:
        rng: NumPy generator.
        eye: `Eye` they are placed in.
        canvas: `Canvas`, for the part of the eye that the photograph shows.
        grade: ICDR grade 0-4.

    Returns:
        List of `Paint`, in the order of painting; empty for grade 0.
    """
    counts = {name: int(rng.integers(low, high + 1)) for name, (low, high) in _COUNTS[grade].items()}
    if grade == 4 and counts["preretinal"] and rng.random() < 0.3:
        counts["neovascularisation"] = 0
    paints = []
    for name, draw in _DRAWERS.items():
        if counts.get(name):
            paints.append(draw(rng, eye, canvas, counts[name]))
    return paints


def _places(rng, eye, canvas, count, margin=_EDGE, clear_of_vessels=0.022):
    """Draws `count` places spread over the four quadrants, off the disc, the fovea and the trunks."""
    tries = 8 * count + 48
    angle = (np.arange(tries) % 4 + rng.random(tries)) * np.pi / 2
    points = rng.uniform(0.05, 1, tries)[:, None] ** 0.6 * np.stack([np.cos(angle), np.sin(angle)], axis=1)
    free = canvas.inside(points, margin)
    free &= np.linalg.norm(points - eye.disc, axis=1) > eye.disc_radius + 0.08
    free &= np.linalg.norm(points - eye.fovea, axis=1) > 0.09
    trunks = eye.paths[0][:, :, ::2].reshape(-1, 2)
    squares = np.sum(points**2, axis=1)[:, None] + np.sum(trunks**2, axis=1) - 2 * points @ trunks.T
    free &= squares.min(axis=1) > clear_of_vessels**2
    quadrants = [points[quadrant::4][free[quadrant::4]][: -(-count // 4)] for quadrant in range(4)]
    return rng.permutation(np.concatenate(quadrants))[:count]


def _microaneurysms(rng, eye, canvas, count):
    places = _places(rng, eye, canvas, count)
    shapes = blob(rng, places, rng.uniform(0.013, 0.019, len(places)), roughness=0.05)
    opacities = rng.uniform(0.75, 0.95, len(places))
    return Paint("microaneurysms", list(shapes), opacities, (0.44, 0.08, 0.06), 0.004)


def _haemorrhages(rng, eye, canvas, count):
    """Dots and blots; some flame-shaped, streaks side by side along the nerve fibres from the disc."""
    places = _places(rng, eye, canvas, count)
    count = len(places)
    flame = rng.random(count) < 0.25
    streaks = np.where(flame, 4, 1)
    dots, blots = rng.uniform(0.018, 0.027, count), rng.uniform(0.027, 0.046, count)
    radii = np.where(flame, 0.6, 1) * np.where(rng.random(count) < 0.6, dots, blots)
    radii = np.repeat(radii, streaks)
    spread = np.repeat(np.where(flame, 0.5, 0), streaks) * radii
    places = np.repeat(places, streaks, axis=0) + spread[:, None] * rng.normal(0, 1, (len(radii), 2))
    stretch = np.repeat(np.where(flame, rng.uniform(4, 6, count), rng.uniform(1, 1.5, count)), streaks)
    away = places - eye.disc
    angles = np.arctan2(away[:, 1], away[:, 0]) + np.repeat(rng.normal(0, 0.2, count), streaks)
    shapes = blob(rng, places, radii, roughness=0.13, stretch=stretch, angles=angles)
    opacities = np.repeat(rng.uniform(0.6, 0.9, count), streaks)
    return Paint("haemorrhages", list(shapes), opacities, (0.40, 0.07, 0.05), 0.007)


def _hard_exudates(rng, eye, canvas, count):
    """Groups of waxy specks: scattered, or in a ring around a leaking vessel."""
    groups = []
    for _ in range(count):
        specks = int(rng.integers(10, 30))
        centre = eye.fovea + rng.uniform(0.1, 0.5) * _direction(rng.uniform(0, 2 * np.pi))
        ring = rng.random() < 0.4
        distance = rng.normal(0.12, 0.02, specks) if ring else np.abs(rng.normal(0, 0.09, specks))
        groups.append(centre + distance[:, None] * _direction(rng.uniform(0, 2 * np.pi, specks)))
    places = np.concatenate(groups)
    clear = np.linalg.norm(places - eye.disc, axis=1) > eye.disc_radius + 0.04
    places = places[clear & canvas.inside(places, _EDGE)]
    radii = np.minimum(rng.lognormal(np.log(0.01), 0.4, len(places)), 0.025)
    shapes = blob(rng, places, radii, roughness=0.25, stretch=1.2)
    opacities = rng.uniform(0.6, 1.0, len(places))
    return Paint("hard_exudates", list(shapes), opacities, (0.98, 0.86, 0.45), 0.0025)


def _soft_exudates(rng, eye, canvas, count):
    """Cotton-wool spots: pale and fluffy."""
    places = _places(rng, eye, canvas, count, margin=0.2)
    centres = np.repeat(places, 4, axis=0) + rng.normal(0, 0.016, (4 * len(places), 2))
    shapes = blob(rng, centres, rng.uniform(0.018, 0.036, len(centres)), roughness=0.15, stretch=1.3)
    opacities = np.full(len(centres), 0.85)
    return Paint("soft_exudates", list(shapes), opacities, (0.93, 0.78, 0.58), 0.012)


def _neovascularisation(rng, eye, canvas, count):
    """Fans of fine new vessels that end in loops, at the disc or elsewhere."""
    shapes = []
    for place in _places(rng, eye, canvas, count, margin=0.25, clear_of_vessels=0.0):
        if rng.random() < 0.3:
            place = eye.disc + rng.normal(0, 0.04, 2)
        stems, loops, points = 12, 60, 16
        s = np.linspace(0, 1, points)
        fan = rng.uniform(0, 2 * np.pi) + rng.uniform(2, 4) * np.linspace(0, 1, stems)[:, None]
        sway = rng.normal(0, 0.5, (stems, 1)) + np.sin(2 * np.pi * (1.5 * s + rng.random((stems, 1))))
        reach = rng.uniform(0.13, 0.2) * rng.uniform(0.6, 1.1, (stems, 1, 1))
        paths = place + np.cumsum(reach / points * _direction(fan + 0.6 * sway), axis=1)
        start = paths[rng.integers(0, stems, loops), rng.integers(4, points, loops)]
        turn = rng.uniform(0, 2 * np.pi, (loops, 1))
        turn = turn + rng.choice([-1, 1], (loops, 1)) * rng.uniform(3, 7, (loops, 1)) * s
        size = rng.uniform(0.05, 0.13, (loops, 1, 1))
        curls = start[:, None] + np.cumsum(size / points * _direction(turn), axis=1)
        shapes.extend(ribbons(paths, np.linspace(0.010, 0.007, points) * np.ones((stems, 1))))
        shapes.extend(ribbons(curls, np.full((loops, points), 0.0065)))
    return Paint("neovascularisation", shapes, np.full(len(shapes), 0.8), (0.50, 0.09, 0.06), 0.002)


def _preretinal(rng, eye, canvas, count):
    """Boat-shaped haemorrhage in front of the retina: a level top, a rounded bottom."""
    place = _places(rng, eye, canvas, count, margin=0.3, clear_of_vessels=0.0)[0]
    half_width, depth = rng.uniform(0.13, 0.22), rng.uniform(0.09, 0.16)
    turn = np.linspace(0, np.pi, 24)
    x = half_width * np.cos(turn)
    y = depth * np.sin(turn) ** 0.8 + 0.006 * np.sin(9 * turn)
    shape = place + np.stack([x, y], axis=1)
    return Paint("haemorrhages", [shape], np.array([0.88]), (0.46, 0.07, 0.05), 0.006)


def _direction(angle):
    return np.stack([np.cos(angle), np.sin(angle)], axis=-1)


_DRAWERS = {
    "soft_exudates": _soft_exudates,
    "hard_exudates": _hard_exudates,
    "microaneurysms": _microaneurysms,
    "haemorrhages": _haemorrhages,
    "neovascularisation": _neovascularisation,
    "preretinal": _preretinal,
}
