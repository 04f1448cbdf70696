"""Does a map lie where the lesions are? Maps against expert masks."""

import cv2
import numpy as np

from dr_keras.evaluation.bootstrap import bootstrap_interval

MEASURES = ("auprc", "prevalence", "pointing_game", "strict_pointing", "best_iou", "energy_inside")
TOLERANCE = 0.02  # of the field of view's diameter: about a fifth of an optic disc's


def score_map(heat, mask, field_of_view, tolerance=TOLERANCE):
    """Compares one map with the mask of one lesion, pixel by pixel inside the field of view.

    Args:
        heat: float (height, width), the larger the more suspect; signed.
        mask: bool (height, width), true on the lesion.
        field_of_view: `FieldOfView` of the same frame.
        tolerance: margin around the lesion that still counts as inside, as a share of the field of view's
            diameter. `auprc`, `prevalence` and `best_iou` are exact, without a margin.

    Returns:
        dict, all from 0 to 1: `auprc`, area under the precision-recall curve (step-wise: average precision);
        `prevalence`, the share of lesion pixels, which is the AUPRC of a blind map; `pointing_game`, 1 if
        the highest pixel is inside, else 0; `strict_pointing`, the same without a margin; `best_iou`, over
        all cuts of the map; `energy_inside`, share of the map's positive values inside, NaN if it has none.
        All NaN if nothing of the lesion is in view.
    """
    seen = field_of_view.mask()
    margin = max(1, round(tolerance * 2 * field_of_view.radius))
    near = _grown(mask, margin)
    values, lesion, inside = heat[seen], mask[seen], near[seen]
    if not lesion.any():
        return dict.fromkeys(MEASURES, float("nan"))
    precision_area, iou = _over_all_cuts(values, lesion)
    positive = np.maximum(values, 0)
    highest = values == values.max()  # a flat map points everywhere
    return {
        "auprc": precision_area,
        "prevalence": float(lesion.mean()),
        "pointing_game": float(inside[highest].mean()),
        "strict_pointing": float(lesion[highest].mean()),
        "best_iou": iou,
        "energy_inside": float(positive[inside].sum() / positive.sum()) if positive.any() else float("nan"),
    }


def _over_all_cuts(values, lesion):
    """Average precision and the best intersection over union, over all distinct cuts of the values."""
    order = np.argsort(-values, kind="stable")
    ordered = values[order]
    last = np.append(np.flatnonzero(np.diff(ordered)), len(ordered) - 1)  # of each run of equal values
    hits = np.cumsum(lesion[order])[last]
    chosen = last + 1
    recall = hits / hits[-1]
    area = np.sum(np.diff(recall, prepend=0) * hits / chosen)
    return float(area), float(np.max(hits / (chosen + hits[-1] - hits)))


def _grown(mask, margin):
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * margin + 1, 2 * margin + 1))
    return cv2.dilate(mask.astype(np.uint8), disc).astype(bool)


def centre_prior(field_of_view):
    """A map that knows only where lesions tend to be: a Gaussian on the middle of the field of view."""
    y, x = np.ogrid[: field_of_view.image_height, : field_of_view.image_width]
    distance = (y + 0.5 - field_of_view.center_y) ** 2 + (x + 0.5 - field_of_view.center_x) ** 2
    return np.exp(-2 * distance / field_of_view.radius**2).astype("float32")


def summarise(rows, patients=None, seed=0):
    """Means over photographs of `score_map`'s measures, with 95 % bootstrap intervals.

    Args:
        rows: list of dicts of `score_map`, one per photograph that has the lesion.
        patients: array of identifiers that the bootstrap redraws (copies and repeated exposures of an eye
            together); None: photographs.
        seed: seed of the bootstrap.

    Returns:
        dict of measure to `{"value", "low", "high"}`, and `n`, the number of photographs.
    """
    result = {"n": len(rows)}
    for measure in MEASURES:
        values = np.array([row[measure] for row in rows], dtype="float64")
        if len(values):
            result[measure] = bootstrap_interval(np.mean, values, groups=patients, seed=seed)
        else:
            result[measure] = dict.fromkeys(("value", "low", "high"), float("nan"))
    return result
