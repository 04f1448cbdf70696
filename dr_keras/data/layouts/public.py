"""Readers of the public datasets, each in the folders its owners hand out."""

from dr_keras.data.layouts.label_files import Label, eye_of, parse_grade, read_list, read_rows, without_suffix
from dr_keras.data.layouts.photograph_files import PhotographIndex, make_records, missing_note

_IDRID_GRADING = "B. Disease Grading"
_IDRID_SPLITS = {
    "train": ("a. Training Set", "a. *Training*.csv"),
    "test": ("b. Testing Set", "b. *Testing*.csv"),
}
_DDR_SPLITS = {"train": "train", "valid": "validation", "test": "test"}
_APTOS_DIVIDED = {
    ("train_1.csv", "train_images"): "train",
    ("valid.csv", "val_images"): "validation",
    ("test.csv", "test_images"): "test",
}
_DEEPDRID_SPLITS = {"training": "train", "validation": "validation"}
_DEEPDRID_LEVELS = {"left": "left_eye_DR_Level", "right": "right_eye_DR_Level"}
_UNGRADABLE = "5"


def find_idrid(root):
    """Returns the folder of IDRiD's grading part in `root`, or None."""
    folders = (root / _IDRID_GRADING, root)
    return next((f for f in folders if (f / "1. Original Images").is_dir() and _idrid_labels(f)), None)


def read_idrid(root):
    """Reads IDRiD's "B. Disease Grading", training and testing set where present.

    Both sets number their photographs from 001, so only the path tells them apart.
    """
    folder = find_idrid(root)
    records, notes = [], []
    for split, path in _idrid_labels(folder).items():
        rows = read_rows(path, ("Image name", "Retinopathy grade"))
        labels = [Label(row, row["Image name"], row.grade("Retinopathy grade"), split=split) for row in rows]
        _append(records, notes, root, labels, folder / "1. Original Images" / _IDRID_SPLITS[split][0], path)
    return records, notes


def find_eyepacs(root):
    """Returns EyePACS's label file in `root`, or None."""
    return _existing(root / "trainLabels.csv")


def read_eyepacs(root):
    """Reads EyePACS (Kaggle 2015): `<patient>_left|right` in `train/` and `test/`, or beside the labels."""
    records, notes = [], []
    tables = {"train": root / "trainLabels.csv", "test": root / "retinopathy_solution.csv"}
    for split, path in tables.items():
        if not path.is_file():
            continue
        rows = read_rows(path, ("image", "level"), optional=("Usage",))
        labels = [Label(r, r["image"], r.grade("level"), *eye_of(r["image"]), split=split) for r in rows]
        folder = root / split if (root / split).is_dir() else root
        _append(records, notes, root, labels, folder, path)
        usage = [row["Usage"].lower() for row in rows]
        if any(usage):
            counts = f"{usage.count('public')} Public, {usage.count('private')} Private"
            notes.append(f"{path.name}: Usage {counts}; both are the test split")
    if (root / "test").is_dir() and not tables["test"].is_file():
        notes.append("test/ is left out: its labels, retinopathy_solution.csv, aren't there")
    return records, notes


def find_aptos(root):
    """Returns {(label file, folder of photographs): split} of APTOS in `root`; empty if it isn't there."""
    divided = {(root / table, root / folder): split for (table, folder), split in _APTOS_DIVIDED.items()}
    whole = {(root / "train.csv", root / "train_images"): "train"}
    parts = divided if (root / "train_1.csv").is_file() else whole
    return {
        (table, folder): split
        for (table, folder), split in parts.items()
        if table.is_file() and folder.is_dir()
    }


def read_aptos(root):
    """Reads APTOS 2019 (Kaggle): `train.csv` and `train_images/`, as its test labels were never published.

    Or its labelled part as divided again on Kaggle into `train_1.csv`, `valid.csv` and `test.csv`.
    """
    records, notes = [], []
    for (path, folder), split in find_aptos(root).items():
        rows = read_rows(path, ("id_code", "diagnosis"))
        labels = [Label(row, row["id_code"], row.grade("diagnosis"), split=split) for row in rows]
        _append(records, notes, root, labels, folder, path)
    return records, notes


def find_deepdrid(root):
    """Returns the folder of DeepDRiD's regular photographs in `root`, or None."""
    folders = (root / "regular_fundus_images", root)
    return next(
        (f for f in folders if any(_deepdrid_table(f, split).is_file() for split in _DEEPDRID_SPLITS)), None
    )


