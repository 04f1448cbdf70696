"""Prepared folders made by hand, so that a test knows every pixel and label in them."""

import dataclasses
import json

import numpy as np

from dr_keras.data.fundus import FieldOfView
from dr_keras.data.preparation import FORMAT, MANIFEST, shard_paths
from dr_keras.data.shards import PreparedDataset


def write_prepared(folder, images, grades, patients=None, splits=None, shard_rows=4, names="{:03d}.png"):
    """Writes uint8 images (n, size, size, 3) in the format of `data.preparation` and opens them."""
    folder.mkdir(parents=True, exist_ok=True)
    size = images.shape[1]
    header = {"format": FORMAT, "dataset": "handmade", "root": str(folder), "image_size": size}
    view = dataclasses.asdict(FieldOfView(size / 2, size / 2, size / 2, size, size, True))
    starts = range(0, len(images), shard_rows)
    for number, start in enumerate(starts):
        array_path, rows_path = shard_paths(folder, number)
        np.save(array_path, images[start : start + shard_rows])
        rows = []
        for index in range(start, min(start + shard_rows, len(images))):
            name = names.format(index)
            record = {"image": name, "path": f"/nowhere/{name}", "grade": grades[index], "eye": ""}
            record["patient"] = str(patients[index]) if patients is not None else name
            record["split"] = splits[index] if splits is not None else ""
            rows.append(
                {"record": record, "bytes": 1, "row": index - start, "sha256": "", "field_of_view": view}
            )
        rows_path.write_text(json.dumps({**header, "images": rows}))
    counts = {"num_images": len(images), "num_shards": len(starts)}
    (folder / MANIFEST).write_text(json.dumps({**header, "notes": [], **counts}))
    return PreparedDataset(folder)


def noise_images(count, size, seed=0):
    """uint8 (count, size, size, 3): smooth noise, brighter from image to image, no two alike."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 120, (count, size // 8, size // 8, 3))
    brightness = np.linspace(0, 120, count).astype(int)[:, None, None, None]
    return np.kron(coarse + brightness, np.ones((1, 8, 8, 1), int)).astype(np.uint8)
