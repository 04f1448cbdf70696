"""TFLite models, run by LiteRT, against the Keras networks that they were made of."""

import json
import subprocess
import sys
import zipfile

import numpy as np
import pytest
from prepared_folders import noise_images, write_prepared

from dr_keras.errors import InputError
from dr_keras.export import check, float32, metadata, tflite
from dr_keras.inference.grader import load_grader
from dr_keras.inference.runtimes import TFLiteRuntime
from dr_keras.models.grader_model import network_of

pytest.importorskip("ai_edge_litert", reason="LiteRT isn't installed (extra edge)")
THRESHOLDS = (0.5, 1.5, 2.5, 3.5)


@pytest.fixture(scope="module")
def run(make_grader, tmp_path_factory):
    """A model of one network with biases that differ by position, and photographs for it."""
    grader, folder = make_grader(0), tmp_path_factory.mktemp("run")
    bias = network_of(grader).get_layer("conv3_bias").bias
    bias.assign(np.random.default_rng(0).normal(0.05, 0.1, bias.shape))
    grader.save(folder / "model.keras")
    images = noise_images(12, 128)
    prepared = write_prepared(folder / "prepared", images, [0, 1, 2, 3, 4, 0, 1, 2, 3, 4, 0, 1])
    return load_grader(folder / "model.keras"), prepared


@pytest.mark.parametrize("quantize, tolerance", [("none", 1e-4), ("float16", 0.02)])
def test_scores_are_those_of_keras(run, tmp_path, quantize, tolerance):
    model, prepared = run
    path = tmp_path / "model.tflite"
    report = tflite.export_tflite(model, prepared, path, quantize, min_agreement=0)
    assert "12 photographs" in report
    images = prepared.read(np.arange(12))
    expected = model.score_prepared(images)
    assert np.ptp(expected) > 0.5
    lite = load_grader(path)
    np.testing.assert_allclose(lite.score_prepared(images), expected, atol=tolerance)
    described = json.loads(path.with_suffix(".json").read_text())
    assert described["quantize"] == quantize and described["rules"] == lite.rules.to_dict()
    assert lite.rules == model.rules and lite.sha256 == model.sha256
    with zipfile.ZipFile(path) as archive:
        assert json.loads(archive.read("dr_keras.json")) == {
            name: value for name, value in described.items() if name != "checked"
        }


def test_int8_is_small_and_takes_the_mean_shift_back(run):
    model, prepared = run
    images = prepared.read(np.arange(12))
    expected = model.score_prepared(images)
    content, whole = tflite.convert(model.networks, "int8", images), tflite.convert(model.networks)
    described = metadata.describe(model.networks, model.rules, "int8")
    scores = TFLiteRuntime(metadata.into_tflite(content, described)).score(images)
    assert len(content) < 0.6 * len(whole)  # a tiny network's graph is half of its file
    assert abs(np.mean(scores - expected)) < 0.005 and np.corrcoef(scores, expected)[0, 1] > 0.99


def test_flipped_bytes_end_in_one_line(run, tmp_path):
    """Each copy in turn, in a process of its own: a crash there would be seen."""
    model, prepared = run
    images = prepared.read(np.arange(12))
    described = metadata.describe(model.networks, model.rules, "int8")
    whole = metadata.into_tflite(tflite.convert(model.networks, "int8", images), described)
    for seed in range(12):
        rng, data = np.random.default_rng(seed), bytearray(whole)
        for place in rng.integers(0, len(data), 30):
            data[place] ^= 1 << int(rng.integers(8))
        (tmp_path / f"{seed}.tflite").write_bytes(data)
    code = (
        "import numpy, sys\n"
        "from dr_keras import InputError, load_grader\n"
        "for name in sys.argv[1:]:\n"
        "    try:\n"
        "        load_grader(name).score_prepared(numpy.zeros((1, 128, 128, 3), 'uint8'))\n"
        "        print('run')\n"
        "    except InputError as error:\n"
        "        print(error)\n"
    )
    names = sorted(map(str, tmp_path.glob("*.tflite")))
    done = subprocess.run([sys.executable, "-c", code, *names], capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert len(lines) == 12 and sum(line.startswith(str(tmp_path)) for line in lines) > 5, lines


def test_nothing_is_written_below_the_agreement_asked_for(run, tmp_path):
    model, prepared = run
    with pytest.raises(InputError, match="--min_agreement=1.01: only .* % of 12"):
        tflite.export_tflite(model, prepared, tmp_path / "model.tflite", min_agreement=1.01)
    assert list(tmp_path.iterdir()) == []


def test_split_biases_give_the_same_sums(run):
    model, prepared = run
    images = prepared.read(np.arange(3)).astype("float32")
    split = float32.rebuild_float32(model.networks[0], split_biases=True)
    np.testing.assert_allclose(split(images), model.networks[0](images), atol=1e-4)
    assert np.abs(network_of(split).get_layer("conv3_bias").bias.numpy().mean(axis=(0, 1))).max() < 1e-6


def test_comparison_is_counted_by_hand():
    found = check.compare([0.1, 1.2, 2.4, 3.9], np.array([0.2, 1.2, 2.6, 3.9]), [0, 1, 3, 4], THRESHOLDS)
    assert found["agreement"] == 0.75
    assert found["max_score_difference"] == pytest.approx(0.2)
    assert found["mean_score_difference"] == pytest.approx(0.075)
    # One of four is a grade off; by chance, all pairs of 0 1 3 4 with 0 1 2 4 differ by 76 / 4, squared.
    assert found["kappa"] == pytest.approx(1 - 1 / 19)
    assert found["kappa_change"] == pytest.approx(found["kappa"] - 1)
