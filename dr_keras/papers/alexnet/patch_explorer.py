"""Patches to look through: an HTML page that works offline, and files for TensorBoard's projector."""

import base64
from pathlib import Path

import cv2
import numpy as np

from dr_keras import files
from dr_keras.papers.alexnet.patch_figures import THUMBNAIL, cluster_colors, sprite
from dr_keras.report.html_page import templates

_MARGIN = 0.03  # of the plane, kept free on each side
_QUALITY = 85  # of the page's JPEG


def write_page(path, table, clusters, places, small):
    """Writes the page: every patch a point of the plane that shows the patch when pointed at.

    Args:
        path: the HTML file.
        table: `PatchTable`; clusters: int (n,); places: (n, 2); small: uint8 (n, 64, 64, 3).
    """
    low, high = places.min(axis=0), places.max(axis=0)
    at = _MARGIN + (1 - 2 * _MARGIN) * (places - low) / np.maximum(high - low, 1e-12)
    rows = [
        [round(float(x), 4), round(float(y), 4), int(k), int(label), round(float(drop), 3), str(image)]
        for (x, y), k, label, drop, image in zip(
            at, clusters, table.labels, table.drops, table.images, strict=True
        )
    ]
    sheet = sprite(small)
    encoded = cv2.imencode(".jpg", sheet[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])[1].tobytes()
    text = templates(__package__).get_template("patch_explorer.html").render(
        lead=f"{len(rows)} patches in {clusters.max() + 1} clusters, laid out by t-SNE, coloured by cluster.",
        patches=rows,
        side=len(sheet) // THUMBNAIL,
        colors=cluster_colors(int(clusters.max()) + 1),
        sprite=base64.b64encode(encoded).decode("ascii"),
    )
    files.write_text(path, text)


def write_projector(folder, table, clusters, features, small):
    """Writes what `tensorboard --logdir=FOLDER` shows under Projector: features, metadata, sprite."""
    folder = Path(folder)
    lines = ["\t".join(f"{value:.5g}" for value in row) for row in features]
    files.write_text(folder / "features.tsv", "\n".join(lines) + "\n")
    known = zip(table.images, table.labels, clusters, table.drops, strict=True)
    lines = [f"{str(image)}\t{label}\t{k}\t{drop:.4f}" for image, label, k, drop in known]
    files.write_text(folder / "metadata.tsv", "image\tgrade\tcluster\tscore_drop\n" + "\n".join(lines) + "\n")
    with files.atomic_path(folder / "sprite.png") as temporary:
        temporary.write_bytes(cv2.imencode(".png", sprite(small)[..., ::-1])[1].tobytes())
    files.write_text(
        folder / "projector_config.pbtxt",
        'embeddings {\n  tensor_name: "patches"\n  tensor_path: "features.tsv"\n'
        '  metadata_path: "metadata.tsv"\n  sprite {\n    image_path: "sprite.png"\n'
        f"    single_image_dim: {THUMBNAIL}\n    single_image_dim: {THUMBNAIL}\n  }}\n}}\n",
    )
