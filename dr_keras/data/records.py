"""What the project knows of a photograph before it opens it."""

import dataclasses

SPLITS = ("train", "validation", "test")


@dataclasses.dataclass(frozen=True, slots=True)  # there may be millions
class Record:
    """One photograph of a dataset.

    Attributes:
        image: its name within the dataset: the path relative to the dataset's folder, with `/`.
        path: where it lies; for synthetic photographs, the image name again.
        grade: ICDR grade 0-4, or None where the dataset gives none.
        patient: identifier of the patient; the image name where the dataset doesn't say.
        eye: "left", "right" or "" (not said).
        split: "train", "validation", "test" or "" (the dataset has no official split).
    """

    image: str
    path: str
    grade: int | None
    patient: str
    eye: str = ""
    split: str = ""


@dataclasses.dataclass(frozen=True)
class FundusDataset:
    """A dataset as it was found on disk.

    Attributes:
        name: the layout: "idrid", "eyepacs", "synthetic", ...
        root: its folder, or "" for synthetic photographs.
        records: tuple of `Record`, in a fixed order.
        notes: tuple of one-line remarks for the user: what was dropped, and why.
    """

    name: str
    root: str
    records: tuple
    notes: tuple = ()
