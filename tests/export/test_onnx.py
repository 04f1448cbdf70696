"""ONNX models, run by ONNX Runtime, against the Keras networks that they were made of."""

import numpy as np
import pytest
from prepared_folders import noise_images, write_prepared

from dr_keras.errors import InputError
from dr_keras.export import onnx
from dr_keras.inference import formats
from dr_keras.inference.grader import load_grader
from dr_keras.inference.runtimes import ONNXRuntime

pytest.importorskip("onnxruntime", reason="ONNX isn't installed (extra onnx)")
pytest.importorskip("tf2onnx", reason="ONNX isn't installed (extra onnx)")
THRESHOLDS = (0.4, 1.5, 2.5, 3.5)


def test_scores_of_two_networks_are_those_of_keras(make_grader, tmp_path):
    images = noise_images(6, 128)
    prepared = write_prepared(tmp_path / "prepared", images, [0, 1, 2, 3, 4, 0])
    for fold in (0, 1):
        (tmp_path / f"run/fold_{fold}").mkdir(parents=True)
        make_grader(fold).save(tmp_path / f"run/fold_{fold}/model.keras")
    model, path = load_grader(tmp_path / "run", THRESHOLDS), tmp_path / "model.onnx"
    report = onnx.export_onnx(model, prepared, path)
    assert "6 photographs" in report and "same grade 100.0 %" in report
    reference = model.score_prepared(images)
    assert np.ptp(reference) > 0.5
    exported_model = load_grader(path)
    assert exported_model.image_size == 128
    for some in (slice(0, 6), slice(2, 3)):
        np.testing.assert_allclose(exported_model.score_prepared(images[some]), reference[some], atol=1e-4)
    assert exported_model.rules == model.rules and exported_model.rules.thresholds == THRESHOLDS
    assert exported_model.sha256 == model.sha256 and formats.format_of(path) == "onnx"

    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(InputError, match=f"{path}: not a model made by scripts/export.py"):
        ONNXRuntime(path)
