"""From photographs to clusters: what is found is written, and the same seed writes the same bytes."""

import csv

import keras
import numpy as np
import pytest

from dr_keras.data import cache, synthetic
from dr_keras.evaluation import model_evaluation
from dr_keras.models.grader_model import build_grader
from dr_keras.papers.alexnet import patch_clusters, patch_report, patch_search


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    """Ten synthetic photographs scored by the mean of their red."""
    folder = tmp_path_factory.mktemp("search")
    inputs = keras.Input((112, 112, 3))
    cells = keras.layers.AveragePooling2D(16, name="pool5")(inputs)
    network = keras.Model(inputs, keras.layers.Dense(1, use_bias=False)(keras.layers.Flatten()(cells)))
    kernel = np.zeros((49, 3, 1), "float32")
    kernel[:, 0] = 0.02 / 49
    network.layers[-1].set_weights([kernel.reshape(-1, 1)])
    build_grader(network, 128, (0, 0, 0), (1, 1, 1)).save(folder / "model.keras")
    prepared = cache.prepare_into_cache(synthetic.synthetic_dataset(10), 128, folder)
    return model_evaluation.evaluate_model(str(folder / "model.keras"), lambda size, steps: prepared, "all")


def test_the_same_seed_writes_the_same_bytes(done, tmp_path):
    written = {}
    for name in ("one", "two"):
        search = patch_search.search(done, threshold=0.03)
        assert search.write(tmp_path / name / "patches").name == "patches.csv"
        table = patch_clusters.read_patches(tmp_path / name / "patches")
        network = done.model.networks[0]
        patch_report.write_clusters(tmp_path / name / "clusters", table, network, "pool5", 3, 5)
        written[name] = {
            str(path.relative_to(tmp_path / name)): path.read_bytes()
            for path in (tmp_path / name).rglob("*")
            if path.is_file()
        }
    assert written["one"] == written["two"]
    assert {"patches/patches.csv", "clusters/clusters.csv", "clusters/clusters.png"} <= written["one"].keys()


def test_what_is_found_is_what_the_table_has(done, tmp_path):
    search = patch_search.search(done, threshold=0.03)
    with open(search.write(tmp_path), newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == len(search.patches) > 0
    names = {row["image"] for row in rows}
    assert search.summary() == f"{len(rows)} patches of {len(names)} among 10 photographs"
    by_name = dict(zip(done.scored.images, done.scored.scores, strict=True))
    for row in rows:
        assert float(row["score_drop"]) > 0.03 and len(str(row["patch"])) > 0
        assert float(row["score"]) == pytest.approx(by_name[row["image"]], rel=1e-5)
    assert patch_search.search(done, threshold=9).advice.startswith("--threshold=9 selects none of ")
