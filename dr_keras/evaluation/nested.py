"""A figure for a recipe that was chosen among several: the choice is made anew inside each fold."""

import json

import numpy as np

from dr_keras.errors import InputError
from dr_keras.evaluation.predictions import PREDICTIONS, read_predictions
from dr_keras.training import run_folder


def choose_inside_folds(runs):
    """Takes, for each fold, the scores of the run that was best on the fold's training part.

    The best of several figures on the same photographs flatters: it was chosen by them. Here photographs have
    no part in the choice of the run that judges them.

    Args:
        runs: run folders with the same folds, whose fits left out patients in turn (`run_folder.INNER`).

    Returns:
        (dict of arrays as from `read_predictions`, of all held-out photographs; list of the run chosen for
        each fold).

    Raises:
        InputError: if a run has no folds or no such errors, or the runs' folds differ.
    """
    folds = [run_folder.fold_dirs(run) for run in runs]
    for run, leaves in zip(runs, folds, strict=True):
        missing = [leaf for leaf in leaves if not (leaf / run_folder.INNER).is_file()]
        if not leaves or missing:
            raise InputError(
                f"{missing[0] if missing else run}: expected a finished run of several folds, each with "
                f"{run_folder.INNER}, as --optimizer=ridge and --head=lesions leave it"
            )
        if len(leaves) != len(folds[0]):
            raise InputError(
                f"{run}: has {len(leaves)} folds, {runs[0]} has {len(folds[0])}; expected the same"
            )
    chosen, tables = [], []
    for number, leaves in enumerate(zip(*folds, strict=True)):
        errors = [json.loads((leaf / run_folder.INNER).read_text())["squared_error"] for leaf in leaves]
        judged = [read_predictions(leaf / PREDICTIONS) for leaf in leaves]
        for run, table in zip(runs, judged, strict=True):
            if sorted(table["image"]) != sorted(judged[0]["image"]):
                raise InputError(
                    f"{run}: fold {number} holds out other photographs than {runs[0]}'s; expected the same "
                    "data, --folds and --seed"
                )
        best = int(np.argmin(errors))
        chosen.append(str(runs[best]))
        tables.append(judged[best])
    return {name: np.concatenate([table[name] for table in tables]) for name in tables[0]}, chosen
