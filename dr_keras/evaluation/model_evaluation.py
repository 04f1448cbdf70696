"""A model together with the photographs that it was judged on, ready to be reported."""

import dataclasses

from dr_keras.data.shards import PreparedDataset
from dr_keras.evaluation.crossfit import EvaluationSet
from dr_keras.inference.grader import Grader, load_grader
from dr_keras.inference.split_scores import SplitScores, score_split
from dr_keras.training import run_folder


@dataclasses.dataclass(frozen=True)
class ModelEvaluation:
    """What `evaluate_model` returns.

    Attributes:
        path: what names the model.
        model: `Grader`.
        prepared: `PreparedDataset` of its image size.
        scores: `SplitScores` of its photographs; `scored`: the same as names, patients, grades and scores.
    """

    path: str
    model: Grader
    prepared: PreparedDataset
    scores: SplitScores
    scored: EvaluationSet

    def photographs(self):
        """Which photographs were graded, and by whom, in words."""
        scores, number = self.scores, self.model.num_networks
        words = f"{len(scores.indices)} photographs, split {scores.split}"
        if scores.ungraded:
            words += f" ({scores.ungraded} without a grade left out)"
        if not scores.is_run_data:
            words += "; none is in the model's split.csv, so all count as new to it"
        if scores.copies:
            words += f"; {scores.copies} left out as copies of photographs that the model learnt from"
        if number == 1:
            return words
        how = "those that weren't trained on it" if scores.is_run_data else "all, averaged"
        return f"{words}; {number} networks, one per fold: each photograph is graded by {how}"

    def facts(self):
        """What a report says of model and photographs: dict of text to text."""
        of_run = run_folder.read_flags(self.path)
        size, root = f"{self.model.image_size} px", self.prepared.root
        facts = {
            "Model": str(self.path),
            "Network": " at ".join([*filter(None, [of_run.get("architecture")]), size]),
            "Data": self.prepared.name,
            "Photographs": self.photographs(),
            "Patients": str(len(set(self.scored.patients))),
        }
        if (self.scored.patients == self.scored.images).all():
            facts["Patients"] = "not told by the dataset: every photograph counts as a patient of its own"
        if root:
            facts["Folder"] = str(root)
        if self.prepared.unreadable:
            facts["Left out"] = f"{len(self.prepared.unreadable)} files that can't be read"
        return facts


def evaluate_model(path, open_prepared, split="auto", batch_size=32, progress=None, thresholds=None):
    """Loads a model and scores a split of the photographs.

    Args:
        path: see `load_grader`.
        open_prepared: as for `Grader.open`.
        split, batch_size, progress: as for `score_split`.
        thresholds: four cuts in place of the model's own, or None.

    Returns:
        `ModelEvaluation`.

    Raises:
        InputError: if there is no such model, or no photograph of the split has a grade.
    """
    model = load_grader(path, thresholds)
    prepared = model.open(open_prepared)
    scores = score_split(model, prepared, split, batch_size, progress)
    records = [prepared.records[index] for index in scores.indices]
    scored = EvaluationSet(
        images=[record.image for record in records],
        patients=[record.patient for record in records],
        labels=prepared.grades[scores.indices],
        scores=scores.scores,
    )
    return ModelEvaluation(path, model, prepared, scores, scored)