def read_deepdrid(root):
    """Reads DeepDRiD's regular photographs, two of each eye, `<patient>_l1` to `_r2`, with the eye's grade.

    Photographs labelled 5 (ungradable) are dropped and counted; the evaluation set's labels aren't read.
    """
    folder = find_deepdrid(root)
    records, notes = [], []
    for split in _DEEPDRID_SPLITS:
        path = _deepdrid_table(folder, split)
        if not path.is_file():
            continue
        rows = read_rows(path, ("patient_id", "image_id", *_DEEPDRID_LEVELS.values()))
        labels, dropped = [], 0
        for row in rows:
            eye = "left" if "_l" in row["image_id"].lower() else "right"
            if row[_DEEPDRID_LEVELS[eye]] in (_UNGRADABLE, f"{_UNGRADABLE}.0"):
                dropped += 1
                continue
            grade = row.grade(_DEEPDRID_LEVELS[eye])
            labels.append(Label(row, row["image_id"], grade, row["patient_id"], eye, _DEEPDRID_SPLITS[split]))
        _append(records, notes, root, labels, path.parent, path)
        notes += _dropped_note(path, dropped)
    return records, notes


def _deepdrid_table(folder, split):
    name = f"regular-fundus-{split}"
    return folder / name / f"{name}.csv"


def _dropped_note(path, count):
    return [f"{path.name}: {count} photographs with label 5 (ungradable) dropped"] if count else []


def find_messidor2(root):
    """Returns Messidor-2's adjudicated label file in `root`, or None."""
    return _existing(root / "messidor_data.csv")


def read_messidor2(root):
    """Reads Messidor-2 with its adjudicated grades; ungradable photographs are dropped and counted.

    Patients are known only where the owners' `messidor-2.csv` (left;right) lies beside the labels.
    """
    path = root / "messidor_data.csv"
    rows = read_rows(path, ("image_id", "adjudicated_dr_grade"), optional=("adjudicated_gradable",))
    ungradable = [row for row in rows if row["adjudicated_gradable"] in ("0", "0.0")]
    pairs, notes = _messidor2_pairs(root / "messidor-2.csv")
    if ungradable:
        notes.append(f"{len(ungradable)} photographs that {path.name} calls ungradable were dropped")
    dropped = {row.number for row in ungradable}
    labels = []
    for row in rows:
        if row.number not in dropped:
            patient, eye = pairs.get(_pair_key(row["image_id"]), ("", ""))
            labels.append(Label(row, row["image_id"], row.grade("adjudicated_dr_grade"), patient, eye))
    records = []
    folder = root / "IMAGES" if (root / "IMAGES").is_dir() else root
    _append(records, notes, root, labels, folder, path)
    return records, notes


def find_ddr(root):
    """Returns the folder `DR_grading` of DDR in `root`, or None."""
    folders = (root / "DR_grading", root)
    return next((f for f in folders if any((f / f"{name}.txt").is_file() for name in _DDR_SPLITS)), None)


def read_ddr(root):
    """Reads DDR's `DR_grading`; photographs labelled 5 (ungradable) are dropped and counted."""
    folder = find_ddr(root)
    records, notes = [], []
    for name, split in _DDR_SPLITS.items():
        path = folder / f"{name}.txt"
        if not path.is_file():
            continue
        rows = read_list(path)
        graded = [row for row in rows if row["level"] != _UNGRADABLE]
        labels = [Label(row, row["image"], parse_grade(row["level"], row), split=split) for row in graded]
        _append(records, notes, root, labels, folder / name, path)
        notes += _dropped_note(path, len(rows) - len(graded))
    return records, notes


def _append(records, notes, root, labels, folder, path):
    """Adds to `records` and `notes` what `labels`, read from `path`, say of the photographs in `folder`."""
    found, missing, remarks = make_records(root, labels, PhotographIndex(folder))
    records += found
    notes += [f"{path.name}: {remark}" for remark in remarks]
    if missing:
        notes.append(missing_note(missing, path.name))


def _idrid_labels(folder):
    """Returns {split: label file} of the sets that are there."""
    found = {}
    for split, (_, pattern) in _IDRID_SPLITS.items():
        matches = sorted((folder / "2. Groundtruths").glob(pattern))
        if matches:
            found[split] = matches[0]
    return found


def _messidor2_pairs(path):
    """Returns ({name: (patient, eye)}, notes) from the owners' table of eye pairs."""
    if not path.is_file():
        return {}, [f"no {path.name} (pairs of eyes): each photograph counts as a patient of its own"]
    pairs = {}
    for row in read_rows(path, ("left", "right")):
        patient = row["left"] or row["right"]
        pairs |= {_pair_key(row[eye]): (patient, eye) for eye in ("left", "right") if row[eye]}
    return pairs, []


def _pair_key(name):
    return without_suffix(name).lower()  # the tables don't agree on suffixes


def _existing(path):
    return path if path.is_file() else None
