"""From photographs of any size to shards of square images: once, over all cores, resumable.

A prepared folder holds `shard-00000.npy` (uint8, (images, size, size, 3)), `shard-00000.json` (its
rows) and, once whole, `manifest.json`. Rows are of one size and not compressed, so that any of them
can be read by position: any order, fold or resampling, without a second copy and without decoding.
"""

import concurrent.futures
import dataclasses
import functools
import hashlib
import json
import multiprocessing
import os
from pathlib import Path

import cv2
import numpy as np

from dr_keras.data import decoding, fundus, synthetic
from dr_keras.data.records import Record
from dr_keras.errors import InputError
from dr_keras.files import atomic_path, write_json

FORMAT = 1  # raised whenever the pixels that a photograph gives change
SHARD_ROWS = 256
SYNTHETIC_ROOT = "synthetic/"


@dataclasses.dataclass(frozen=True)
class PreparedImage:
    """A photograph made ready for a network.

    Attributes:
        pixels: uint8 (size, size, 3), RGB.
        field_of_view: where it lay in the original photograph.
        sha256: of the source file ("" for synthetic photographs).
    """

    pixels: np.ndarray
    field_of_view: fundus.FieldOfView
    sha256: str


def prepare_image(path, image_size):
    """Reads one photograph, finds its field of view and makes the square image of it.

    JPEGs are decoded at the smallest scale that keeps the field of view at `image_size` or more.

    Args:
        path: a file, or the name of a synthetic photograph.
        image_size: side of the result in pixels.

    Returns:
        A `PreparedImage`.

    Raises:
        InputError: if the file can't be read as an image.
    """
    if str(path).startswith(SYNTHETIC_ROOT):
        drawn = synthetic.draw_record(Record(str(path), str(path), None, str(path)), image_size)
        view = fundus.find_field_of_view(drawn.image)
        return PreparedImage(fundus.crop_square(drawn.image, view, image_size), view, "")
    data = decoding.read_bytes(path)
    view, image = _smallest_decode(data, str(path), image_size)
    return PreparedImage(fundus.crop_square(image, view, image_size), view, hashlib.sha256(data).hexdigest())


def _smallest_decode(data, name, image_size):
    wanted = image_size
    while True:
        image = decoding.decode_image(data, name, wanted)
        view = fundus.find_field_of_view(image)
        diameter = 2 * view.radius
        if diameter >= image_size or wanted is None:
            return view, image
        # The eye fills less of the picture than hoped: ask for more, once, then for all of it.
        wanted = int(wanted * image_size / diameter) + 1 if wanted == image_size else None


def prepare_dataset(dataset, output_dir, image_size, workers=None, progress=None):
    """Prepares every photograph of a dataset into shards; goes on where a killed run left off.

    Args:
        dataset: `FundusDataset`.
        output_dir: folder for the shards; created.
        image_size: side of the stored images in pixels.
        workers: processes; default one per core.
        progress: optional wrapper of an iterator with a `total` argument, as `tqdm.tqdm`.

    Returns:
        The manifest, as written to `manifest.json`.

    Raises:
        InputError: if the folder holds other photographs or another size.
    """
    output_dir = Path(output_dir)
    header = {"format": FORMAT, "image_size": image_size, "dataset": dataset.name}
    expected = [_source_stamp(record) for record in dataset.records]
    manifest = _read_json(output_dir / "manifest.json")
    if manifest is not None:
        check_manifest(manifest, output_dir, header, expected)
        return manifest
    shards = [range(start, min(start + SHARD_ROWS, len(expected))) for start in range(0, len(expected), SHARD_ROWS)]
    done = [_shard_is_done(output_dir, number, header, [expected[i] for i in rows]) for number, rows in enumerate(shards)]
    todo = [index for finished, rows in zip(done, shards, strict=True) if not finished for index in rows]
    with _mapper(workers, len(todo)) as mapper:
        paths = [dataset.records[index].path for index in todo]
        results = mapper(functools.partial(_prepare_or_reason, image_size=image_size), paths)
        if progress is not None:
            results = progress(results, total=len(todo))
        results = iter(results)
        for number, rows in enumerate(shards):
            if not done[number]:
                _write_shard(output_dir, number, header, [(expected[index], *next(results)) for index in rows])
    return _write_manifest(output_dir, header, len(shards))


