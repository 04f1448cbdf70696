"""Which dataset lies in a folder, and its records."""

import os
from pathlib import Path

from dr_keras.data.layouts import own, public
from dr_keras.data.records import FundusDataset
from dr_keras.errors import InputError

_CSV = "csv"
# name -> (what is looked for, finder, reader), in the order in which they are tried
_LAYOUTS = {
    "idrid": (
        "'B. Disease Grading/2. Groundtruths' and its images",
        public.find_idrid,
        public.read_idrid,
    ),
    "eyepacs": ("trainLabels.csv", public.find_eyepacs, public.read_eyepacs),
    "aptos": (
        "train.csv (or train_1.csv, valid.csv, test.csv) and train_images/",
        public.find_aptos,
        public.read_aptos,
    ),
    "messidor2": ("messidor_data.csv", public.find_messidor2, public.read_messidor2),
    "deepdrid": (
        "regular_fundus_images/regular-fundus-training/regular-fundus-training.csv",
        public.find_deepdrid,
        public.read_deepdrid,
    ),
    "ddr": (
        "DR_grading/train.txt, valid.txt or test.txt",
        public.find_ddr,
        public.read_ddr,
    ),
    _CSV: ("labels.csv or a single CSV file", own.find_csv, own.read_csv),
    "folders": (
        "class folders 0-4 or No_DR ... Proliferate_DR",
        own.find_folders,
        own.read_folders,
    ),
}
LAYOUT_NAMES = tuple(_LAYOUTS)


def load_dataset(data_dir, layout="auto", headings=None):
    """Reads the labels of a dataset and finds its photographs, without opening them.

    Args:
        data_dir: its folder, or a CSV file of `image,level[,patient][,eye][,split]`.
        layout: one of `LAYOUT_NAMES`, or "auto" to recognise it from the files.
        headings: dict of some of `own.COLUMNS` to what they are called in the layout "csv".

    Returns:
        A `FundusDataset`. Rows without a photograph on disk are left out and noted.

    Raises:
        InputError: if the folder isn't there, has no known layout, or its labels can't be used.
        ValueError: if `layout` isn't a known name.
    """
    if layout != "auto" and layout not in _LAYOUTS:
        names = ", ".join(("auto", *LAYOUT_NAMES))
        raise ValueError(f"`layout` must be one of {names}. Received: layout={layout}")
    root = Path(os.path.normpath(data_dir))
    if not root.exists():
        raise InputError(f"{data_dir}: no such folder or CSV file")
    name = _recognise(root) if layout == "auto" else layout
    if headings and name != _CSV:
        raise InputError(f"{data_dir}: --columns names those of a CSV file; this is the layout {name}")
    sought, find, read = _LAYOUTS[name]
    if not find(root):
        raise InputError(f"{data_dir}: no {name} dataset here; looked for {sought}")
    records, notes = read(root, headings) if name == _CSV else read(root)
    if not records:
        raise InputError(f"{data_dir}: " + ("; ".join(notes) or "the dataset has no photographs"))
    folder = root if root.is_dir() else root.parent
    return FundusDataset(name, str(folder), tuple(records), tuple(notes))


def _recognise(root):
    for name, (_, find, _) in _LAYOUTS.items():
        if find(root):
            return name
    sought = "; ".join(f"{name}: {what}" for name, (what, _, _) in _LAYOUTS.items())
    raise InputError(f"{root}: no known dataset layout; looked for {sought}")
