"""Grading with other engines than TensorFlow: the same scores, in environments that haven't got it."""

import csv
import os
import subprocess
import sys

import cv2
import numpy as np
import pytest
from script_runs import check_refused, command, run

from dr_keras.data.synthetic import draw_fundus
from dr_keras.inference.grader import load_grader

# What an installation of the extra `edge` hasn't got.
HEAVY = "jinja2 keras matplotlib pandas scipy seaborn sklearn tensorboard tensorflow".split()


@pytest.fixture(scope="module")
def photographs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("photographs")
    for seed in range(3):
        cv2.imwrite(str(folder / f"{seed}.png"), draw_fundus(seed, seed, 200).image[..., ::-1])
    return folder


@pytest.fixture(scope="module")
def model(make_grader, tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    make_grader(0).save(folder / "model.keras")
    return folder


def grade(tmp_path, photographs, *arguments, without=()):
    """Runs predict.py where the packages `without` can't be imported; returns its rows."""
    blocked = tmp_path / "blocked"
    for name in without:
        (blocked / name).mkdir(parents=True, exist_ok=True)
        (blocked / name / "__init__.py").write_text(f"raise ModuleNotFoundError('No {name}', name='{name}')")
    output = tmp_path / "grades.csv"
    environment = os.environ | {"PYTHONPATH": f"{blocked}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"}
    environment.pop("KERAS_BACKEND", None)
    done = subprocess.run(
        [*command("predict", f"--output={output}", *arguments), str(photographs)],
        capture_output=True, text=True, timeout=200, env=environment,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    with open(output, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def check_scores(rows, model, photographs, tolerance):
    expected = load_grader(model).grade(sorted(map(str, photographs.glob("*.png"))))
    assert [row["image"] for row in rows] == [graded.image for graded in expected]
    scores = [graded.score for graded in expected]
    assert np.ptp(scores) > 1e-3
    np.testing.assert_allclose([float(row["score"]) for row in rows], scores, atol=tolerance)
    assert [row["grade_name"] for row in rows] == [graded.grade_name for graded in expected]


def test_tflite_needs_neither_keras_nor_tensorflow(tmp_path, model, photographs):
    pytest.importorskip("ai_edge_litert", reason="LiteRT isn't installed (extra edge)")
    from dr_keras.export import metadata, tflite

    grader = load_grader(model)
    path = tmp_path / "model.tflite"
    content = tflite.convert(grader.networks)
    path.write_bytes(metadata.into_tflite(content, metadata.describe(grader.networks, grader.rules, "none")))
    rows = grade(tmp_path, photographs, f"--model={path}", without=HEAVY)
    check_scores(rows, path, photographs, 1e-6)
    check_scores(rows, model, photographs, 1e-3)


def test_openvino_needs_no_tensorflow(tmp_path, model, photographs):
    pytest.importorskip("openvino", reason="OpenVINO isn't installed (extra openvino)")
    rows = grade(tmp_path, photographs, f"--model={model}", "--engine=openvino", without=["tensorflow"])
    check_scores(rows, model, photographs, 1e-4)


def test_lesion_networks_have_the_same_scores_on_openvino(tmp_path):
    pytest.importorskip("openvino", reason="OpenVINO isn't installed (extra openvino)")
    from dr_keras.models.grader_model import build_grader
    from dr_keras.models.lesion_nets import lesion_efficientnet

    network, rng = lesion_efficientnet(128), np.random.default_rng(0)
    network.get_layer("shares").least = (0.0, 0.0, 0.0, 0.0)
    for name in ("context", "score"):
        kernel = network.get_layer(name).kernel
        kernel.assign(rng.normal(0, 0.1, kernel.shape))
    build_grader(network, 128, (0, 0, 0), (1, 1, 1)).save(tmp_path / "model.keras")
    images = rng.integers(0, 256, (3, 128, 128, 3)).astype("uint8")
    np.save(tmp_path / "images.npy", images)
    code = (
        "import numpy, dr_keras; print(*dr_keras.load_grader('.').score_prepared(numpy.load('images.npy')))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=200, cwd=tmp_path,
        env=os.environ | {"KERAS_BACKEND": "openvino"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    expected = load_grader(tmp_path).score_prepared(images)
    assert np.ptp(expected) > 1e-3
    np.testing.assert_allclose([float(word) for word in done.stdout.split()], expected, atol=1e-4)


@pytest.mark.parametrize("script", ["predict", "explain"])
def test_another_backend_is_refused(script, tmp_path, photographs):
    output = {"predict": f"--output={tmp_path / 'grades.csv'}", "explain": f"--output_dir={tmp_path}"}
    done = run(script, output[script], photographs, env=os.environ | {"KERAS_BACKEND": "jax"})
    check_refused(done, "KERAS_BACKEND=jax", "tensorflow")


def test_an_exported_model_has_its_own_engine(tmp_path, photographs):
    (tmp_path / "model.onnx").write_bytes(b"any")
    done = run("predict", f"--model={tmp_path / 'model.onnx'}", "--engine=openvino", photographs)
    check_refused(done, "--engine=openvino", "model.onnx", "expected")
