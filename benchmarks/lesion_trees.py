"""Lesion maps without a network: gradient-boosted trees on filters of each pixel, the peer of lesion
networks.

  python benchmarks/lesion_trees.py --model=RUN --masks_dir=IDRID_SEGMENTATION

RUN is a run of `scripts/train.py --head=lesions --folds=N`, for its division of the photographs with masks:
the trees learn from those that each of its networks learnt from, and are judged on those it never saw, in the
frame and by the measures of `scripts/evaluate_maps.py`. A fold takes some minutes on two cores.
"""

import collections

import cv2
import numpy as np
from absl import flags

from dr_keras import cli_flags

flags.DEFINE_string("model", None, "Run folder of a lesion network, with folds.", required=True)
flags.DEFINE_string("masks_dir", None, "Folder of photographs with lesion masks.", required=True)
FLAGS = flags.FLAGS
SIZE = 1024  # side of the square image, in pixels, and longer side of the frame that maps are judged in
PIXELS = 4000  # that the trees of each kind learn from in each photograph: at most half of them lesion
SIGMAS = (1, 2, 4, 8, 16)  # pixels, of the blurs
SIDES = (5, 9, 17, 33)  # pixels, of the openings and closings


def main(argv):
    from sklearn.ensemble import HistGradientBoostingClassifier

    from dr_keras.data.layouts.masked import find_masked_photographs
    from dr_keras.evaluation.maps.localisation import summarise
    from dr_keras.lesion_kinds import LESIONS
    from dr_keras.training.lesions.masked_splits import HELD_OUT, MASKED_SPLIT, TRAIN
    from dr_keras.training.run_folder import find_models, read_splits

    cli_flags.refuse_arguments(argv)
    photographs = find_masked_photographs(FLAGS.masks_dir)
    pixels = {one.image: _sample(one) for one in photographs}
    rows = collections.defaultdict(list)
    for model in find_models(FLAGS.model):
        splits = read_splits(model.parent / MASKED_SPLIT)
        trees = []
        for kind in range(len(LESIONS)):
            learnt = [pixels[one.image][kind] for one in photographs if splits[one.image] == TRAIN]
            features, targets = (np.concatenate(parts) for parts in zip(*learnt, strict=True))
            trees.append(HistGradientBoostingClassifier(max_iter=200, random_state=0).fit(features, targets))
        for one in photographs:
            if splits[one.image] == HELD_OUT:
                for lesion, row in _judged(one, trees).items():
                    rows[lesion].append(row)
    print(f"{'':>18}{'AUPRC':>30}{'strict pointing':>30}  photographs")
    for lesion, own in rows.items():
        known = [row for row in own if not np.isnan(row["auprc"])]
        found = summarise(known)
        cells = [_cell(found[measure]) for measure in ("auprc", "strict_pointing")]
        print(f"{lesion.replace('_', ' '):>18}{cells[0]:>30}{cells[1]:>30}  {len(known)}")


def _cell(interval):
    return f"{interval['value']:.3f} ({interval['low']:.3f} to {interval['high']:.3f})"


def features_of(image):
    """Forty-four filters of each pixel: float32 (size, size, 44).

    Blurs and their differences, the local deviation, openings and closings less the image (dark and bright
    spots up to a width) of the green and the red channel, and each channel against its wide mean.
    """
    image = image.astype("float32")
    wide = cv2.GaussianBlur(image, (0, 0), 32)
    found = [*np.moveaxis(image - wide, 2, 0), *np.moveaxis(wide, 2, 0)]
    for channel in (0, 1):
        plane = image[..., channel]
        blurs = [cv2.GaussianBlur(plane, (0, 0), sigma) for sigma in SIGMAS]
        found += [first - second for first, second in zip([plane, *blurs], [*blurs, wide[..., channel]])]
        found += [
            np.sqrt(np.maximum(cv2.GaussianBlur(plane**2, (0, 0), s) - b**2, 0))
            for s, b in zip(SIGMAS, blurs)
        ]
        for side in SIDES:
            disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side))
            found.append(cv2.morphologyEx(blurs[0], cv2.MORPH_TOPHAT, disc))
            found.append(cv2.morphologyEx(blurs[0], cv2.MORPH_BLACKHAT, disc))
    return np.stack(found, axis=-1).astype("float32")


def _sample(photograph):
    """For each kind of lesion, features and targets of some pixels of the retina."""
    from dr_keras.data.fundus import disc
    from dr_keras.data.lesion_masks import read_prepared
    from dr_keras.lesion_kinds import LESIONS

    image, masks, _ = read_prepared(photograph, SIZE)
    features, rng = features_of(image)[disc(SIZE) > 0], np.random.default_rng(0)
    samples = []
    for kind in range(len(LESIONS)):
        targets = masks[..., kind][disc(SIZE) > 0] > 127
        lesion, other = np.flatnonzero(targets), np.flatnonzero(~targets)
        lesion = rng.permutation(lesion)[: PIXELS // 2]
        chosen = np.concatenate([lesion, rng.choice(other, PIXELS - len(lesion), replace=False)])
        samples.append((features[chosen], targets[chosen]))
    return samples


def _judged(photograph, trees):
    """`localisation.score_map` of each kind of lesion that a photograph has, and of any: dict."""
    from dr_keras.data.fundus import disc
    from dr_keras.data.lesion_masks import ANY_LESION, read_masks
    from dr_keras.data.photograph import Photograph
    from dr_keras.evaluation.maps.localisation import score_map
    from dr_keras.explain.lesion_findings import on_frame
    from dr_keras.lesion_kinds import LESIONS

    opened = Photograph(photograph.path)
    prepared, (height, width) = opened.prepare(SIZE), opened.frame(SIZE).shape[:2]
    view = prepared.field_of_view
    view = view.scaled(height / view.image_height, height, width)
    inside = disc(SIZE) > 0
    features = features_of(prepared.pixels)[inside]
    found = np.zeros((SIZE, SIZE, len(LESIONS)), "float32")
    for kind, fitted in enumerate(trees):
        found[inside, kind] = fitted.predict_proba(features)[:, 1]
    maps = dict(zip(LESIONS, np.moveaxis(found, 2, 0), strict=True))
    maps[ANY_LESION] = 1 - np.prod(1 - found, axis=2)
    masks = read_masks(photograph, height, width)
    return {kind: score_map(on_frame(maps[kind], view), mask, view) for kind, mask in masks.items()}


if __name__ == "__main__":
    cli_flags.run(main)
