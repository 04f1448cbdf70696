"""Does a map show what the network uses? Its order of pixels put to the test, without lesion masks.

Pixels inside the field of view are ranked by a signed map, highest first, and changed in that order:

- deletion: replaced by a blurred copy of the photograph (Petsiuk et al. 2018); insertion: the way back.
  Blurred, since one flat colour has an edge against what remains, which a network takes for a lesion;
  the blur takes lesions away and leaves the light of the region.
- ROAD (Rong et al. 2022), "remove and debias": removed pixels are imputed from those around them, so that
  the shape of what was removed tells nothing. Most relevant first (morf) against least relevant first (lerf).

A regression score has no natural zero, and removing everything may raise it (a healthy eye). So each
measure is an area against what no knowledge would give, in grade units, the higher the better:

- deletion: how far the curve runs below the straight line between its ends, on average over the fractions;
- insertion: how far above;
- road: half the area between lerf and morf.

If the score were a sum over pixels, then all three would agree: a random order gets 0 on average, a map
turned upside down the same area with the other sign, and the exact map the most that is possible: where one
small spot raises the score by d, d / 2 (0.45 d in eleven steps). A network's score isn't a sum: it also sees
the edges of what was deleted or inserted, wherever they are. Hence `random_order`, a baseline for each map.
"""

import cv2
import numpy as np

from dr_keras.evaluation.bootstrap import bootstrap_interval
from dr_keras.evaluation.maps.imputation import NOISE, NoisyLinearImputer, retina

FRACTIONS = np.linspace(0, 1, 11)
MEASURES = ("deletion", "insertion", "road")
CURVES = ("deletion", "insertion", "morf", "lerf")
# Standard deviation, as a share of the side: an eighth remains of a spot as wide, nothing of small lesions.
BLUR = 0.1


def random_order(cells, seed=0):
    """The baseline: the same cells (rows, columns), each in another's place; a seed for each photograph."""
    return np.random.default_rng(seed).permutation(np.ravel(cells)).reshape(np.shape(cells))


def deletion_insertion(score, image, heat, blur=BLUR, seed=0):
    """Computes the deletion and insertion curves of one map.

    Args:
        score: function of uint8 (batch, size, size, 3) to (batch,), in grade units.
        image: uint8 (size, size, 3), a prepared photograph.
        heat: float (size, size), signed: what is positive raises the score. See `geometry.place_on_square`.
        blur: standard deviation of the blurred copy, as a share of the side.
        seed: seed of the order among equal values.

    Returns:
        dict of `deletion` and `insertion`, float64 (11,): the score where that fraction of the field of
        view (`FRACTIONS`) is deleted or inserted, less that of the fully deleted photograph.

    Raises:
        ValueError: if the shapes don't fit, the image is black, or the map has values that aren't numbers.
    """
    _check(image, heat)
    seen = retina(image)
    first = (_rank(heat, seen, seed) < FRACTIONS[:, None, None])[..., None]
    blurred = _blurred(image, seen, blur * len(image))
    deleted = np.where(first, blurred, image)
    inserted = np.where(first[1:-1] | ~seen[..., None], image, blurred)
    scores = np.asarray(score(np.concatenate([deleted, inserted])), "float64")
    photograph, bare, between = scores[0], scores[len(deleted) - 1], scores[len(deleted) :]
    return {"deletion": scores[: len(deleted)] - bare, "insertion": np.r_[bare, between, photograph] - bare}


def road(score, image, heat, noise=NOISE, seed=0):
    """Computes the two curves of ROAD for one map.

    Args:
        score, image, heat: as for `deletion_insertion`.
        noise: standard deviation of what is added to imputed pixels, in grey levels.
        seed: seed of the noise, and of the order among equal values.

    Returns:
        dict of `morf` and `lerf`, float64 (11,): the score where that fraction is imputed, less that of
        the fully imputed photograph (one colour, the mean).

    Raises:
        ValueError: as for `deletion_insertion`.
    """
    _check(image, heat)
    imputer = NoisyLinearImputer(image, noise, seed)
    seen = imputer.seen
    cells = cv2.resize(np.asarray(heat, "float32"), seen.shape, interpolation=cv2.INTER_AREA)
    most = _rank(cells, seen, seed)
    least = np.where(seen, np.max(most[seen]) - most, np.inf)
    removed = [rank < part for rank in (most, least) for part in FRACTIONS[1:-1]]
    images = [image, *(imputer(gone) for gone in [*removed, seen])]
    photograph, *scores, bare = np.asarray(score(np.stack(images)), "float64")
    morf, lerf = np.split(np.array(scores), 2)
    return {name: np.r_[photograph, curve, bare] - bare for name, curve in (("morf", morf), ("lerf", lerf))}


