"""How well a lesion network finds lesions: pixel by pixel over all photographs, lesion by lesion, on healthy
eyes.

- Pooled AUPRC, the protocol of the IDRiD challenge: the pixels of all photographs together, at the masks' own
  resolution, those of photographs without the lesion among them.
- FROC: the share of lesions that are found, at 1, 4 and 8 false detections a photograph. A detection is a
  region above a probability; it is right if it touches a lesion of that kind, and finds all that it touches.
- False detections on photographs of healthy eyes, at the probabilities that the network itself uses.
- Swap: the score once the lesions are replaced by what is around them, and once all but the lesions is
  replaced by a healthy eye. A network that reads its score off lesions follows the first, not the second.
"""

import collections

import cv2
import numpy as np

from dr_keras.data.fundus import brightest_channel
from dr_keras.data.lesion_crops import paste_lesions
from dr_keras.data.lesion_masks import read_masks, read_prepared
from dr_keras.data.lesion_regions import lesion_regions
from dr_keras.data.photograph import Photograph
from dr_keras.evaluation.bootstrap import bootstrap_interval
from dr_keras.explain.lesion_findings import on_frame
from dr_keras.explain.lesion_maps import least_probabilities, lesion_shares
from dr_keras.lesion_kinds import CHANNELS, LESIONS
from dr_keras.models.grader_model import rules_of

FALSE_POSITIVES = (1, 4, 8)  # a photograph
_BINS = 4096  # of probabilities, for the pooled area
_CUTS = 1 / (1 + np.exp(-np.linspace(-4, 8, 31)))  # probabilities: steps of 0.4 in logits
_WIDEST = 30  # times half that window that a lesion can be wide
_SURROUNDINGS = 0.02  # of the image: half the side of the window that a lesion is replaced by the mean of


def evaluate_detection(networks, unseen, healthy=(), progress=None):
    """Measures a lesion network on photographs with masks, and on healthy eyes.

    Args:
        networks: list of graders of one run, such as its folds.
        unseen: list of (`MaskedPhotograph`, positions of the networks that never saw it).
        healthy: list of (path, positions of the networks that never saw it) of photographs of grade 0.
        progress: wraps the photographs as `tqdm.tqdm` does, called with `total`.

    Returns:
        dict of `pooled_auprc`: {lesion: float}; `froc`: {lesion: {"lesions": int, "sensitivity": {false
        detections a photograph: float}}}; `healthy`: {"n", lesion or "all": {"value", "low", "high"}} false
        detections a photograph; `swap`: {"n", "lesions_replaced", "rest_replaced": {"value", "low", "high"}},
        absolute changes of the score.
    """
    steps = rules_of(networks[0]).normalization
    histograms = {kind: np.zeros((2, _BINS), np.int64) for kind in LESIONS}
    curves = {kind: _Froc() for kind in LESIONS}
    wrap = progress or (lambda items, total: items)
    swaps, donor = [], _donor(networks[0], healthy, steps)
    for photograph, positions in wrap(unseen, total=len(unseen)):
        own = [networks[k] for k in positions]
        pixels, masks, unknown = read_prepared(photograph, networks[0].input_shape[1], steps)
        score, probabilities = _seen_by(own, pixels)
        view = Photograph(photograph.path).prepare(len(pixels), steps).field_of_view
        _add_pixels(histograms, photograph, probabilities, view, unknown)
        for channel, kind in enumerate(LESIONS):
            if channel not in unknown:
                curves[kind].add(probabilities[..., channel], masks[..., channel] > 127)
        swaps.append(_swapped(own, pixels, masks, donor, score))
    result = {
        "pooled_auprc": {kind: _pooled_area(histograms[kind]) for kind in LESIONS},
        "froc": {kind: curves[kind].result(FALSE_POSITIVES) for kind in LESIONS},
        "swap": _swap_summary(np.array(swaps)),
    }
    if healthy:
        result["healthy"] = _false_detections(networks, healthy, steps, wrap)
    return result


def _seen_by(networks, pixels):
    """The score and the probabilities (size, size, channels) of one photograph, means over networks."""
    found = [lesion_shares(each, pixels[None]) for each in networks]
    scores, probabilities = ([one[k][0] for one in found] for k in (0, 2))
    return float(np.mean(scores)), np.mean(probabilities, axis=0)[..., : len(CHANNELS)]


def _add_pixels(histograms, photograph, probabilities, view, unknown):
    """Counts the pixels of one photograph at its masks' resolution: lesion or not, by probability."""
    masks = read_masks(photograph, view.image_height, view.image_width)
    inside = view.mask()
    for channel, kind in enumerate(LESIONS):
        if channel not in unknown:
            values = on_frame(probabilities[..., channel], view)[inside]
            truth = masks[kind][inside] if kind in masks else np.zeros(len(values), bool)
            bins = np.minimum((values * _BINS).astype(int), _BINS - 1)
            for row, chosen in zip(histograms[kind], (~truth, truth), strict=True):
                row += np.bincount(bins[chosen], minlength=_BINS)


def _pooled_area(histogram):
    """Step-wise area under the precision-recall curve of counts by probability (other, lesion)."""
    other, lesion = np.cumsum(histogram[:, ::-1], axis=1)
    if not lesion[-1]:
        return float("nan")
    precision = lesion / np.maximum(lesion + other, 1)
    return float(np.sum(np.diff(lesion, prepend=0) * precision) / lesion[-1])


