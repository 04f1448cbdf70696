"""Opening a dataset at an image size: prepared already, or prepared now into the cache."""

import hashlib
import json
import os
from pathlib import Path

from dr_keras.data import layouts, preparation, synthetic
from dr_keras.data.shards import PreparedDataset
from dr_keras.errors import InputError

SYNTHETIC = "synthetic"


def default_cache_dir():
    """`$XDG_CACHE_HOME/dr_keras`, or `~/.cache/dr_keras`."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "dr_keras"


def find_dataset(data_dir, layout="auto", synthetic_images=2000, headings=None):
    """Finds the photographs and labels that the flags name; opens none of the photographs.

    Args:
        data_dir: folder of a dataset, or None for synthetic photographs.
        layout: see `layouts.load_dataset`, or "synthetic".
        synthetic_images: how many synthetic photographs.
        headings: see `layouts.load_dataset`.

    Returns:
        `FundusDataset`.
    """
    if layout == SYNTHETIC or (layout == "auto" and not data_dir):
        if data_dir:
            raise InputError(
                f"--data_dir={data_dir}: --dataset=synthetic draws its photographs; drop one of the two"
            )
        return synthetic.synthetic_dataset(synthetic_images)
    if not data_dir:
        raise InputError(f"--dataset={layout}: expected --data_dir too, the folder it lies in")
    return layouts.load_dataset(data_dir, layout, headings)


def is_prepared(data_dir):
    """Whether a folder was made by `scripts/prepare_data.py`."""
    return bool(data_dir) and (Path(data_dir) / preparation.MANIFEST).is_file()


def check_data(data_dir, layout="auto", synthetic_images=2000, image_sizes=(), headings=None):
    """Checks that `open_prepared` will find its data, cheaply: no photograph is opened, nothing is written.

    Raises:
        InputError: as `open_prepared`.
    """
    if not is_prepared(data_dir):
        find_dataset(data_dir, layout, synthetic_images, headings)
    elif image_sizes:
        _check_image_size(preparation.read_manifest(data_dir).get("image_size"), data_dir, image_sizes)


def open_prepared(
    data_dir, layout, image_size, synthetic_images=2000, cache_dir=None, progress=None, steps=(), say=None,
    opened=PreparedDataset, headings=None,
):  # fmt: skip
    """Opens a dataset at an image size, preparing it into the cache on first use.

    A cache folder is named after the photographs' names, sizes and labels: when any of them changes,
    another folder is made.

    Args:
        data_dir: folder of a dataset or a prepared folder; None for synthetic photographs.
        layout, synthetic_images: see `find_dataset`.
        image_size: side of the stored images in pixels.
        cache_dir: default `default_cache_dir()`.
        progress, steps: see `preparation.prepare_dataset`.
        say: called with a line on where the images are kept, when they are new; or None.
        opened: class that the prepared folder is opened as, `PreparedDataset` or one derived from it.
        headings: see `find_dataset`.

    Returns:
        An instance of `opened`.

    Raises:
        InputError: see `find_dataset`; or a prepared folder is of another size or normalisation.
    """
    if is_prepared(data_dir):
        prepared = opened(data_dir)
        _check_image_size(prepared.image_size, data_dir, [image_size])
        if prepared.normalization != tuple(steps):
            found, wanted = (",".join(some) or "none" for some in (prepared.normalization, steps))
            raise InputError(
                f"--data_dir={data_dir}: prepared with normalization={found}, expected {wanted}; prepare it "
                "so, or name the photographs' own folder"
            )
        return prepared
    dataset = find_dataset(data_dir, layout, synthetic_images, headings)
    return prepare_into_cache(dataset, image_size, cache_dir, progress, steps, say, opened)


def prepare_into_cache(
    dataset, image_size, cache_dir=None, progress=None, steps=(), say=None, opened=PreparedDataset
):
    """Opens a `FundusDataset` at an image size, prepared on first use; arguments as for `open_prepared`."""
    sources = preparation.source_stamps(preparation.sized(dataset.records))
    root = os.path.abspath(dataset.root) if dataset.root else ""
    stamps = json.dumps([preparation.FORMAT, root, *steps, *sources])
    name = f"{dataset.name}-{image_size}-{hashlib.sha256(stamps.encode()).hexdigest()[:12]}"
    folder = Path(cache_dir or default_cache_dir()) / name
    is_new = preparation.read_manifest(folder) is None
    preparation.prepare_dataset(dataset, folder, image_size, progress=progress, steps=steps)
    if is_new and say:
        megabytes = sum(file.stat().st_size for file in folder.iterdir()) / 1e6
        say(f"prepared images: {megabytes:.0f} MB in {folder}; the folder may be deleted at any time")
    return opened(folder)


def _check_image_size(found, data_dir, image_sizes):
    for size in image_sizes:
        if found != size:
            raise InputError(
                f"--data_dir={data_dir}: prepared at {found} px, expected {size}; prepare it at that size, "
                "or name the photographs' own folder"
            )
