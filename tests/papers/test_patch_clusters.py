"""Clusters of patches: planted ones are found, stages are tested, everything is written the same twice."""

import json
import re

import cv2
import keras
import numpy as np
import pytest

from dr_keras.errors import InputError
from dr_keras.models.grader_model import build_grader
from dr_keras.papers.alexnet import patch_clusters
from dr_keras.papers.alexnet import patch_figures as figures
from dr_keras.papers.alexnet import patch_report

KINDS = ((200, 30, 30), (30, 200, 30), (30, 30, 200))  # what patches of a cluster look like


@pytest.fixture(scope="module")
def grader():
    inputs = keras.Input((56, 56, 3))
    x = keras.layers.AveragePooling2D(8, name="cells")(inputs)
    x = keras.layers.Dense(1, name="score")(keras.layers.Flatten()(x))
    return build_grader(keras.Model(inputs, x), 64, (0, 0, 0), (1, 1, 1))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """36 patches of 12 photographs: 18, 12 and 6 of the kinds, which go with grades 0, 2 and 4."""
    folder, rng = tmp_path_factory.mktemp("patches"), np.random.default_rng(0)
    (folder / "patches").mkdir()
    lines = ["patch,image,label,score,score_drop,top,left,height,width"]
    for number, kind in enumerate(rng.permutation([0] * 18 + [1] * 12 + [2] * 6)):
        shape = (int(rng.integers(40, 60)), int(rng.integers(40, 60)), 3)
        picture = np.clip(rng.normal(KINDS[kind], 10, shape), 0, 255).astype(np.uint8)
        cv2.imwrite(str(folder / "patches" / f"{number:05d}.png"), picture[..., ::-1])
        photograph = f"eye-{kind}-{number % 4}.png"
        lines.append(f"patches/{number:05d}.png,{photograph},{2 * kind},2.0,{0.2 + number / 100},0,0,9,9")
    (folder / "patches.csv").write_text("\n".join(lines) + "\n")
    return folder


def test_planted_clusters_are_found(folder, grader):
    table = patch_clusters.read_patches(folder)
    features = patch_clusters.deep_features(grader, table.pictures, "cells", batch_size=8)
    np.testing.assert_allclose(np.linalg.norm(features, axis=1), 1, rtol=1e-5)
    # The mean over positions of a patch of colour c is c, here brought to length 1.
    kind = table.labels // 2
    expected = np.array(KINDS, float)[kind]
    np.testing.assert_allclose(
        features, expected / np.linalg.norm(expected, axis=1, keepdims=True), atol=0.02
    )
    clusters = patch_clusters.cluster(features, 3)
    np.testing.assert_array_equal(clusters, kind)  # the largest first
    curve = patch_clusters.silhouettes(features, (1, 2, 3, 6, 99))
    assert list(curve) == [2, 3, 6] and max(curve, key=curve.get) == 3


def test_stages_over_clusters_by_hand():
    clusters, labels = np.repeat([0, 1], 10), np.array([0] * 8 + [4] * 2 + [0] * 2 + [4] * 8)
    names = np.array([f"eye{number}" for number in range(20)])
    found = patch_clusters.stages_over_clusters(clusters, labels, names)
    assert found["counts"] == [[8, 0, 0, 0, 2], [2, 0, 0, 0, 8]]
    assert found["chi_square"] == pytest.approx(4 * 3**2 / 5)  # each cell is 3 from the 5 expected
    assert found["degrees_of_freedom"] == 1 and found["cramers_v"] == pytest.approx(0.6)
    assert found["p_value"] == pytest.approx(0.00729, abs=1e-4)
    assert 0.005 < found["p_value_by_photograph"] < 0.06


def test_patches_of_one_photograph_are_no_evidence():
    clusters, labels = np.repeat([0, 1], 50), np.repeat([0, 4], 50)
    found = patch_clusters.stages_over_clusters(clusters, labels, np.repeat(["a", "b"], 50))
    assert found["p_value"] < 1e-10 and found["p_value_by_photograph"] == 1.0


def test_one_stage_has_no_test():
    found = patch_clusters.stages_over_clusters(np.array([0, 1]), np.array([3, 3]), np.array(["a", "b"]))
    assert np.isnan(found["chi_square"]) and found["counts"] == [[0, 0, 0, 1, 0]] * 2


def test_sprite_is_read_row_by_row():
    small = np.arange(5, dtype=np.uint8)[:, None, None, None] * np.ones((1, 64, 64, 3), np.uint8)
    sheet = figures.sprite(small)
    assert sheet.shape == (192, 192, 3)
    assert [int(sheet[row * 64, column * 64, 0]) for row, column in [(0, 0), (0, 2), (1, 1), (2, 2)]] == [
        0, 2, 4, 0,
    ]  # fmt: skip


def test_everything_is_written_and_the_same_twice(folder, grader, tmp_path):
    table = patch_clusters.read_patches(folder)
    for name in ("one", "two"):
        found = patch_report.write_clusters(tmp_path / name, table, grader, "cells", 3)
    assert found["k"] == 3 and json.loads((tmp_path / "one" / "clusters.json").read_text()) == found
    written = sorted(
        str(path.relative_to(tmp_path / "one")) for path in (tmp_path / "one").rglob("*") if path.is_file()
    )
    assert written == [
        "clusters.csv", "clusters.json", "clusters.png", "patches.html", "projector/features.tsv",
        "projector/metadata.tsv", "projector/projector_config.pbtxt", "projector/sprite.png",
        "silhouette.png", "stages.png",
    ]  # fmt: skip
    for name in written:
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes(), name
    page = (tmp_path / "one" / "patches.html").read_text()
    assert not re.search(r"(src|href)=|https?:", page)  # nothing from elsewhere
    points = json.loads(re.search(r"const patches = (\[.*\]), side", page)[1])
    assert len(points) == 36 and all(0 < x < 1 and 0 < y < 1 for x, y, *_ in points)
    assert points[0][3:] == [int(table.labels[0]), round(float(table.drops[0]), 3), str(table.images[0])]
    assert len((tmp_path / "one" / "projector" / "features.tsv").read_text().splitlines()) == 36
    assert len((tmp_path / "one" / "projector" / "metadata.tsv").read_text().splitlines()) == 37


def test_wrong_folders(tmp_path):
    with pytest.raises(InputError, match="expected a table of patches"):
        patch_clusters.read_patches(tmp_path)
    (tmp_path / "patches.csv").write_text("patch,image,label,score_drop\n")
    with pytest.raises(InputError, match="0 patches; expected 4 or more"):
        patch_clusters.read_patches(tmp_path)
