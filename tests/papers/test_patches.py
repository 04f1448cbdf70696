"""Abnormal patches: found where they were planted, cut from the original photograph."""

import csv

import cv2
import keras
import numpy as np
import pytest

from dr_keras.data import cache, layouts
from dr_keras.models.grader_model import build_grader
from dr_keras.papers.alexnet import patches


@pytest.fixture(scope="module")
def grader():
    """Score: a fiftieth of the sum of the mean red of cells of 16 pixels."""
    inputs = keras.Input((112, 112, 3))
    cells = keras.layers.AveragePooling2D(16, name="cells")(inputs)
    red = keras.layers.Dense(1, use_bias=False, name="score")(keras.layers.Flatten()(cells))
    network = keras.Model(inputs, red)
    kernel = np.zeros((7, 7, 3, 1), "float32")
    kernel[:, :, 0] = 4 / 200
    network.get_layer("score").set_weights([kernel.reshape(-1, 1)])
    return build_grader(network, 128, (0, 0, 0), (1, 1, 1))


class Prepared:
    """Photographs in memory."""

    def __init__(self, images):
        self.images = images

    def read(self, indices):
        return self.images[indices]


def planted():
    """Red 100 in cell (2, 3) of the second photograph, which is at pixels 8 + 32 and 8 + 48."""
    images = np.zeros((3, 128, 128, 3), np.uint8)
    images[1, 40:56, 56:72, 0] = 100
    return images


def test_drops_are_those_of_the_hidden_cells(grader):
    who = np.ones((1, 3), bool)
    scores, drops = patches.occlusion_drops(
        [grader], Prepared(planted()), np.arange(3), who, 2, "cells", batch_size=2
    )
    np.testing.assert_allclose(scores, [0, 2, 0], atol=1e-6)  # 4 / 200 * 100
    expected = np.zeros((3, 6, 6))
    expected[1, 1:3, 2:4] = 0.5  # the four windows that hold it; 2 grades are half of the unit interval
    np.testing.assert_allclose(drops, expected, atol=1e-6)


def test_each_photograph_by_its_own_networks(grader):
    double = keras.models.clone_model(grader)
    double.set_weights([2 * value for value in grader.get_weights()])
    who = np.array([[True, True, False], [True, False, True]])
    scores, drops = patches.occlusion_drops(
        [grader, double], Prepared(planted()[[1, 1, 1]]), np.arange(3), who, 1, "cells", 2
    )
    np.testing.assert_allclose(scores, [3, 2, 4], rtol=1e-6)
    np.testing.assert_allclose(drops[:, 2, 3], [0.75, 0.5, 1.0], rtol=1e-6)


def test_selection_and_merging():
    drops = np.zeros((2, 5, 5), "float32")
    drops[0, 0, 0], drops[0, 1, 1], drops[0, 0, 4] = 0.3, 0.5, 0.21
    drops[1, 4, 4] = 0.2  # not above the threshold
    alone = patches.select(drops, 0.2, 2)
    assert [(patch.position, patch.cells) for patch in alone] == [
        (0, (0, 0, 2, 2)), (0, (0, 4, 2, 2)), (0, (1, 1, 2, 2)),
    ]  # fmt: skip
    merged = patches.select(drops, 0.2, 2, merge=True)
    assert [(patch.cells, round(patch.drop, 6)) for patch in merged] == [
        ((0, 0, 3, 3), 0.5), ((0, 4, 2, 2), 0.21),
    ]  # fmt: skip


def test_advice():
    drops = np.linspace(0, 0.1, 101).reshape(1, 1, 101)
    assert patches.advice(drops, 0.2) == (
        "--threshold=0.2 selects none of 101 windows; --threshold=0.095 would select 5 %"
    )
    assert "selects 99 % of 101 windows" in patches.advice(drops, 0.0)
    assert patches.advice(drops, 0.05) == ""


def test_patches_come_from_the_original_photograph(grader, tmp_path, draw_photograph):
    (tmp_path / "data").mkdir()
    photograph = draw_photograph(0, 480, 640)
    cv2.imwrite(str(tmp_path / "data" / "eye.png"), photograph[..., ::-1])
    (tmp_path / "data" / "labels.csv").write_text("image,level\neye.png,3\n")
    dataset = layouts.load_dataset(str(tmp_path / "data"), "auto")
    prepared = cache.prepare_into_cache(dataset, 128, tmp_path / "cache")
    found = [patches.Patch(0, 0.25, (1, 2, 2, 2)), patches.Patch(0, 0.5, (0, 0, 7, 7))]
    places = patches.boxes(found, grader, prepared.views, "cells")
    # The eye is a circle of radius 225.6 in the middle: 2 * 225.6 / 128 pixels to one of the square. Cell
    # (1, 2) starts at pixel 8 + 16 of it and 8 + 32, two cells are 32 pixels.
    scale = 2 * prepared.views[0].radius / 128
    assert scale == pytest.approx(2 * 225.6 / 128, rel=0.01)
    np.testing.assert_allclose(
        places[0], [240 + (24 - 64) * scale, 320 + (40 - 64) * scale, 32 * scale, 32 * scale], atol=2.5
    )
    table = patches.write_patches(tmp_path / "out", found, places, prepared.records, [3], [2.5], 128)
    with open(table, newline="") as file:
        rows = list(csv.DictReader(file))
    assert (rows[0]["image"], rows[0]["label"], rows[0]["score"], rows[0]["score_drop"]) == (
        "eye.png", "3", "2.5", "0.25",
    )  # fmt: skip
    for row in rows:
        top, left, height, width = (int(row[name]) for name in ("top", "left", "height", "width"))
        cut = cv2.imread(str(tmp_path / "out" / row["patch"]))[..., ::-1]
        np.testing.assert_array_equal(cut, photograph[top : top + height, left : left + width])
