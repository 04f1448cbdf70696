"""Which photographs a network has learnt from, also through the one that it started from, under any name."""

import numpy as np

from dr_keras.data.duplicates import match_duplicates
from dr_keras.errors import InputError
from dr_keras.training import run_folder
from dr_keras.training.division import HELD_OUT


def seen_by_start(start, prepared, inspections):
    """Positions of the photographs that the model to start from has learnt from, under any name."""
    splits = run_folder.read_splits(start.parent / run_folder.SPLIT)
    seen = np.array([splits.get(record.image) == "train" for record in prepared.records])
    unknown = [record.image not in splits for record in prepared.records]
    learnt = run_folder.read_seen(start.parent)
    if len(learnt) and inspections:
        prints = np.stack([one.fingerprint for one in inspections])
        for pair in match_duplicates(prints, learnt):
            seen[pair.first] |= unknown[pair.first]
    return np.flatnonzero(seen)


def learnt_fingerprints(inspections, assigned, start):
    """Fingerprints, in a list, of the photographs that a network and its start have learnt from."""
    learnt = np.isin(assigned, run_folder.SEEN)
    own = [one.fingerprint for one, is_learnt in zip(inspections, learnt) if is_learnt]
    before = run_folder.read_seen(start.parent) if start else []
    known = {pair.first for pair in match_duplicates(before, own)} if len(own) and len(before) else set()
    return [*own, *(one for number, one in enumerate(before) if number not in known)]


def check_start(init_from, seen, prepared, assigned):
    """Refuses a model to start from that has learnt from photographs that test or validate here."""
    leaked = [i for i in seen if assigned[i] in (HELD_OUT, "validation", "test")]
    if leaked:
        raise InputError(
            f"--init_from={init_from}: trained on {len(leaked)} photographs that are held out here, such as "
            f"{prepared.records[leaked[0]].image}; start from a run with the same data, folds and seed"
        )
