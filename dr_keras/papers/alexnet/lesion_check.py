"""Whether abnormal patches hold lesions: comparison with experts' masks and with patches placed at random.

The random patches have the same size and lie in the same photograph, at every place where at least as much of
the patch is inside the field of view. Their mean is computed exactly, over all such places.
"""

import collections

import cv2
import numpy as np

from dr_keras.data.lesion_masks import read_masks
from dr_keras.evaluation.bootstrap import bootstrap_interval
from dr_keras.evaluation.maps.map_evaluation import readable
from dr_keras.explain.explainer import load_photographs
from dr_keras.explain.occlusion import occlusion_map
from dr_keras.grades import NUM_GRADES
from dr_keras.inference.grader import networks_at
from dr_keras.papers.alexnet import patches

HIT, AREA = "hit", "area"  # whether a patch holds some of the lesion; the share of the patch that is lesion
_SIDE = 512  # longest side, in pixels, at which patches and masks are compared


def check_lesions(
    model,
    unseen,
    threshold=0.2,
    window=2,
    layer="pool5",
    batch_size=8,
    seed=0,
    num_resamples=2000,
    progress=None,
):
    """Compares the abnormal patches of masked photographs with patches placed at random.

    Args:
        model: `Grader`.
        unseen: list of `map_evaluation.UnseenNetworks` of that model: who never saw each photograph.
        threshold, window, layer: of the patches, as for `patches.select`; overlapping ones are kept.
        batch_size: photographs in a batch.
        seed, num_resamples: seed and number of resamples of the bootstrap, which redraws photographs.
        progress: wraps the photographs as `tqdm.tqdm` does, called with `total`.

    Returns:
        dict: `photographs`, `with_patches` (how many have any) and `patches`; `lesions`: dict of lesion to
        `n` (photographs with patches that have the lesion), `patches`, and for `hit` (share of patches that
        hold some of it) and `area` (share of a patch's pixels on it) `{"patches", "random", "difference"}`,
        each `{"value", "low", "high"}`.
    """
    rows, counts, found = collections.defaultdict(list), [], _search(model, unseen, window, layer, batch_size)
    for number, (photograph, drops, view) in enumerate(
        progress(found, total=len(unseen)) if progress else found
    ):
        own = patches.select(drops[None], threshold, window)
        places = patches.boxes(own, model.networks[0], [view], layer)
        counts.append(len(own))
        masks = read_masks(photograph, view.image_height, view.image_width) if own else {}
        for lesion, mask in masks.items():
            rows[lesion] += [(number, *measures) for measures in compare_boxes(places, mask, view.mask())]
    return {
        "photographs": len(unseen),
        "with_patches": int(np.count_nonzero(counts)),
        "patches": int(np.sum(counts)),
        "lesions": {
            lesion: _summarise(np.array(of_lesion), seed, num_resamples) for lesion, of_lesion in rows.items()
        },
    }


def _search(model, unseen, window, layer, batch_size):
    """Yields (photograph, drops in units of the sigmoid's output, field of view at the reduced size)."""
    groups = collections.defaultdict(list)
    for one in unseen:
        groups[one.networks].append(one.photograph)
    for networks, photographs in groups.items():
        (graders,), remaining = networks_at([model], networks), iter(photographs)
        paths = [photograph.path for photograph in photographs]
        steps = model.rules.normalization
        for batch in load_photographs(paths, [model.image_size], _SIDE, batch_size, steps):
            loaded = [readable(*each) for each in batch]
            prepared = [each.prepared[model.image_size] for each in loaded]
            images = np.stack([each.pixels for each in prepared])
            drops = [occlusion_map(grader, images, window, 1, layer)[1] for grader in graders]
            for each, own, mean in zip(loaded, prepared, np.mean(drops, axis=0), strict=True):
                height, width = each.image.shape[:2]
                view = own.field_of_view
                view = view.scaled(height / view.image_height, height, width)
                yield next(remaining), mean / (NUM_GRADES - 1), view


def compare_boxes(boxes, mask, inside):
    """Measures how much of a lesion boxes hold, and how much boxes of the same size hold elsewhere.

    Args:
        boxes: list of (top, left, height, width) in pixels.
        mask: bool (height, width), true on the lesion.
        inside: bool (height, width), the field of view.

    Returns:
        List of (hit, area, random hit, random area) of each box, from 0 to 1: `hit` is 1 if the box holds a
        pixel of the lesion, `area` is the share of its pixels that is lesion, and the random values are their
        means over all places.
    """
    lesion, seen = (cv2.integral(each.astype(np.uint8)).astype("int64") for each in (mask, inside))
    found = []
    for top, left, height, width in boxes:
        held, covered = (_sums(total, height, width) for total in (lesion, seen))
        places = held[covered >= covered[top, left]]
        pixels = height * width
        own = held[top, left]
        found.append(
            (float(own > 0), own / pixels, float(np.mean(places > 0)), float(places.mean()) / pixels)
        )
    return found


def _sums(total, height, width):
    """Sums over a box at every place where it fits, from an integral image."""
    return (
        total[height:, width:] - total[:-height, width:] - total[height:, :-width] + total[:-height, :-width]
    )


def _summarise(rows, seed, num_resamples):
    photographs, *columns = rows.T
    result = {"n": len(np.unique(photographs)), "patches": len(rows)}
    for measure, own, random in ((HIT, columns[0], columns[2]), (AREA, columns[1], columns[3])):
        values = {"patches": own, "random": random, "difference": own - random}
        result[measure] = {
            name: bootstrap_interval(
                np.mean, each, groups=photographs, seed=seed, num_resamples=num_resamples
            )
            for name, each in values.items()
        }
    return result
