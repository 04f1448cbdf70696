"""Scores of a dataset's photographs by networks that were neither trained nor selected on them."""

import collections
import dataclasses

import numpy as np

from dr_keras.data.duplicates import match_duplicates
from dr_keras.data.inspection import inspect_prepared
from dr_keras.errors import InputError
from dr_keras.training import run_folder

_AUTO = ("held_out", "test", "validation")


@dataclasses.dataclass(frozen=True)
class SplitScores:
    """What `score_split` returns.

    Attributes:
        indices: int array (n,): positions of the scored photographs in the dataset, fold by fold.
        scores: float64 (n,), in grade units.
        split: name of the photographs' split; for "auto", the name of the split that was taken.
        is_run_data: whether the model was trained on this dataset.
        ungraded: number of photographs of the split that have no true grade and were left out.
        copies: number of photographs left out since, under other names, every network learnt from them.
        scored_by: bool (networks, n): the networks whose mean each score is.
    """

    indices: np.ndarray
    scores: np.ndarray
    split: str
    is_run_data: bool
    ungraded: int
    copies: int
    scored_by: np.ndarray


def score_split(grader, prepared, split="auto", batch_size=32, progress=None):
    """Scores the graded photographs of a split.

    The splits are those of the run's `split.csv` or, for a dataset that the model wasn't trained on, the
    dataset's own. For a run with folds, a photograph's score is the mean over the networks that were neither
    trained nor selected on it: one network for photographs of the run's dataset, all for others.

    Of another dataset, photographs that show the same picture or eye as one that a network learnt from, found
    by their pixels (`run_folder.read_seen`), count as seen by that network; those that all networks saw are
    left out.

    Args:
        grader: `Grader`.
        prepared: `PreparedDataset` of the grader's image size.
        split: "all", "train", "validation", "test", "held_out" or "auto". "auto" takes the photographs that
            the model wasn't trained on: the first of held_out, test and validation that isn't empty, or all
            photographs of a dataset without these splits that the model wasn't trained on.
        batch_size: number of photographs in a batch.
        progress: wraps the iteration over batches as `tqdm.tqdm` does; called with `total`.

    Returns:
        `SplitScores`.

    Raises:
        InputError: if no photograph of the split has a true grade.
    """
    known = _known_splits(grader, prepared)
    is_run_data = bool((known != run_folder.UNKNOWN).any())
    splits = (
        _merge(known, prepared) if is_run_data else np.array([record.split for record in prepared.records])
    )
    name, chosen = _choose(splits, split, is_run_data)
    copied = _copies(grader, prepared, known)
    copies = chosen & copied.all(axis=0)
    if copies.any() and (copies == chosen).all():
        raise InputError(
            f"--split={split}: all {copies.sum()} photographs are copies of those that the model learnt from"
        )
    chosen &= ~copies
    indices = np.flatnonzero(chosen & (prepared.grades >= 0))
    if not len(indices):
        raise InputError(
            f"--split={split}: none of the {np.sum(chosen)} photographs of the split has a grade"
        )
    seen = np.isin(known, run_folder.SEEN) | copied
    scored_by = ~seen if len(known) > 1 else np.ones_like(known, bool)
    indices = indices[np.argsort(scored_by[:, indices].argmax(axis=0), kind="stable")]
    scored_by = scored_by[:, indices]
    total = np.zeros(len(indices))
    for network, theirs in enumerate(scored_by):
        total[theirs] += _score(grader, network, prepared, indices[theirs], batch_size, progress)
    scores = total / scored_by.sum(axis=0)
    ungraded = int(chosen.sum() - len(indices))
    return SplitScores(indices, scores, name, is_run_data, ungraded, int(copies.sum()), scored_by)


def _known_splits(grader, prepared):
    """Returns the split that each network's `split.csv` gives to each photograph: (networks, photographs)."""
    if not grader.model_files:  # an exported model has no list of the photographs that it was trained on
        return np.full((grader.num_networks, len(prepared)), run_folder.UNKNOWN)
    tables = [path.parent / run_folder.SPLIT for path in grader.model_files]
    return np.stack([run_folder.splits_of(table, prepared.records) for table in tables])


def _copies(grader, prepared, known):
    """Which photographs, unknown by name, a network learnt from under other ones: bool (networks, n)."""
    copied = np.zeros(known.shape, bool)
    unknown = np.flatnonzero((known == run_folder.UNKNOWN).all(axis=0))
    seen = [run_folder.read_seen(path.parent) for path in grader.model_files]
    if not len(unknown) or not any(map(len, seen)):
        return copied
    prints = np.stack([one.fingerprint for one in inspect_prepared(prepared)])[unknown]
    for row, learnt in zip(copied, seen, strict=True):
        row[unknown[[pair.first for pair in match_duplicates(prints, learnt)]]] = True
    return copied


def _score(grader, network, prepared, indices, batch_size, progress):
    starts = range(0, len(indices), batch_size)
    batches = progress(starts, total=len(starts)) if progress else starts
    chosen = (indices[start : start + batch_size] for start in batches)
    parts = [grader.score_prepared(prepared.read(positions), network) for positions in chosen]
    return np.concatenate(parts) if parts else np.zeros(0)


def _merge(known, prepared):
    """Returns one split per photograph, from the splits (networks, photographs) of the run's folds."""
    if len(known) == 1:
        return known[0]
    # Photographs that no fold holds out weren't used: they are the dataset's test split, or were left out.
    official = [record.split if record.split == "test" else "" for record in prepared.records]
    return np.where((known == "held_out").any(axis=0), "held_out", official)


def _choose(splits, split, is_run_data):
    """Returns the split's name, with "auto" resolved, and bool (n,): which photographs are in the split."""
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
