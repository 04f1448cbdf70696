"""Scores of a dataset's photographs, each by the networks that were neither trained nor chosen on it."""

import collections
import dataclasses

import numpy as np

from dr_keras.errors import InputError
from dr_keras.training import run_folder

_AUTO = ("held_out", "test", "validation")


@dataclasses.dataclass(frozen=True)
class SplitScores:
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


def score_split(grader, prepared, split="auto", batch_size=32, progress=None):
    """Scores the graded photographs of a split.

    Photographs that a run knows have the split of its `split.csv`; those of a dataset that it doesn't know,
    the dataset's own. Where the run has folds, a photograph's score is the mean over the networks that were
    neither trained nor chosen on it: its own fold's for the run's photographs, all for others.

    Args:
        grader: `Grader`.
        prepared: `PreparedDataset` of the grader's image size.
        split: "all", "train", "validation", "test", "held_out", or "auto": what the model was never trained
            on, that is the first of held_out, test and validation that isn't empty, else, of a dataset that
            the run doesn't know, all.
        batch_size: photographs in a batch.
        progress: wraps the iteration over batches as `tqdm.tqdm` does, called with `total`.

    Returns:
        `SplitScores`.

    Raises:
        InputError: if no photograph of the split has a grade.
    """
    known = _known_splits(grader, prepared)
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
    for network, theirs in enumerate(scored_by):
        total[theirs] += _score(grader, network, prepared, indices[theirs], batch_size, progress)
    scores = total / scored_by.sum(axis=0)
    return SplitScores(indices, scores, name, is_run_data, int(chosen.sum() - len(indices)), scored_by)


def _known_splits(grader, prepared):
    """The split that each network's `split.csv` gives to each photograph: array (networks, photographs)."""
    if not grader.model_files:  # an exported model, which doesn't know what it was trained on
        return np.full((grader.num_networks, len(prepared)), run_folder.UNKNOWN)
    tables = [path.parent / run_folder.SPLIT for path in grader.model_files]
    return np.stack([run_folder.splits_of(table, prepared.records) for table in tables])


def _score(grader, network, prepared, indices, batch_size, progress):
    starts = range(0, len(indices), batch_size)
    batches = progress(starts, total=len(starts)) if progress else starts
    chosen = (indices[start : start + batch_size] for start in batches)
    parts = [grader.score_prepared(prepared.read(positions), network) for positions in chosen]
    return np.concatenate(parts) if parts else np.zeros(0)


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
