"""Scores of photographs by a model: one network, or the networks of a run's folds together."""

import collections
import dataclasses
import functools

import numpy as np

from dr_keras.data.fundus import FieldOfView
from dr_keras.data.normalization import check_steps
from dr_keras.data.parallel import batches_ahead
from dr_keras.data.preparation import prepare_or_reason
from dr_keras.data.quality import gradability
from dr_keras.errors import InputError
from dr_keras.inference.graded import Graded
from dr_keras.models.grader import load_grader
from dr_keras.training import run_folder
from dr_keras.training.scoring import Scorer, scoring_step

_AUTO = ("held_out", "test", "validation")


class GradingModel:
    """What `--model` names: the network of a file or run, or those of a run's folds.

    Args:
        path: a `.keras` file or a run folder.

    Attributes:
        paths: of the model files.
        graders: the loaded networks, in the same order.
        image_size: side of the images that they take, in pixels.
        normalization: tuple of the steps (`data.normalization`) that the run's photographs went through.

    Raises:
        InputError: if there is no model, or none that this project saved.
    """

    def __init__(self, path):
        self.paths = run_folder.find_models(path)
        self.graders = [load_grader(model) for model in self.paths]
        self.image_size = self.graders[0].input_shape[1]
        named = run_folder.read_flags(path).get("normalization", "")
        self.normalization = check_steps(filter(None, named.split(",")))

    def open(self, open_prepared):
        """Opens photographs as the model takes them.

        Args:
            open_prepared: called with an image size, and with `steps` where there are any; returns the
                `PreparedDataset`.
        """
        return open_prepared(self.image_size, **({"steps": self.normalization} if self.normalization else {}))

    def scoring_steps(self):
        """Functions of prepared images (batch, size, size, 3) to scores (batch,), one for each network."""
        return [scoring_step(grader) for grader in self.graders]


@dataclasses.dataclass(frozen=True)
class Scores:
    """What `score_split` returns.

    Attributes:
        indices: int array (n,): positions of the scored photographs in the dataset, fold by fold.
        scores: float64 (n,), in grade units.
        split: the split that they make up; for `auto` the one chosen.
        is_run_data: whether the dataset is the one that the model was trained on.
        ungraded: how many photographs of the split have no grade and were left out.
        scored_by: bool (networks, n): which networks each score is the mean of.
    """

    indices: np.ndarray
    scores: np.ndarray
    split: str
    is_run_data: bool
    ungraded: int
    scored_by: np.ndarray


def score_split(model, prepared, split="auto", batch_size=32, progress=None):
    """Scores the graded photographs of a split.

    Photographs that a run knows have the split of its `split.csv`; those of a dataset that it doesn't know,
    the dataset's own. Where the run has folds, a photograph's score is the mean over the networks that were
    neither trained nor chosen on it: its own fold's for the run's photographs, all for others.

    Args:
        model: `GradingModel`.
        prepared: `PreparedDataset` of the model's image size.
        split: "all", "train", "validation", "test", "held_out", or "auto": what the model was never trained
            on, that is the first of held_out, test and validation that isn't empty, else, of a dataset that
            the run doesn't know, all.
        batch_size: photographs in a batch.
        progress: wraps the iteration over batches as `tqdm.tqdm` does, called with `total`.

    Returns:
        `Scores`.

    Raises:
        InputError: if no photograph of the split has a grade.
    """
    known = np.stack(
        [run_folder.splits_of(path.parent / run_folder.SPLIT, prepared.records) for path in model.paths]
    )
    is_run_data = bool((known != run_folder.UNKNOWN).any())
    splits = (
        _merge(known, prepared) if is_run_data else np.array([record.split for record in prepared.records])
    )
    name, chosen = _choose(splits, split, is_run_data)
    indices = np.flatnonzero(chosen & (prepared.grades >= 0))
    if not len(indices):
        raise InputError(
            f"--split={split}: none of the {np.sum(chosen)} photographs of the split has a grade"
        )
    scored_by = ~np.isin(known, run_folder.SEEN) if len(known) > 1 else np.ones_like(known, bool)
    indices = indices[np.argsort(scored_by[:, indices].argmax(axis=0), kind="stable")]
    scored_by = scored_by[:, indices]
    total = np.zeros(len(indices))
    for grader, theirs in zip(model.graders, scored_by, strict=True):
        total[theirs] += Scorer(grader, prepared, batch_size)(indices[theirs], progress)
    scores = total / scored_by.sum(axis=0)
    return Scores(indices, scores, name, is_run_data, int(chosen.sum() - len(indices)), scored_by)


def _merge(known, prepared):
    """One split for each photograph of a run, from those (networks, photographs) that its folds give it."""
    if len(known) == 1:
        return known[0]
    # What no fold holds out was used by none: the dataset's own test split, or left out.
    official = [record.split if record.split == "test" else "" for record in prepared.records]
    return np.where((known == "held_out").any(axis=0), "held_out", official)


def _choose(splits, split, is_run_data):
    """Returns the name of a split that isn't "auto", and bool (n,): the photographs in it."""
    if split == "auto":
        unseen = [name for name in _AUTO if name in splits]
        split = unseen[0] if unseen else "train" if is_run_data else "all"
        if split == "train":
            raise InputError(
                "--split=auto: the model was trained on all of these photographs; expected --split=train"
            )
    chosen = np.isin(splits, (split,)) if split != "all" else np.ones(len(splits), bool)
    if not chosen.any():
        there = ", ".join(
            f"{name or 'none'} ({n})" for name, n in sorted(collections.Counter(splits.tolist()).items())
        )
        raise InputError(f"--split={split}: no photograph has this split; splits of the photographs: {there}")
    return split, chosen


def score_files(model, paths, batch_size=32):
    """Scores photographs, each prepared as for training; by all networks of the model, averaged.

    Args:
        model: `GradingModel`, or another with `image_size`, `normalization` and `scoring_steps`.
        paths: files.
        batch_size: photographs in a batch.

    Yields:
        `Graded` of each file, in order.
    """
    steps = model.scoring_steps()
    prepare = functools.partial(_prepare_and_judge, image_size=model.image_size, steps=model.normalization)
    for batch in batches_ahead(prepare, paths, batch_size):
        images = [prepared.pixels for _, (prepared, _, _) in batch if prepared is not None]
        scores = iter(_mean_scores(steps, np.stack(images)) if images else ())
        for path, (prepared, reason, fault) in batch:
            score = float("nan") if prepared is None else float(next(scores))
            yield Graded(path, score, reason, fault=fault)


def _prepare_and_judge(path, image_size, steps):
    prepared, reason = prepare_or_reason(path, image_size)
    if prepared is None:
        return None, reason, None
    circle = FieldOfView.of_square(image_size, prepared.field_of_view.found)
    fault = gradability(prepared.pixels, circle)[1]  # of the photograph as it was taken
    return (prepare_or_reason(path, image_size, steps)[0] if steps else prepared), "", fault


def _mean_scores(steps, images):
    return sum(step(images).numpy().astype("float64") for step in steps) / len(steps)


def normalization_of(models):
    """The normalisation that several `GradingModel`s share; `InputError` if they don't."""
    found = {model.normalization for model in models}
    if len(found) > 1:
        words = " and ".join(",".join(steps) or "none" for steps in sorted(found))
        raise InputError(f"models trained with --normalization={words} can't be shown in one map")
    return found.pop()


def graders_of(models, networks):
    """Picks of each `GradingModel` the graders at the given positions: list of lists."""
    return [[model.graders[k] for k in chosen] for model, chosen in zip(models, networks, strict=True)]