class _Froc:
    """Counts found lesions and false detections of one kind at each cut of the probability."""

    def __init__(self):
        self._found = np.zeros(len(_CUTS), int)
        self._false = np.zeros(len(_CUTS), int)
        self._lesions = self._photographs = 0

    def add(self, probabilities, mask):
        count, lesions, _, _ = lesion_regions(mask)
        self._lesions += count
        self._photographs += 1
        for number, cut in enumerate(_CUTS):
            detections, regions, _, _ = lesion_regions(probabilities > cut)
            right = np.unique(regions[mask])
            self._false[number] += detections - np.sum(right > 0)
            self._found[number] += np.sum(np.unique(lesions[regions > 0]) > 0)

    def result(self, rates):
        """Sensitivity at so many false detections a photograph: the best of the cuts that stay below."""
        false = self._false / max(self._photographs, 1)
        share = self._found / max(self._lesions, 1)
        sensitivity = {str(rate): float(share[false <= rate].max(initial=0.0)) for rate in rates}
        return {"lesions": int(self._lesions), "sensitivity": sensitivity}


def _false_detections(networks, healthy, steps, wrap):
    counts = collections.defaultdict(list)
    for path, positions in wrap(healthy, total=len(healthy)):
        own = [networks[k] for k in positions]
        least = np.mean([least_probabilities(each) for each in own], axis=0)
        pixels = Photograph(path).prepare(networks[0].input_shape[1], steps).pixels
        _, probabilities = _seen_by(own, pixels)
        found = [lesion_regions(probabilities[..., k] > least[k])[0] for k in range(len(LESIONS))]
        for kind, count in zip((*LESIONS, "all"), (*found, sum(found)), strict=True):
            counts[kind].append(count)
    means = {kind: bootstrap_interval(np.mean, np.array(found, float)) for kind, found in counts.items()}
    return {"n": len(healthy), **means, "median_all": float(np.median(counts["all"]))}


def _donor(network, healthy, steps):
    """The healthy eye that backgrounds are taken from: the first one; None without any."""
    return Photograph(healthy[0][0]).prepare(network.input_shape[1], steps).pixels if healthy else None


def _swapped(networks, pixels, masks, donor, score):
    """What the score changes by if the lesions go, and if all but the lesions goes (NaN without a donor)."""
    lesions = masks[..., : len(LESIONS)].astype("float32") / 255
    without = _seen_by(networks, without_lesions(pixels, lesions))[0] - score
    if donor is None:
        return without, float("nan")
    return without, _seen_by(networks, paste_lesions(donor, pixels, lesions)[0])[0] - score


def without_lesions(pixels, lesions):
    """Replaces lesions by the mean of the retina around them.

    Args:
        pixels: uint8 (size, size, 3), RGB.
        lesions: float32 (size, size, kinds), above 0 on lesions.

    Returns:
        uint8 (size, size, 3).
    """
    marked = cv2.dilate((lesions.max(axis=2) > 0).astype(np.uint8), np.ones((7, 7), np.uint8))
    rest = ((marked == 0) & (brightest_channel(pixels) > 10)).astype("float32")[..., None]
    side = 2 * round(_SURROUNDINGS * len(pixels)) + 1
    sums = cv2.blur(np.concatenate([pixels * rest, rest], axis=2), (side, side))
    for _ in range(_WIDEST):  # wide lesions: the means of those means
        empty = (sums[..., 3:] < 0.02) & (marked[..., None] > 0)
        if not empty.any():
            break
        sums = np.where(empty, cv2.blur(sums, (side, side)), sums)
    filled = sums[..., :3] / np.maximum(sums[..., 3:], 1e-6)
    share = cv2.GaussianBlur(marked.astype("float32"), (0, 0), 1.5)[..., None]
    share = np.maximum(share, marked[..., None])
    return np.clip(np.rint(pixels * (1 - share) + filled * share), 0, 255).astype(np.uint8)


def _swap_summary(changes):
    names = ("lesions_replaced", "rest_replaced")
    known = {name: changes[:, k] for k, name in enumerate(names) if not np.isnan(changes[:, k]).all()}
    intervals = {name: bootstrap_interval(np.mean, np.abs(each)) for name, each in known.items()}
    return {"n": len(changes), **intervals}


def table(result):
    """Lines of text: a row for each kind of lesion, then healthy eyes and the swap."""
    rates = [f"found at {rate}" for rate in FALSE_POSITIVES]
    lines = ["".join(f"{name:>18}" for name in ("", "pooled AUPRC", "lesions", *rates, "false, healthy"))]
    for kind in LESIONS:
        froc = result["froc"][kind]
        cells = [f"{result['pooled_auprc'][kind]:.3f}", str(froc["lesions"])]
        cells += [f"{value:.3f}" for value in froc["sensitivity"].values()]
        cells.append(f"{result['healthy'][kind]['value']:.2f}" if "healthy" in result else "")
        lines.append("".join(f"{cell:>18}" for cell in (kind.replace("_", " "), *cells)))
    if "healthy" in result:
        healthy = result["healthy"]
        lines.append(
            f"{healthy['n']} healthy eyes: {_cell(healthy['all'])} false detections each, half at most "
            f"{healthy['median_all']:g}"
        )
    words = {"lesions_replaced": "lesions replaced", "rest_replaced": "all but the lesions replaced"}
    for name, text in words.items():
        if name in result["swap"]:
            lines.append(f"{text}: the score moves by {_cell(result['swap'][name])}")
    return lines


def _cell(interval):
    return f"{interval['value']:.2f} ({interval['low']:.2f} to {interval['high']:.2f})"
