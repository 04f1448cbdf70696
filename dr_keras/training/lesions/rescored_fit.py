"""A lesion network whose segmentation is another's and whose score is fitted to a clinic's own grades."""

import dataclasses
from pathlib import Path

import numpy as np

from dr_keras.errors import InputError
from dr_keras.files import atomic_path, write_text
from dr_keras.models.grader_model import load_model, network_of
from dr_keras.models.lesion_nets import SEGMENTER
from dr_keras.training.build import build_model
from dr_keras.training.lesions.masked_splits import MASKED_SPLIT
from dr_keras.training.lesions.score_fit import OF_HEALTHY, ScoreFit
from dr_keras.training.protocol import FitResult
from dr_keras.training.run_folder import MODEL


class RescoredFit:
    """Takes over a segmentation, and fits to the task's photographs what stands behind it; a `FitProtocol`.

    It needs grades alone, no masks, and minutes: from which probability on a pixel counts, how much each kind
    of lesion adds, and the second term are those of the cameras and graders at hand. Healthy photographs that
    the segmentation has learnt from don't judge it.

    Args:
        task: `FitTask` whose `init_from` is a lesion network.

    Raises:
        InputError: if `init_from` has no segmentation.
    """

    def __init__(self, task):
        self._task, self._start = task, Path(task.init_from)
        start = network_of(load_model(self._start))
        if SEGMENTER not in [layer.name for layer in start.layers]:
            raise InputError(
                f"--init_from={self._start}: has no segmentation of lesions; expected a lesion network's run"
            )
        # In float32, scores are the same on every machine.
        config = dataclasses.replace(task.config, precision="float32")
        self.grader = build_model(config, task.prepared, task.training)
        segmentation = start.get_layer(SEGMENTER).get_weights()
        network_of(self.grader).get_layer(SEGMENTER).set_weights(segmentation)
        healthy = np.array([i for i in task.training if task.prepared.grades[i] == 0], int)
        seen = np.isin(healthy, task.seen_by_start)
        judges = ~seen & (task.groups_of(healthy) % OF_HEALTHY == 0)
        self._score = ScoreFit(task, healthy[seen], healthy[judges])

    def run(self):
        """Fits the score; returns a `FitResult`."""
        task = self._task
        task.hooks.say(
            f"{task.run_dir}: segmentation taken over from {self._start}; only the score is fitted"
        )
        scores = self._score.run(self.grader)
        masked = self._start.parent / MASKED_SPLIT  # evaluations of maps leave out what it was trained on
        if masked.is_file():
            write_text(Path(task.run_dir) / MASKED_SPLIT, masked.read_text(encoding="utf-8"))
        with atomic_path(Path(task.run_dir) / MODEL) as temporary:
            self.grader.save(temporary)
        return FitResult([], scores)
