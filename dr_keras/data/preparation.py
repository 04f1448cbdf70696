"""From photographs of any size to shards of square images: once, over all cores, resumable.

A prepared folder holds `shard-00000.npy` (uint8, (images, size, size, 3)), `shard-00000.json` (what is
known of each photograph: its record, file size, SHA-256 and field of view, or why it couldn't be read) and,
once whole, `manifest.json` (the settings and how many there are). Images are of one size and not compressed,
so that any of them can be read by position: any order, fold or resampling, without a second copy and without
decoding.
"""

import contextlib
import dataclasses
import functools
import json
import os
from pathlib import Path

import numpy as np

from dr_keras.data import dicom
from dr_keras.data.parallel import map_in_order
from dr_keras.data.photograph import Photograph
from dr_keras.data.synthetic import is_synthetic
from dr_keras.errors import InputError
from dr_keras.files import atomic_path, read_text, sole_writer, write_json

FORMAT = 1  # raised whenever the pixels that a photograph gives change
MANIFEST = "manifest.json"
SHARD_ROWS = 256


def prepare_dataset(
    dataset, output_dir, image_size, workers=None, progress=None, steps=(), write_shards=None
):
    """Prepares every photograph of a dataset into shards; goes on where a killed run left off.

    Args:
        dataset: `FundusDataset`.
        output_dir: folder for the shards; created.
        image_size: side of the stored images in pixels.
        workers: see `parallel.map_in_order`.
        progress: wraps the iteration as `tqdm.tqdm` does, called with `total`; nothing if None.
        steps: some of `normalization.STEPS`.
        write_shards: does the work in place of `workers`: called with `output_dir`, `header`, {number:
            `sized` records} of the shards that are missing, and `progress`; calls `write_shard` for each.

    Raises:
        InputError: if the folder holds other photographs or another size.
    """
    output_dir = Path(output_dir)
    header = {"format": FORMAT, "dataset": dataset.name, "root": dataset.root, "image_size": image_size}
    header |= {"normalization": list(steps)}
    sources = sized(dataset.records)
    shards = [sources[start : start + SHARD_ROWS] for start in range(0, len(sources), SHARD_ROWS)]
    with sole_writer(output_dir):
        manifest = read_manifest(output_dir)
        if manifest is not None:
            _check_same_settings(manifest, output_dir / MANIFEST, header)
            if manifest.get("num_shards") != len(shards):
                there = f"{manifest.get('num_shards')} shards"
                raise _other_photographs(output_dir / MANIFEST, there, len(shards))
        todo = {
            number: shard
            for number, shard in enumerate(shards)
            if not shard_is_done(output_dir, number, header, source_stamps(shard))
        }
        if todo or manifest is None:
            write_shards = write_shards or functools.partial(_write_shards, workers=workers)
            write_shards(output_dir, header, todo, progress)
            counts = {"num_images": len(dataset.records), "num_shards": len(shards)}
            write_json(output_dir / MANIFEST, {**header, "notes": list(dataset.notes), **counts})


def _write_shards(output_dir, header, todo, progress, workers):
    paths = [record.path for shard in todo.values() for record, _ in shard]
    prepare = functools.partial(
        prepare_or_reason, image_size=header["image_size"], steps=header["normalization"]
    )
    with contextlib.closing(map_in_order(prepare, paths, workers, progress)) as results:
        for number, shard in todo.items():
            stamps = source_stamps(shard)
            write_shard(output_dir, number, header, [(stamp, *next(results)) for stamp in stamps])
        next(results, None)  # lets a bar reach its end


def sized(records):
    """List of (record, (size in bytes, time of change) of its file): looked up once, before any is read."""
    return [(record, _state(record.path)) for record in records]


def source_stamps(sources):
    """What is known of `sized` photographs before they are read, and tells that they are those prepared."""
    return [
        {"record": dataclasses.asdict(record), "bytes": size, "changed": changed}
        for record, (size, changed) in sources
    ]


def _state(path):
    if is_synthetic(path):
        return 0, 0
    try:
        found = os.stat(dicom.split_frame(path)[0])
    except OSError:
        return -1, 0
    return found.st_size, found.st_mtime_ns


def read_manifest(folder):
    """Returns the manifest of a prepared folder, or None where there is none."""
    return _read_json(Path(folder) / MANIFEST)


def normalized(manifest):
    """A manifest that says how its photographs were normalised: not at all, where it is silent."""
    return {"normalization": [], **manifest}


def _check_same_settings(found, path, header):
    for key, value in header.items():
        if normalized(found).get(key) != value:
            raise InputError(
                f"{path}: prepared with {key}={normalized(found).get(key)}, expected {value}; "
                "name another folder or delete this one"
            )


def _other_photographs(path, found, now):
    return InputError(
        f"{path}: prepared from other photographs or labels ({found} there, {now} now, or changed since); "
        "name another folder or delete this one"
    )


def prepare_or_reason(path, image_size, steps=()):
    """Returns (`PreparedImage`, ""), or (None, the reason) for a file that can't be read."""
    photograph = Photograph(path)
    try:
        return photograph.prepare(image_size, steps), ""
    except InputError as error:
        return None, photograph.reason(error)


def shard_paths(output_dir, number):
    """Paths of a shard's pixels and of its rows."""
    return output_dir / f"shard-{number:05d}.npy", output_dir / f"shard-{number:05d}.json"


def write_shard(output_dir, number, header, results):
    """Writes a shard: of every photograph its `source_stamp`, and what `prepare_or_reason` returned."""
    pixels, rows = [], []
    for source, prepared, reason in results:
        row = dict(source)
        if prepared is None:
            row["error"] = reason
        else:
            row |= {"row": len(pixels), "sha256": prepared.sha256}
            row["field_of_view"] = dataclasses.asdict(prepared.field_of_view)
            pixels.append(prepared.pixels)
        rows.append(row)
    array_path, rows_path = shard_paths(output_dir, number)
    size = header["image_size"]
    layout = {"descr": "|u1", "fortran_order": False, "shape": (len(pixels), size, size, 3)}
    with atomic_path(array_path) as temporary, open(temporary, "wb") as file:
        np.lib.format.write_array_header_1_0(file, layout)  # np.save hides why a disk refused
        for image in pixels:
            file.write(np.ascontiguousarray(image).data)
    write_json(rows_path, {**header, "images": rows})  # last: its presence says that the shard is whole


def shard_is_done(output_dir, number, header, sources):
    """Whether a shard is there, whole; raises `InputError` if it is one of other photographs or settings."""
    array_path, rows_path = shard_paths(output_dir, number)
    shard = _read_json(rows_path)
    if shard is None or not array_path.exists():
        return False
    _check_same_settings(shard, rows_path, header)
    # Shards of version 0.1 don't say when their photographs were last changed.
    found = [
        {"record": row["record"], "bytes": row["bytes"], "changed": row.get("changed", source["changed"])}
        for row, source in zip(shard["images"], sources, strict=False)
    ]
    if found != sources or len(shard["images"]) != len(sources):
        raise _other_photographs(rows_path, len(shard["images"]), len(sources))
    return True


def read_rows(folder, number):
    """Returns what is known of the photographs of a shard: list of dicts, as `write_shard` wrote them."""
    path = shard_paths(Path(folder), number)[1]
    shard = _read_json(path)
    if shard is None:
        raise InputError(f"{path}: missing; delete the folder and prepare it again")
    return shard["images"]


def _read_json(path):
    try:
        return json.loads(read_text(path))
    except FileNotFoundError:
        return None
    except ValueError:
        raise InputError(f"{path}: not valid JSON; delete the folder and prepare it again") from None