def check_manifest(manifest, output_dir, header, expected=None):
    """Raises `InputError` unless a manifest was made with these settings and of these sources."""
    for key, value in header.items():
        if manifest.get(key) != value:
            raise InputError(
                f"{output_dir}: prepared with {key}={manifest.get(key)}, expected {value}; "
                "name another folder or delete this one"
            )
    found = [row["source"] for row in manifest["images"]]
    if expected is not None and found != expected:
        raise InputError(
            f"{output_dir}: prepared from other photographs ({len(found)}, now {len(expected)}, or files changed "
            "since); name another folder or delete this one"
        )


def _source_stamp(record):
    """What tells, without reading it, that a source is the one that was prepared: name and size."""
    if record.path.startswith(SYNTHETIC_ROOT):
        return [record.image, 0]
    try:
        return [record.image, os.stat(record.path).st_size]
    except OSError:
        return [record.image, -1]


def _prepare_or_reason(path, image_size):
    cv2.setNumThreads(1)
    try:
        prepared = prepare_image(path, image_size)
    except InputError as error:
        return None, str(error)
    return prepared, ""


class _mapper:
    """Gives a `map` in order: over processes, or in this one where that is not worth it."""

    def __init__(self, workers, num_items):
        self._workers = 1 if num_items < 2 * SHARD_ROWS // 4 else workers or os.cpu_count() or 1
        self._pool = None

    def __enter__(self):
        if self._workers == 1:
            return map
        context = multiprocessing.get_context("spawn")  # a fork would copy TensorFlow's threads, dead
        self._pool = concurrent.futures.ProcessPoolExecutor(self._workers, mp_context=context)
        return functools.partial(self._pool.map, chunksize=8)

    def __exit__(self, *exc_info):
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)


def shard_paths(output_dir, number):
    return output_dir / f"shard-{number:05d}.npy", output_dir / f"shard-{number:05d}.json"


def _write_shard(output_dir, number, header, results):
    pixels, rows = [], []
    for source, prepared, reason in results:
        row = {"source": source}
        if prepared is None:
            row["error"] = reason
        else:
            row |= {"row": len(pixels), "sha256": prepared.sha256}
            row["field_of_view"] = dataclasses.asdict(prepared.field_of_view)
            pixels.append(prepared.pixels)
        rows.append(row)
    array_path, rows_path = shard_paths(output_dir, number)
    size = header["image_size"]
    with atomic_path(array_path) as temporary:
        np.save(temporary, np.stack(pixels) if pixels else np.zeros((0, size, size, 3), np.uint8))
    write_json(rows_path, {**header, "images": rows})  # last: its presence says that the shard is whole


def _shard_is_done(output_dir, number, header, expected):
    array_path, rows_path = shard_paths(output_dir, number)
    shard = _read_json(rows_path)
    if shard is None or not array_path.exists():
        return False
    check_manifest(shard, output_dir, header)
    return [row["source"] for row in shard["images"]] == expected


def _write_manifest(output_dir, header, num_shards):
    images = []
    for number in range(num_shards):
        for row in _read_json(shard_paths(output_dir, number)[1])["images"]:
            images.append({**row, "shard": number})
    manifest = {**header, "num_shards": num_shards, "images": images}
    write_json(output_dir / "manifest.json", manifest)
    return manifest


def _read_json(path):
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except ValueError:
        raise InputError(f"{path}: not valid JSON; delete the folder and prepare it again") from None
