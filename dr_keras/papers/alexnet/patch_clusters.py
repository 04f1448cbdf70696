"""Clusters of abnormal patches: k-means, t-SNE and a test of clusters against grades (P1 section 3.3)."""

import csv
import dataclasses
from pathlib import Path

import cv2
import keras
import numpy as np
from scipy.stats import chi2_contingency
from sklearn.cluster import KMeans
from sklearn.manifold import TSNE
from sklearn.metrics import silhouette_score

from dr_keras import files
from dr_keras.errors import InputError
from dr_keras.explain.activations import layer_output
from dr_keras.grades import NUM_GRADES
from dr_keras.models.grader_model import network_and_front
from dr_keras.papers.alexnet.patches import COLUMNS, TABLE

_LEAST = 4  # least number of patches for k-means and t-SNE


@dataclasses.dataclass(frozen=True)
class PatchTable:
    """Patches that `segment_patches.py` wrote.

    Attributes:
        images: str (n,), the photograph that each patch comes from.
        labels: int (n,), true grade of that photograph.
        drops: float64 (n,), drop of the score, in units of the sigmoid's output.
        pictures: list of the patches, uint8 (height, width, 3), RGB.
    """

    images: np.ndarray
    labels: np.ndarray
    drops: np.ndarray
    pictures: list


def read_patches(folder):
    """Reads the patches that `segment_patches.py` wrote to a folder.

    Raises:
        InputError: if the table is missing, can't be read, or has too few patches.
    """
    path = Path(folder) / TABLE
    try:
        rows = [row for _, row in files.read_csv(path)[1]]
        known = [(row["image"], int(row["label"]), float(row["score_drop"])) for row in rows]
    except (OSError, KeyError, TypeError, ValueError, csv.Error):
        raise InputError(
            f"{path}: expected a table of patches with the columns {','.join(COLUMNS)}"
        ) from None
    if len(rows) < _LEAST:
        raise InputError(f"{path}: {len(rows)} patches; expected {_LEAST} or more, by a lower --threshold")
    images, labels, drops = map(np.array, zip(*known, strict=True))
    return PatchTable(images, labels, drops, [_read_patch(Path(folder) / row["patch"]) for row in rows])


def _read_patch(path):
    """Reads a patch with OpenCV, since `decoding` refuses pictures as small as patches."""
    picture = cv2.imread(str(path))
    if picture is None:
        raise InputError(f"{path}: expected a patch that segment_patches.py wrote")
    return picture[..., ::-1]


def deep_features(grader, pictures, layer="pool5", batch_size=64):
    """Computes features of patches: a layer's mean over positions for each patch, enlarged to a whole image.

    Args:
        grader: model from `build_grader`.
        pictures: list of patches, uint8 (height, width, 3), RGB.
        layer: name of a layer of the grader's network.
        batch_size: number of patches in a batch.

    Returns:
        float32 (n, channels). Each row has the norm 1, so that k-means compares the pattern of the features
        and not their strength.
    """
    network, front = network_and_front(grader)
    trunk = keras.Model(network.inputs, keras.ops.mean(layer_output(network, layer), axis=(1, 2)))
    size, parts = grader.input_shape[1], []
    for start in range(0, len(pictures), batch_size):
        batch = [cv2.resize(p, (size, size)) for p in pictures[start : start + batch_size]]
        parts.append(np.asarray(trunk(front(np.stack(batch).astype("float32")), training=False), "float32"))
    features = np.concatenate(parts)
    return features / np.maximum(np.linalg.norm(features, axis=1, keepdims=True), 1e-12)


def cluster(features, k=20, seed=0):
    """Clusters features by k-means, with at most one cluster per distinct row.

    Returns:
        int (n,): the cluster of each row; clusters are numbered from 0, the largest first.
    """
    found = KMeans(_at_most(features, k), n_init=10, random_state=seed).fit_predict(features)
    sizes = np.bincount(found)
    rank = np.argsort(np.argsort(-sizes, kind="stable"), kind="stable")
    return rank[found]


def silhouettes(features, ks, seed=0):
    """Returns the mean silhouette of the clusters for each k: dict of k -> number from -1 to 1."""
    curve = {}
    for k in ks:
        if 2 <= k <= _at_most(features, len(features) - 1):
            curve[int(k)] = float(silhouette_score(features, cluster(features, k, seed)))
    return curve


def lay_out(features, seed=0):
    """Lays features out on a plane by t-SNE: float32 (n, 2)."""
    perplexity = min(30.0, (len(features) - 1) / 3)
    return TSNE(perplexity=perplexity, init="pca", random_state=seed).fit_transform(features)


def stages_over_clusters(clusters, labels, images, seed=0, num_permutations=999):
    """Tests whether the clusters of patches are related to the stages (grades) of their photographs.

    The chi-square test assumes that patches are independent, but patches of one photograph aren't. So a
    second p-value comes from a permutation test, which shuffles the grades among the photographs.

    Args:
        clusters, labels, images: (n,): cluster, true grade and photograph of each patch.
        seed, num_permutations: seed and size of the permutation test.

    Returns:
        Dict of `counts` (clusters x 5), `chi_square`, `degrees_of_freedom`, `p_value`, `cramers_v` and
        `p_value_by_photograph`. All but `counts` are NaN if there is only one cluster or one stage.
    """
    counts = _counts(clusters, labels)
    table = counts[:, counts.any(axis=0)]
    nan = float("nan")
    result = dict.fromkeys(("chi_square", "degrees_of_freedom", "p_value", "cramers_v"), nan)
    result |= {"counts": counts.tolist(), "p_value_by_photograph": nan}
    if min(table.shape) < 2:
        return result
    chi, p, freedom, _ = chi2_contingency(table, correction=False)
    names, of = np.unique(images, return_inverse=True)
    own = np.zeros(len(names), int)
    own[of] = labels
    rng, higher = np.random.default_rng(seed), 1
    for _ in range(num_permutations):
        dealt = _counts(clusters, rng.permutation(own)[of])
        higher += _chi_square(dealt) >= chi - 1e-9
    return result | {
        "chi_square": float(chi),
        "degrees_of_freedom": int(freedom),
        "p_value": float(p),
        "cramers_v": float(np.sqrt(chi / (table.sum() * (min(table.shape) - 1)))),
        "p_value_by_photograph": float(higher / (num_permutations + 1)),
    }


def write_table(path, table, clusters, places):
    """Writes a CSV table with one row per patch: number, photograph, true grade, drop, cluster, position."""
    with files.csv_rows(path, ("patch", "image", "label", "score_drop", "cluster", "x", "y")) as write:
        for number, (x, y) in enumerate(places):
            known = table.images[number], table.labels[number], table.drops[number], clusters[number]
            write([number, *known, round(float(x), 4), round(float(y), 4)])


def _at_most(features, k):
    return min(k, len(np.unique(features, axis=0)))


def _counts(clusters, labels):
    counts = np.zeros((clusters.max() + 1, NUM_GRADES), int)
    np.add.at(counts, (clusters, labels), 1)
    return counts


def _chi_square(counts):
    expected = np.outer(counts.sum(axis=1), counts.sum(axis=0)) / counts.sum()
    return float(np.sum(np.square(counts - expected)[expected > 0] / expected[expected > 0]))
