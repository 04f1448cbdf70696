"""Abnormal patches: windows of a photograph that lower the score when hidden (P1 section 3.3)."""

import dataclasses
from pathlib import Path

import cv2
import numpy as np

from dr_keras import files
from dr_keras.data import decoding
from dr_keras.data.duplicates import connect
from dr_keras.data.synthetic import draw_named, is_synthetic
from dr_keras.explain.activations import cell_grid, layer_output
from dr_keras.explain.occlusion import occlusion_map
from dr_keras.grades import NUM_GRADES
from dr_keras.models.grader_model import network_and_front

TABLE = "patches.csv"
COLUMNS = ("patch", "image", "label", "score", "score_drop", "top", "left", "height", "width")
FEW, MANY = 0.0, 0.9  # shares of windows above the threshold that count as none and as nearly all
_USUAL_SHARE = 0.05  # share of windows that a suggested threshold selects


@dataclasses.dataclass(frozen=True)
class Patch:
    """A window, or the smallest box around overlapping windows, that lowers the score when hidden.

    Attributes:
        position: position of the photograph among those searched.
        drop: by how much the score falls, in units of the sigmoid's output from 0 to 1, where a grade is
            0.25; for merged windows, the largest of their drops.
        cells: (top, left, height, width) in cells of the layer.
    """

    position: int
    drop: float
    cells: tuple


def occlusion_drops(
    graders, prepared, indices, scored_by, window=2, layer="pool5", batch_size=32, progress=None
):
    """Computes scores and drops, each the mean over the graders that weren't trained on the photograph.

    Args:
        graders: list of graders.
        prepared: `PreparedDataset` of the graders' image size.
        indices: int array (n,): positions of the photographs in the dataset.
        scored_by: bool (graders, n): which graders score each photograph.
        window, layer: as for `occlusion_map`, with a stride of one cell.
        batch_size: number of photographs in a batch.
        progress: wraps the iteration over batches as `tqdm.tqdm` does; called with `total`.

    Returns:
        scores: float64 (n,), in grade units.
        drops: float32 (n, rows, columns), in units of the sigmoid's output: grade units / 4.
    """
    starts = range(0, len(indices), batch_size)
    scores, drops = np.zeros(len(indices)), None
    for start in progress(starts, total=len(starts)) if progress else starts:
        batch = slice(start, start + batch_size)
        images = prepared.read(indices[batch])
        for grader, chosen in zip(graders, scored_by[:, batch], strict=True):
            if not chosen.any():
                continue
            own_scores, own_drops = occlusion_map(grader, images[chosen], window, 1, layer)
            if drops is None:
                drops = np.zeros((len(indices), *own_drops.shape[1:]), "float32")
            scores[batch][chosen] += own_scores
            drops[batch][chosen] += own_drops
    voters = scored_by.sum(axis=0)
    return scores / voters, drops / voters[:, None, None] / (NUM_GRADES - 1)


def select(drops, threshold=0.2, window=2, merge=False):
    """Finds the windows whose drop exceeds a threshold.

    Args:
        drops: (n, rows, columns), from `occlusion_drops`.
        threshold: least drop, in units of the sigmoid's output; 0.2 in P1.
        window: side of the windows, in cells.
        merge: whether overlapping windows become one patch, the smallest box around them.

    Returns:
        List of `Patch`, by photograph, then by row and column.
    """
    patches = []
    for position, own in enumerate(drops):
        found = np.argwhere(own > threshold)
        groups = _overlapping(found, window) if merge else np.arange(len(found))
        for group in np.unique(groups):
            cells = found[groups == group]
            (top, left), (bottom, right) = cells.min(axis=0), cells.max(axis=0) + window
            drop = max(float(own[tuple(cell)]) for cell in cells)
            patches.append(Patch(position, drop, (int(top), int(left), int(bottom - top), int(right - left))))
    return patches


def _overlapping(found, window):
    pairs = [
        (first, second)
        for first in range(len(found))
        for second in range(first + 1, len(found))
        if np.abs(found[first] - found[second]).max() < window
    ]
    return np.asarray(connect(len(found), pairs))


def advice(drops, threshold):
    """Returns a remark with a better threshold if this one selects no window or nearly all; otherwise ""."""
    share = float(np.mean(drops > threshold))
    if FEW < share < MANY:
        return ""
    quantile = share_threshold(drops)
    which = "none" if share <= FEW else f"{100 * share:.0f} %"
    return (
        f"--threshold={threshold:g} selects {which} of {drops.size} windows; "
        f"--threshold={quantile:.3g} would select {100 * _USUAL_SHARE:.0f} %"
    )


def share_threshold(drops):
    """Returns the threshold that selects one window in twenty."""
    return float(np.quantile(drops, 1 - _USUAL_SHARE))


def boxes(patches, grader, views, layer="pool5"):
    """Finds where patches lie in their photographs.

    A cell covers a square around the centre of its receptive field, as wide as the distance between cells.

    Args:
        patches: list of `Patch`.
        grader: grader with the layer that the patches' cells belong to.
        views: `FieldOfView` of each photograph that was searched.
        layer: name of the layer.

    Returns:
        List of (top, left, height, width), in whole pixels of the photograph, clipped to it.
    """
    grid = cell_grid(grader, layer_output(network_and_front(grader)[0], layer))
    found = []
    for patch in patches:
        view = views[patch.position]
        scale = 2 * view.radius / grid.image_size
        corner, size = (view.center_y - view.radius, view.center_x - view.radius), []
        for axis, limit in enumerate((view.image_height, view.image_width)):
            start = grid.offset[axis] + grid.step[axis] * (patch.cells[axis] - 0.5)
            edges = corner[axis] + scale * np.array([start, start + grid.step[axis] * patch.cells[axis + 2]])
            low, high = np.clip(np.round(edges), 0, limit).astype(int)
            size.append((min(low, limit - 1), max(high, low + 1)))
        (top, bottom), (left, right) = size
        found.append((int(top), int(left), int(bottom - top), int(right - left)))
    return found


def read_original(record, image_size):
    """Reads the original photograph of a prepared image: uint8 (height, width, 3), RGB."""
    if is_synthetic(record.path):
        return draw_named(record.path, image_size).image
    return decoding.read_image(record.path)


def write_patches(output_dir, patches, places, records, labels, scores, image_size):
    """Cuts patches from their photographs; writes `patches/*.png`, and `patches.csv` on each of them.

    Args:
        output_dir: folder.
        patches: list of `Patch`, by photograph.
        places: as from `boxes`.
        records, labels, scores: `Record`, true grade and score of each photograph that was searched.
        image_size: of the graders.

    Returns:
        Path of the table.
    """
    output_dir, rows, position, photograph = Path(output_dir), [], None, None
    for number, (patch, (top, left, height, width)) in enumerate(zip(patches, places, strict=True)):
        record = records[patch.position]
        if patch.position != position:
            position, photograph = patch.position, read_original(record, image_size)
        name = f"patches/{number:05d}.png"
        with files.atomic_path(output_dir / name) as temporary:
            cut = photograph[top : top + height, left : left + width]
            temporary.write_bytes(cv2.imencode(".png", cut[..., ::-1])[1].tobytes())
        known = (record.image, int(labels[position]), float(scores[position]), round(patch.drop, 6))
        rows.append([name, *known, top, left, height, width])
    with files.csv_rows(output_dir / TABLE, COLUMNS) as write:
        for row in rows:
            write(row)
    return output_dir / TABLE
