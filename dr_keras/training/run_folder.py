"""The files of a run folder: where they are, how they are read and written.

A *leaf* holds the files of one training: `model.keras` (best validation kappa), `best_loss.keras`,
`last.keras`, `split.csv`, `seen.npz`, `history.csv`, `metrics.json`, `tensorboard/`. A run of several sizes
has a folder per size (`128/`, `256/`), a run of folds a folder per fold (`fold_0/`), one inside the other.
At the top lie `run.cfg`, which reruns it, and `audit.json`.
"""

import contextlib
import fcntl
from pathlib import Path

import numpy as np

from dr_keras import files
from dr_keras.data.duplicates import FINGERPRINT_SIDE
from dr_keras.errors import InputError
from dr_keras.shipped import model_path

MODEL, SPLIT, FLAGS, METRICS, AUDIT = "model.keras", "split.csv", "run.cfg", "metrics.json", "audit.json"
INNER = "cross_validation.json"  # in a leaf: error in the training part, of fits without the patient
PRINTS = "seen.npz"  # in a leaf: fingerprints of the photographs that its network was trained or chosen on
SEEN = ("train", "validation")  # the splits that a network was trained or chosen on
UNKNOWN = "unknown"  # the split of a photograph that wasn't among the run's data
_COLUMNS = ("image", "patient", "level", "split")
_DEPTH = 4  # a file in a fold in a stage in a run


def fold_dir(stage_dir, fold):
    """Folder of one fold of a stage."""
    return Path(stage_dir) / f"fold_{fold}"


def stage_dir(run_dir):
    """Folder of a run's last stage: that of the largest image size, or the run folder itself."""
    sizes = [path for path in Path(run_dir).glob("[0-9]*") if path.is_dir() and path.name.isdigit()]
    return max(sizes, key=lambda path: int(path.name)) if sizes else Path(run_dir)


def fold_dirs(run_dir):
    """Folders of the folds of a run's last stage, in order; empty if it has none."""
    folders = (path for path in stage_dir(run_dir).glob("fold_*") if path.name[5:].isdigit())
    return sorted(folders, key=lambda path: int(path.name[5:]))


def find_model(path, fold=None):
    """Finds the model that `--model` or `--init_from` names: a file, or a run folder's best.

    Args:
        path: a `.keras` file, a leaf, a run folder, or the name of a grader that comes with the project.
        fold: where the run has folds, which one; a run without folds ignores it.

    Raises:
        InputError: if there is no model, or there are several and `fold` is None.
    """
    path = Path(model_path(path))
    if path.is_file():
        return path
    if not path.is_dir():
        raise InputError(f"{path}: no such model; expected a run folder or a .keras file")
    folds = fold_dirs(path)
    if folds and fold is None:
        raise InputError(f"{path}: holds {len(folds)} folds; name one of them, such as {folds[0]}")
    leaf = fold_dir(stage_dir(path), fold) if folds else stage_dir(path)
    if not (leaf / MODEL).is_file():
        raise InputError(
            f"{path}: no {MODEL} there; expected a run folder of scripts/train.py with a finished epoch"
        )
    return leaf / MODEL


def find_models(path):
    """Finds every model that `--model` names: one, or that of each fold; see `find_model`."""
    return [find_model(folder) for folder in fold_dirs(path)] or [find_model(path)]


def read_flags(path):
    """Flags of the run that a model, fold or folder belongs to: dict of name to text, empty if unknown."""
    path = Path(path).resolve()
    for folder in (path, *path.parents)[:_DEPTH]:
        if (folder / FLAGS).is_file():
            found = _flags((folder / FLAGS).read_text(encoding="utf-8"))
            return {name.removeprefix("--"): value for name, value in found.items()}
    return {}


def write_splits(path, records, splits):
    """Writes `split.csv`: image, patient, level, split of every record, atomically."""
    with files.csv_rows(path, _COLUMNS) as write:
        for record, split in zip(records, splits, strict=True):
            write([record.image, record.patient, record.grade, split])


