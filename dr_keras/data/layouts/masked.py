"""Which photographs in a folder have lesion masks: the layouts of the public datasets, and a plain one."""

import dataclasses
from pathlib import Path

from dr_keras.data.suffixes import IMAGE_SUFFIXES
from dr_keras.errors import InputError
from dr_keras.lesion_kinds import LESIONS, OPTIC_DISC

# Endings of IDRiD's folders and files, and DDR's folders.
_SHORT = {"MA": "microaneurysms", "HE": "haemorrhages", "EX": "hard_exudates", "SE": "soft_exudates"}
_IDRID = {
    "1. Microaneurysms": "MA", "2. Haemorrhages": "HE", "3. Hard Exudates": "EX", "4. Soft Exudates": "SE",
    "5. Optic Disc": "OD",
}  # fmt: skip
_FGADR = {
    "Microaneurysms_Masks": "microaneurysms",
    "Hemohedge_Masks": "haemorrhages",
    "HardExudate_Masks": "hard_exudates",
    "SoftExudate_Masks": "soft_exudates",
}
_PLAIN = {kind: kind for kind in (*LESIONS, OPTIC_DISC)}


@dataclasses.dataclass(frozen=True)
class MaskedPhotograph:
    """A photograph with masks.

    Attributes:
        image: its name.
        path: its file, or a synthetic photograph's name.
        masks: dict of lesion to mask file; empty for synthetic photographs, which are drawn with theirs.
        optic_disc: the mask file of the optic disc, or None.
        unmarked: lesions of `LESIONS` that nobody looked for in it.
    """

    image: str
    path: str
    masks: dict
    optic_disc: str | None = None
    unmarked: tuple = ()


def find_masked_photographs(data_dir):
    """Lists the photographs of a folder that have lesion masks.

    Known are IDRiD's "A. Segmentation", DDR's `lesion_segmentation`, FGADR, e-ophtha (its two parts beside
    each other or alone), and a plain pair of folders `images/` and `masks/KIND/`, whose files have the same
    name but for the suffix; KIND is one of `LESIONS` or "optic_disc". Photographs without any mask are
    left out.

    Raises:
        InputError: if the layout isn't one of these, or no photograph has a mask.
    """
    root = Path(data_dir)
    for find in (_idrid, _ddr, _fgadr, _e_ophtha, _plain):
        parts = find(root)
        if parts:
            break
    else:
        raise InputError(
            f"{data_dir}: no lesion masks found; expected IDRiD (a folder 'A. Segmentation'), DDR "
            "('lesion_segmentation'), FGADR ('Original_Images'), e-ophtha ('Annotation_EX', 'Annotation_MA') "
            "or 'images' beside 'masks/KIND'"
        )
    found = [one for part in parts for one in part.photographs()]
    if not found:
        raise InputError(f"{data_dir}: no photograph there has a lesion mask")
    return found


@dataclasses.dataclass(frozen=True)
class _Part:
    """A folder of photographs and, for each kind, a folder of masks named like them.

    Attributes:
        images: folder of photographs, with subfolders or without.
        masks: dict of kind to its folder of masks.
        name: what stands before the photographs' names.
        endings: dict of kind to what its files' names have behind the photograph's.
    """

    images: Path
    masks: dict
    name: str = ""
    endings: dict = dataclasses.field(default_factory=dict)

    def photographs(self):
        """Yields the photographs that have a mask."""
        files = {kind: _by_stem(folder) for kind, folder in self.masks.items()}
        unmarked = tuple(kind for kind in LESIONS if kind not in self.masks)
        for path in _pictures(self.images):
            found = {kind: own.get(path.stem + self.endings.get(kind, "")) for kind, own in files.items()}
            found = {kind: str(file) for kind, file in found.items() if file}
            disc = found.pop(OPTIC_DISC, None)
            if found:
                name = path.relative_to(self.images).with_suffix("").as_posix()
                yield MaskedPhotograph(self.name + name, str(path), found, disc, unmarked)


def _pictures(folder):
    return sorted(path for path in folder.rglob("*") if path.suffix.lower() in IMAGE_SUFFIXES)


def _by_stem(folder):
    return {path.stem: path for path in _pictures(folder)}


def _folders(root, kinds):
    """The folders of masks that are there: dict of kind to folder."""
    return {kind: root / name for name, kind in kinds.items() if (root / name).is_dir()}


def _idrid(root):
    masks = "2. All Segmentation Groundtruths"
    root = root / "A. Segmentation" if (root / "A. Segmentation").is_dir() else root
    kinds = {folder: _SHORT.get(short, OPTIC_DISC) for folder, short in _IDRID.items()}
    endings = {kinds[folder]: f"_{short}" for folder, short in _IDRID.items()}
    return [
        _Part(root / "1. Original Images" / part.name, _folders(part, kinds), f"{part.name}/", endings)
        for part in _subfolders(root / masks)
    ]


def _ddr(root):
    root = root / "lesion_segmentation" if (root / "lesion_segmentation").is_dir() else root
    parts = [part for part in _subfolders(root) if (part / "image").is_dir()]
    found = []
    for part in parts:
        labels = part / "label" if (part / "label").is_dir() else part / "segmentation label"
        found += [_Part(part / "image", _folders(labels, _SHORT), f"{part.name}/")] if labels.is_dir() else []
    return found


def _fgadr(root):
    root = root / "Seg-set" if (root / "Seg-set").is_dir() else root
    masks = _folders(root, _FGADR)
    return [_Part(root / "Original_Images", masks)] if (root / "Original_Images").is_dir() and masks else []


def _e_ophtha(root):
    found = []
    for short, ending in (("MA", ""), ("EX", "_EX")):
        for folder in (root, root / f"e_optha_{short}"):
            annotations = folder / f"Annotation_{short}"
            if annotations.is_dir() and (folder / short).is_dir():
                kind = _SHORT[short]
                found.append(_Part(folder / short, {kind: annotations}, f"{short}/", {kind: ending}))
    return found


def _plain(root):
    masks = _folders(root / "masks", _PLAIN)
    return [_Part(root / "images", masks)] if (root / "images").is_dir() and masks else []


def _subfolders(folder):
    return sorted(path for path in folder.iterdir() if path.is_dir()) if folder.is_dir() else []
