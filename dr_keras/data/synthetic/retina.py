"""Paints the healthy retina of a synthetic eye: pigment, macula, optic disc, vessels, and oddities."""

import cv2
import numpy as np

from dr_keras.data.synthetic.canvas import blend, blob, ribbons

FUNDUS = (0.74, 0.42, 0.20)  # reflectance of a middling fundus
_DISC_RIM = (0.97, 0.72, 0.44)
_CUP = (1.0, 0.92, 0.70)
_ARTERY = (0.14, 0.48, 0.42)  # share of the light absorbed where a vessel covers all
_VEIN = (0.28, 0.62, 0.54)
_LEVEL_OPACITIES = (1.0, 0.85, 0.6)  # trunks, branches, twigs


def paint_retina(rng, eye, canvas, beading=0.0):
    """Paints an eye without lesions.

    Args:
        rng: NumPy generator.
        eye: `Eye`.
        canvas: `Canvas`.
        beading: how far the veins' calibre waves, as a fraction of it; a sign of severe disease.

    Returns:
        float32 (3, height, width): reflectance in 0-1, as if lit evenly.
    """
    retina = _background(rng, eye, canvas)
    _oddities(rng, eye, canvas, retina)
    _disc(rng, eye, canvas, retina)
    _vessels(rng, eye, canvas, retina, beading)
    return retina


def _background(rng, eye, canvas):
    """Pigment, the choroid shining through, the macula's darker yellow-brown."""
    size = (canvas.width, canvas.height)
    canvas = canvas.resized(128)  # nothing here is fine enough to need more
    tone = canvas.noise(rng, ((4, 0.04), (11, 0.03), (40, 0.014), (110, 0.018)))
    from_fovea = canvas.from_point(eye.fovea)
    if rng.random() < 0.4:  # a blond fundus shows the choroid's own vessels, but never under the macula
        strength = rng.uniform(0.06, 0.2)
        tone += strength * _choroid(rng, eye, canvas) * (1 - np.exp(-from_fovea / 0.15))
    glow = 1 + rng.uniform(0.05, 0.25) * np.exp(-canvas.from_point(eye.disc) / 0.12)
    macula = rng.uniform(0.2, 0.42) * np.exp(-from_fovea / rng.uniform(0.014, 0.03))
    macula += rng.uniform(0.08, 0.22) * np.exp(-from_fovea / 0.12)
    planes = zip(FUNDUS, (0.7, 1.2, 1.1), (0.7, 1.0, 1.0))
    planes = [base * glow * (1 + grain * tone) * (1 - dark * macula) for base, grain, dark in planes]
    return np.stack([cv2.resize(plane, size, interpolation=cv2.INTER_CUBIC) for plane in planes])


def _choroid(rng, eye, canvas):
    """Broad blurred vessels behind the retina, fanning out: float32 (height, width), 0-1."""
    count = 70
    start = rng.uniform(-1, 1, (count, 2))
    away = start - eye.fovea
    s = np.linspace(0, 1, 10)
    heading = np.arctan2(away[:, 1], away[:, 0])[:, None] + rng.normal(0, 0.3, (count, 1))
    turns = rng.uniform(0.5, 1.5, (count, 1)) * s + rng.random((count, 1))
    heading = heading + 0.7 * np.sin(2 * np.pi * turns)
    moves = np.stack([np.cos(heading), np.sin(heading)], axis=-1) * rng.uniform(0.3, 0.8, (count, 1, 1)) / 10
    widths = rng.uniform(0.015, 0.04, (count, 1)) * np.ones(10)
    return canvas.coverage(ribbons(start[:, None] + np.cumsum(moves, axis=1), widths), softness=0.012)


def _disc(rng, eye, canvas, retina):
    upright = rng.normal(np.pi / 2, 0.15, 1)
    radius = eye.disc_radius
    temporal = np.array([[-1 if eye.side == "right" else 1, 0]])
    if rng.random() < 0.25:  # a pale crescent where the pigment ends before the disc
        crescent = blob(rng, eye.disc + 0.04 * temporal, [radius], 0.03, 1.1, upright)
        blend(retina, 0.5 * canvas.coverage(crescent, softness=0.012), (0.92, 0.68, 0.42))
    rim = blob(rng, eye.disc[None], [radius], 0.015, rng.uniform(1.05, 1.25), upright)
    blend(retina, 0.9 * canvas.coverage(rim, softness=0.01), _DISC_RIM)
    centre = eye.disc + temporal * rng.uniform(0.01, 0.03)
    cup = blob(rng, centre, [radius * rng.uniform(0.35, 0.6)], 0.05, 1.1, upright)
    blend(retina, 0.85 * canvas.coverage(cup, softness=0.02), _CUP)


def _vessels(rng, eye, canvas, retina, beading):
    contrast = rng.uniform(0.6, 0.95)
    widths = [np.array(level) for level in eye.widths]
    for level in widths[:2]:
        level[1] *= 1 + beading * np.sin(1.5 * np.arange(level.shape[-1]))
    for kind, absorption in enumerate((_ARTERY, _VEIN)):
        levels = [ribbons(paths[kind], calibres[kind]) for paths, calibres in zip(eye.paths, widths)]
        counts = [len(level) for level in reversed(levels)]
        shapes = [shape for level in reversed(levels) for shape in level]  # trunks last, on top
        opacities = contrast * np.repeat(_LEVEL_OPACITIES[::-1], counts)
        alpha = canvas.coverage(shapes, opacities, softness=0.0025)
        for plane, absorbed in zip(retina, absorption):
            plane *= 1 - absorbed * alpha
    reflexes = ribbons(eye.paths[0].reshape(12, -1, 2), 0.25 * eye.widths[0].reshape(12, -1))
    retina *= 1 + rng.uniform(0.1, 0.35) * canvas.coverage(reflexes, softness=0.002)


def _oddities(rng, eye, canvas, retina):
    """What healthy eyes have too: drusen, the sheen of nerve fibres, a mole."""
    if rng.random() < 0.15:
        count = int(rng.integers(3, 12))
        places = eye.fovea + rng.normal(0, 0.18, (count, 2))
        drusen = blob(rng, places, rng.uniform(0.008, 0.018, count), 0.1)
        blend(retina, 0.45 * canvas.coverage(drusen, softness=0.006), (0.92, 0.72, 0.36))
    if rng.random() < 0.4:
        fibres = np.clip(0.5 + canvas.noise(rng, ((24, 0.5),)), 0, 1)
        arc = np.square((np.sqrt(canvas.from_point(eye.fovea)) - 0.5) / 0.16)
        arc += canvas.from_point(eye.disc) / 0.3
        blend(retina, np.float32(rng.uniform(0.1, 0.35)) * fibres * np.exp(-arc), (0.88, 0.74, 0.56))
    if rng.random() < 0.06:
        mole = blob(rng, rng.uniform(-0.6, 0.6, (1, 2)), [rng.uniform(0.05, 0.12)], 0.08)
        blend(retina, 0.35 * canvas.coverage(mole, softness=0.02), (0.40, 0.26, 0.16))
