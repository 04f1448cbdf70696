"""The healthy part of a synthetic eye: optic disc, macula and branching vessels.

Coordinates are those of `canvas`: radii of the field of view from its centre, y downwards.
"""

import dataclasses

import numpy as np

# Cubic Bezier control points of the trunk vessels, as (towards the temple, upwards) from the disc's
# centre: lowest and highest values, for the upper temporal, upper nasal and nasal trunk. The lower
# ones mirror them.
_TRUNKS_LOW = np.array(
    [
        [[-0.02, 0.0], [-0.05, 0.30], [0.35, 0.50], [1.10, 0.25]],
        [[-0.02, 0.0], [-0.08, 0.14], [-0.20, 0.35], [-0.60, 0.65]],
        [[-0.02, 0.0], [-0.15, 0.03], [-0.40, 0.05], [-0.75, 0.02]],
    ]
)
_TRUNKS_HIGH = np.array(
    [
        [[0.02, 0.03], [0.12, 0.46], [0.65, 0.78], [1.55, 0.75]],
        [[0.02, 0.03], [0.02, 0.26], [-0.05, 0.60], [-0.20, 1.00]],
        [[0.02, 0.03], [-0.12, 0.10], [-0.30, 0.22], [-0.55, 0.35]],
    ]
)
_TRUNK_WIDTHS = np.array([0.028, 0.019, 0.011])
_AVASCULAR_RADIUS = 0.13


@dataclasses.dataclass(frozen=True)
class Eye:
    """Where things are in a healthy eye.

    Attributes:
        side: "left" or "right"; the disc lies to the right of the macula in a right eye.
        disc: (x, y) of the optic disc's centre.
        disc_radius: half the disc's height.
        fovea: (x, y).
        paths: the vessels' centre lines, a level of branching after the other: trunks, branches, twigs.
            Tuple of float arrays (2, vessels, points, 2): arteries, then veins.
        widths: tuple of float arrays (2, vessels, points).
    """

    side: str
    disc: np.ndarray
    disc_radius: float
    fovea: np.ndarray
    paths: tuple
    widths: tuple


def draw_side(rng):
    """Draws the first thing that is known of an eye: "left" or "right"."""
    return "right" if rng.random() < 0.5 else "left"


def draw_eye(rng):
    """Draws the anatomy of an eye.

    Args:
        rng: NumPy generator.

    Returns:
        An `Eye`.
    """
    side = draw_side(rng)
    nasal = 1 if side == "right" else -1
    fovea = np.array([nasal * rng.uniform(-0.2, 0.08), rng.uniform(-0.05, 0.1)])
    disc = fovea + [nasal * rng.uniform(0.6, 0.7), rng.uniform(-0.13, 0.02)]
    radius = rng.uniform(0.125, 0.155)
    return Eye(side, disc, radius, fovea, *_vessels(rng, disc, fovea, nasal))


def _vessels(rng, disc, fovea, nasal):
    """Trunks along the arcades, their branches, and the branches' twigs."""
    control = rng.uniform(_TRUNKS_LOW, _TRUNKS_HIGH, (2, 2, *_TRUNKS_LOW.shape))
    control[:, 0, ..., 1] *= -1
    control = control.reshape(12, 4, 2) * [-nasal, 1]
    t = np.linspace(0, 1, 40)[:, None]
    basis = np.concatenate([(1 - t) ** 3, 3 * t * (1 - t) ** 2, 3 * t**2 * (1 - t), t**3], axis=1)
    trunks = disc + basis @ control
    waves = np.sin(2 * np.pi * (rng.uniform(1.5, 4, (12, 2, 1)) * t[:, 0] + rng.random((12, 2, 1))))
    trunks[..., 0] += 0.012 * waves.sum(axis=1) * np.sqrt(t[:, 0])
    trunks[..., 1] += 0.012 * waves.prod(axis=1) * np.sqrt(t[:, 0])
    calibre = rng.uniform([[0.65], [0.9]], [[0.8], [1.1]]) * np.tile(_TRUNK_WIDTHS, 2)
    widths = calibre.reshape(12, 1) * (1 - 0.6 * t[:, 0])
    paths, widths = [trunks], [widths]
    for children, length, points in ((4, 0.5, 20), (2, 0.5, 10)):
        branches = _branches(rng, paths[-1], widths[-1], fovea, children, length, points)
        paths.append(branches[0])
        widths.append(branches[1])
    return [tuple(level.reshape(2, -1, *level.shape[1:]) for level in levels) for levels in (paths, widths)]


def _branches(rng, parents, widths, fovea, children, length, points):
    """Grows `children` side branches from each parent, about `length` times as long as it.

    Args:
        rng: NumPy generator.
        parents: (n, points, 2), in radii.
        widths: (n, points), likewise.
        fovea: (x, y); no vessel enters the zone around it.
        children: branches of each parent.
        length: theirs over the parent's.
        points: of each branch.

    Returns:
        The branches, (n * children, points, 2), and their widths, (n * children, points).
    """
    count, steps = widths.shape
    place = (np.arange(children) + rng.uniform(0.1, 0.9, (count, children))) / children
    index = ((0.12 + 0.8 * place) * (steps - 2)).astype("int64")
    row = np.arange(count)[:, None]
    tangent = parents[row, index + 1] - parents[row, index]
    side = np.where((np.arange(children) + rng.integers(0, 2, (count, 1))) % 2, 1, -1)
    heading = np.arctan2(tangent[..., 1], tangent[..., 0]) + side * rng.uniform(0.35, 0.95, side.shape)
    start = parents[row, index].reshape(-1, 1, 2)
    s = np.linspace(0, 1, points)
    bend = -side * rng.uniform(-0.2, 0.9, side.shape)
    wave = rng.uniform(0.15, 0.55, side.shape)[..., None] * np.sin(
        2 * np.pi * (rng.uniform(1, 2.5, side.shape)[..., None] * s + rng.random(side.shape)[..., None])
    )
    heading = (heading[..., None] + bend[..., None] * s + wave).reshape(-1, points)
    steps_taken = np.diff(parents, axis=1)
    lengths = np.hypot(steps_taken[..., 0], steps_taken[..., 1]).sum(axis=1)
    step = np.repeat(length * lengths, children)[:, None] * rng.uniform(0.5, 1.3, (len(heading), 1)) / points
    moves = np.stack([np.cos(heading), np.sin(heading)], axis=-1) * step[..., None]
    paths = start + np.cumsum(moves, axis=1) - moves[:, :1]
    # No vessel enters the avascular zone: the path stands still where it would.
    entered = np.hypot(paths[..., 0] - fovea[0], paths[..., 1] - fovea[1]) < _AVASCULAR_RADIUS
    last = np.where(entered.any(axis=1), np.maximum(entered.argmax(axis=1) - 1, 0), points - 1)
    paths = paths[np.arange(len(paths))[:, None], np.minimum(np.arange(points), last[:, None])]
    calibre = widths[row, index] * rng.uniform(0.45, 0.75, side.shape)
    return paths, np.maximum(calibre.reshape(-1, 1) * (1 - 0.5 * s), 0.004)