def areas(curves):
    """The measures of one photograph from its curves: dict of `MEASURES` to float, see the module's text."""
    line = {name: np.linspace(curves[name][0], curves[name][-1], len(FRACTIONS)) for name in MEASURES[:2]}
    between = {
        "deletion": line["deletion"] - curves["deletion"],
        "insertion": curves["insertion"] - line["insertion"],
        "road": (curves["lerf"] - curves["morf"]) / 2,
    }
    return {name: float(np.trapezoid(gap, FRACTIONS)) for name, gap in between.items()}


def summarise_faithfulness(rows, random_rows=None, patients=None, seed=0):
    """Means over photographs of areas and curves, with 95 % bootstrap intervals of the areas.

    Args:
        rows: list of dicts of curves, one per photograph: `deletion_insertion(...) | road(...)`.
        random_rows: the same of `random_order` maps, photograph by photograph; or None.
        patients: array of identifiers that the bootstrap redraws; None: photographs.
        seed: seed of the bootstrap.

    Returns:
        dict of each of `MEASURES` to `{"value", "low", "high"}`; `n`, the number of photographs; `curves`:
        `fractions` and each of `CURVES`, lists. With random rows also `random`, the same of those, and
        `above_random`: the measures of the paired difference.
    """
    values = _values(rows)
    result = _intervals(values, patients, seed)
    result["n"] = len(rows)
    result["curves"] = {"fractions": FRACTIONS.round(6).tolist()}
    for name in CURVES:
        result["curves"][name] = np.mean([row[name] for row in rows], axis=0).tolist() if rows else []
    if random_rows is not None:
        gains = {name: values[name] - other for name, other in _values(random_rows).items()}
        result["random"] = summarise_faithfulness(random_rows, None, patients, seed)
        result["above_random"] = _intervals(gains, patients, seed)
    return result


def _values(rows):
    measured = [areas(row) for row in rows]
    return {name: np.array([row[name] for row in measured]) for name in MEASURES}


def _intervals(values, patients, seed):
    if not len(values[MEASURES[0]]):
        return {name: dict.fromkeys(("value", "low", "high"), float("nan")) for name in MEASURES}
    return {name: bootstrap_interval(np.mean, values[name], groups=patients, seed=seed) for name in MEASURES}


def _check(image, heat):
    if image.dtype != np.uint8 or image.shape != (len(image), len(image), 3):
        raise ValueError(
            "`image` must be uint8 (size, size, 3). "
            f"Received: image.dtype={image.dtype}, image.shape={image.shape}"
        )
    if not retina(image).any():
        raise ValueError("`image` must show something. Received: an image that is black")
    if np.shape(heat) != image.shape[:2] or not np.isfinite(heat).all():
        raise ValueError(
            f"`heat` must be finite, of shape {image.shape[:2]}. Received: heat.shape={np.shape(heat)}, "
            f"{np.sum(~np.isfinite(heat))} values that aren't numbers"
        )


def _rank(heat, seen, seed):
    """Share of the field of view that comes before each pixel, from 0 to below 1; infinite outside."""
    count = np.sum(seen)
    order = np.lexsort((np.random.default_rng(seed).random(count), -heat[seen]))  # equal values: at random
    shares = np.empty(count)
    shares[order] = np.arange(count) / count
    rank = np.full(seen.shape, np.inf)
    rank[seen] = shares
    return rank


def _blurred(image, seen, deviation):
    """The photograph blurred inside the field of view, nothing of the dark surround mixed in: uint8."""
    weights = cv2.GaussianBlur(seen.astype("float32"), (0, 0), deviation)
    sums = cv2.GaussianBlur(image.astype("float32") * seen[..., None], (0, 0), deviation)
    blurred = sums / np.maximum(weights, 1e-6)[..., None]
    return np.where(seen[..., None], blurred.round(), image).astype(np.uint8)