def read_splits(path):
    """Reads `split.csv`: dict of image to split. Missing file: an empty dict."""
    return {row["image"]: row["split"] for row in _split_rows(path)}


def read_patients(path):
    """Reads `split.csv`: dict of image to patient. Missing file: an empty dict."""
    return {row["image"]: row["patient"] for row in _split_rows(path)}


def splits_of(path, records):
    """Splits that a `split.csv` gives to records, known by name and grade: array (n,), else "unknown"."""
    listed = {(row["image"], row["level"]): row["split"] for row in _split_rows(path)}
    names = [(record.image, "" if record.grade is None else str(record.grade)) for record in records]
    return np.array([listed.get(name, UNKNOWN) for name in names])


def write_seen(leaf, fingerprints):
    """Writes the fingerprints (`data.duplicates`) of the photographs that a leaf's network learns from.

    They make copies known under any name, in any size. Each value is kept as a whole number from -127 to 127.
    """
    prints = np.array(fingerprints, np.float32)
    scale = 127 / np.maximum(np.abs(prints).max(axis=1, keepdims=True), 1e-6)
    with files.atomic_path(Path(leaf) / PRINTS) as temporary, open(temporary, "wb") as file:
        np.savez_compressed(file, fingerprints=np.rint(prints * scale).astype(np.int8))


def read_seen(leaf):
    """Reads what `write_seen` wrote: float32 (photographs, values), each of norm 1. No file: no rows."""
    path = Path(leaf) / PRINTS
    if not path.exists():
        return np.zeros((0, FINGERPRINT_SIDE**2), np.float32)
    with np.load(path) as arrays:
        prints = arrays["fingerprints"].astype(np.float32)
    return prints / np.maximum(np.linalg.norm(prints, axis=1, keepdims=True), 1e-6)


def claim_run_dir(run_dir, flagfile):
    """Makes a run folder and writes its `run.cfg`, or checks that it belongs to the same flags.

    A folder in which nothing was trained yet (a flag was wrong) may be taken by other flags.

    Args:
        run_dir: the folder.
        flagfile: text of the flags, one a line.

    Raises:
        InputError: if the folder belongs to other flags (each is named), or isn't a run folder.
    """
    run_dir = Path(run_dir)
    path = run_dir / FLAGS
    if not path.exists():
        if run_dir.exists() and (not run_dir.is_dir() or any(run_dir.iterdir())):
            raise InputError(
                f"--run_dir={run_dir}: not empty and no run folder (it has no {FLAGS}); name another"
            )
        files.write_text(path, flagfile)
        return
    before, now = _flags(path.read_text(encoding="utf-8")), _flags(flagfile)
    differing = [name for name in {**before, **now} if before.get(name) != now.get(name)]
    if differing and all(item.name in (FLAGS, AUDIT) for item in run_dir.iterdir()):
        files.write_text(path, flagfile)
    elif differing:
        changes = ", ".join(
            f"{name}: {before.get(name)} there, {now.get(name)} now" for name in sorted(differing)
        )
        raise InputError(f"--run_dir={run_dir}: belongs to other flags ({changes}); name another folder")


@contextlib.contextmanager
def held(run_dir):
    """Holds a claimed run folder against other trainings while the block runs.

    Raises:
        InputError: if another training is running in it.
    """
    with open(Path(run_dir) / FLAGS, "rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise InputError(
                f"--run_dir={run_dir}: another training is running in it; wait for it, or name another folder"
            ) from None
        except OSError:  # some network drives have no locks
            pass
        yield


def check_report_dir(output_dir):
    """Raises `InputError` if a report written to `output_dir` would take the place of a run's own."""
    if (Path(output_dir) / FLAGS).exists() or (Path(output_dir) / SPLIT).exists():
        raise InputError(f"--output_dir={output_dir}: holds a run and its own report; name another folder")


def _split_rows(path):
    try:
        return [row for _, row in files.read_csv(path)[1]]
    except FileNotFoundError:
        return []


def _flags(text):
    lines = [line.strip() for line in text.splitlines() if line.strip().startswith("--")]
    return dict(line.split("=", 1) if "=" in line else (line, "true") for line in lines)
