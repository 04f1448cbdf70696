"""The search for abnormal patches by networks that weren't trained on the photograph (P1 section 3.3)."""

import dataclasses

import numpy as np

from dr_keras.evaluation.model_evaluation import ModelEvaluation
from dr_keras.papers.alexnet import patches


@dataclasses.dataclass(frozen=True)
class PatchSearch:
    """What `search` returns.

    Attributes:
        evaluated: the photographs that were searched.
        patches: list of `patches.Patch`.
        scores: float64 (n,) of the photographs; `drops`: float32 (n, rows, columns), in the unit interval.
        layer, window: of the cells, and the windows' side in them.
        advice: a remark on the threshold, or "".
    """

    evaluated: ModelEvaluation
    patches: list
    scores: np.ndarray
    drops: np.ndarray
    layer: str
    window: int
    advice: str

    def above(self, threshold):
        """Returns the same search with another threshold, without merging windows that overlap."""
        found = patches.select(self.drops, threshold, self.window)
        advice = patches.advice(self.drops, threshold)
        return dataclasses.replace(self, patches=found, advice=advice)

    def write(self, output_dir):
        """Writes the patches and their table; see `patches.write_patches`. Returns the table's path."""
        prepared, indices = self.evaluated.prepared, self.evaluated.scores.indices
        views = [prepared.views[index] for index in indices]
        places = patches.boxes(self.patches, self.evaluated.model.networks[0], views, self.layer)
        records = [prepared.records[index] for index in indices]
        return patches.write_patches(
            output_dir, self.patches, places, records, self.evaluated.scored.labels, self.scores,
            prepared.image_size,
        )  # fmt: skip

    def summary(self):
        """Returns a phrase with the number of patches."""
        of = len({patch.position for patch in self.patches})
        return f"{len(self.patches)} patches of {of} among {len(self.scores)} photographs"


def search(evaluated, threshold=0.2, window=2, layer="pool5", merge=False, batch_size=32, progress=None):
    """Searches photographs for the windows without which their score falls.

    Args:
        evaluated: `ModelEvaluation`, the photographs with the networks that may judge each.
        threshold, window, merge: as for `patches.select`.
        layer, batch_size, progress: as for `patches.occlusion_drops`.

    Returns:
        `PatchSearch`.
    """
    scores, drops = patches.occlusion_drops(
        evaluated.model.networks, evaluated.prepared, evaluated.scores.indices, evaluated.scores.scored_by,
        window, layer, batch_size, progress,
    )  # fmt: skip
    found = patches.select(drops, threshold, window, merge)
    return PatchSearch(evaluated, found, scores, drops, layer, window, patches.advice(drops, threshold))
