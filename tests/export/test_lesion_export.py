"""A lesion network as a SavedModel, TFLite and ONNX model: the scores, outlines and sums of Keras."""

import cv2
import numpy as np
import pytest
import tensorflow as tf

import dr_keras
from dr_keras.data import synthetic
from dr_keras.export.onnx import convert as to_onnx
from dr_keras.export.saved_model import export_saved_model
from dr_keras.export.tflite import convert as to_tflite
from dr_keras.inference.grader import Grader
from dr_keras.lesion_kinds import COLORS, LESIONS
from dr_keras.models import GradingRules, build_grader
from dr_keras.models.lesion_nets import lesion_efficientnet

SIZE = 128


@pytest.fixture(scope="module")
def network():
    """A grader that marks whatever is much brighter or darker than what is around it."""
    network = lesion_efficientnet(SIZE, widths=(4, 6, 8, 8, 8))
    network.get_layer("segmenter").get_layer("logits").bias.assign(np.full(5, -1.0))
    context = network.get_layer("context")
    kernel = np.random.default_rng(0).normal(0, 0.1, context.kernel.shape)
    context.set_weights([kernel, np.full(4, 0.5)])
    score = network.get_layer("score")
    score.set_weights([np.linspace(0.01, 0.07, 48).reshape(12, 4), np.array([-0.5, -1.5, -2.5, -3.5])])
    return build_grader(network, SIZE, (0, 0, 0), (1, 1, 1), GradingRules())


@pytest.fixture(scope="module")
def photographs():
    return [synthetic.draw_fundus(number, 3, 256).image for number in range(3)]


def encoded(image):
    return cv2.imencode(".png", image[..., ::-1])[1].tobytes()


@pytest.fixture(scope="module")
def exported(network, tmp_path_factory):
    return export_saved_model([network], tmp_path_factory.mktemp("exported"))


def test_the_saved_model_outlines_lesions_and_says_what_they_add(network, photographs, exported):
    grader = Grader.of_networks([network])
    data = [encoded(image) for image in photographs]
    outputs = tf.saved_model.load(str(exported)).signatures["explain"](image_bytes=tf.constant([*data, b"x"]))
    explained = grader.explain(photographs)
    for number, explanation in enumerate(explained):
        assert outputs["score"].numpy()[number] == pytest.approx(explanation.score, abs=2e-3)
        added = outputs["lesion_scores"].numpy()[number]
        context = outputs["context_score"].numpy()[number]
        assert context == pytest.approx(explanation.findings.context, abs=2e-3) and abs(context) > 1e-3
        sums = added.sum() + context + explanation.findings.bias
        assert sums == pytest.approx(outputs["score"].numpy()[number], abs=1e-4)
        by_kind = [
            sum(lesion.contribution for lesion in explanation.findings.of_kind(kind)) for kind in LESIONS
        ]
        assert np.all(np.array(by_kind) <= added + 5e-3)
        png = outputs["overlay_png_bytes"].numpy()[number]
        picture = cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_COLOR)[..., ::-1]
        assert picture.shape == photographs[number].shape
        changed = (picture != photographs[number]).any(axis=2)
        assert changed.any() == bool(explanation.findings.lesions)
        colors = {tuple(color) for color in picture[changed].tolist()}
        assert colors <= {COLORS[kind] for kind in LESIONS}
    assert np.isnan(outputs["lesion_scores"].numpy()[-1]).all()
    assert outputs["overlay_png_bytes"].numpy()[-1] == b""


def test_the_way_of_its_scores_through_every_format(network, photographs, exported, tmp_path):
    grader = Grader.of_networks([network])
    expected = [graded.score for graded in grader.grade(photographs)]
    scores = [graded.score for graded in dr_keras.load_grader(exported).grade(photographs)]
    np.testing.assert_allclose(scores, expected, atol=2e-3)
    images = np.stack([grader._prepare(image)[1].pixels for image in photographs]).astype("float32")
    interpreter = _interpreter(to_tflite([network]))
    for image, score in zip(images, expected, strict=True):
        assert interpreter(image[None]) == pytest.approx(score, abs=1e-3)
    session = pytest.importorskip("onnxruntime").InferenceSession(to_onnx([network]))
    assert "image" in [value.name for value in session.get_inputs()]
    found = session.run(None, {"image": images})[0]
    np.testing.assert_allclose(np.ravel(found), expected, atol=1e-3)


def _interpreter(content):
    litert = pytest.importorskip("ai_edge_litert.interpreter")
    runner = litert.Interpreter(model_content=content).get_signature_runner("pixels")
    return lambda image: float(runner(image=image)["score"][0])
