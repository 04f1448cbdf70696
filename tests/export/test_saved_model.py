"""The exported SavedModel against Keras, and in the hands of TensorFlow's own tool."""

import io
import os
import stat
import subprocess
import sys

import cv2
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from dr_keras.data.photograph import Photograph
from dr_keras.errors import InputError
from dr_keras.explain import explainer, occlusion, overlay, ram
from dr_keras.export.saved_model import export_saved_model
from dr_keras.export.warm_up import FILE
from dr_keras.grades import grade_probabilities
from dr_keras.inference.grader import load_grader
from dr_keras.inference.loaded_saved_model import load_saved_model
from dr_keras.training.scoring import scoring_step


def keras_scores(graders, paths):
    images = np.stack([Photograph(path).prepare(128).pixels for path in paths])
    return np.mean([scoring_step(grader)(images).numpy() for grader in graders], axis=0)


@pytest.fixture(scope="module")
def photographs(encode, tmp_path_factory):
    folder = tmp_path_factory.mktemp("photographs")
    shapes = [(480, 640), (600, 600), (300, 200), (1200, 1600)]
    for seed, (height, width) in enumerate(shapes):
        for form in (".jpg", ".png"):
            (folder / f"{seed}{form}").write_bytes(encode(seed, form, height, width))
    return sorted(folder.iterdir())


def test_scores_are_those_of_keras(exported, loaded, photographs):
    expected = keras_scores(exported[0], photographs)
    graded = loaded.grade([path.read_bytes() for path in photographs])
    assert np.ptp(expected) > 0.5  # the photographs differ
    np.testing.assert_allclose(graded["score"], expected, atol=1e-3)
    grades = np.sum(expected[:, None] >= [0.1, 1, 2, 3], axis=1)
    np.testing.assert_array_equal(graded["grade"], grades)
    np.testing.assert_array_equal(graded["referable"], grades >= 2)
    assert graded["gradable"].all() and set(graded["message"]) == {b""}
    shares = grade_probabilities(expected, (2.0, 0.2, 1.0, 2.0, 3.0))
    np.testing.assert_allclose(graded["probabilities"], shares, atol=1e-3)
    np.testing.assert_allclose(graded["referable_probability"], shares[:, 2:].sum(axis=1), atol=1e-3)


def test_a_photograph_has_one_score_and_map_in_any_batch(exported, loaded, photographs):
    data = [path.read_bytes() for path in photographs]
    together = loaded.explain(data)
    for size in (1, 2):
        parts = [loaded.explain(data[start : start + size]) for start in (0, size)]
        for name in ("score", "map"):
            found = np.concatenate([part[name] for part in parts])
            np.testing.assert_allclose(found, together[name][: 2 * size], rtol=1e-6, atol=1e-6)
    images = np.stack([Photograph(path).prepare(128).pixels for path in photographs])
    for some in (images, images[:1]):
        expected = np.mean([scoring_step(grader)(some).numpy() for grader in exported[0]], axis=0)
        np.testing.assert_allclose(loaded.grade_pixels(some)["score"], expected, rtol=3e-7)


def test_bad_files_are_answered_for_themselves(loaded, photographs, write_odd_photographs, tmp_path):
    reasons = write_odd_photographs(tmp_path / "odd")
    names = sorted(reasons)
    good = photographs[0].read_bytes()
    rng = np.random.default_rng(0)
    noise = [bytes(rng.integers(0, 256, 200, np.uint8)), b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n"]
    files = [(tmp_path / "odd" / name).read_bytes() for name in names]
    graded = loaded.grade([good, *files, *noise, good])
    np.testing.assert_allclose(graded["score"][[0, -1]], loaded.grade([good])["score"][0], atol=1e-5)
    for row, name in enumerate(names, start=1):
        message = graded["message"][row].decode()
        assert graded["gradable"][row] == (message == ""), name
        assert np.isnan(graded["score"][row]) == bool(reasons[name]), name
        expected = reasons[name] or ("not a colour photograph" if name == "grey.jpg" else "")
        assert (graded["grade"][row] == -1) == bool(expected), name
        assert expected in message and bool(message) == bool(expected), name
    assert not graded["gradable"][len(names) + 1 : -1].any()
    unknown = np.isnan(graded["referable_probability"])
    np.testing.assert_array_equal(unknown, ~graded["gradable"])
    np.testing.assert_array_equal(np.isnan(graded["probabilities"]).all(axis=1), unknown)


def test_every_truncation_is_survived(loaded, encode):
    data = encode(0, ".png", 120, 160)
    cut = [data[:length] for length in range(1, len(data), len(data) // 40)]
    assert not loaded.grade(cut)["gradable"].any()


def test_an_empty_batch_has_an_empty_answer(loaded):
    assert loaded.grade([])["score"].shape == (0,)


@pytest.mark.parametrize("kind", ("JPEG", "PNG"))
def test_orientation_is_applied_as_in_python(loaded, exported, draw_photograph, kind):
    """A phone or camera held sideways says so in the file; the score and the size of the picture follow."""
    image, data = Image.fromarray(draw_photograph(0, 150, 240)), []
    for orientation in range(1, 9):
        exif, file = Image.Exif(), io.BytesIO()
        exif[274] = orientation
        image.save(file, kind, exif=exif, **({"quality": 95} if kind == "JPEG" else {}))
        data.append(file.getvalue())
    scores = loaded.grade(data)["score"]
    np.testing.assert_allclose(scores, keras_scores(exported[0], data), atol=1e-3)
    assert len(set(np.round(scores, 4))) > 4
    png = loaded.explain(data[5:6])["overlay_png_bytes"][0]
    assert Image.open(io.BytesIO(png)).size == (150, 240)


def test_what_is_too_bad_is_not_gradable_and_has_its_score_as_in_predict(exported, photographs, tmp_path):
    (tmp_path / "black.png").write_bytes(cv2.imencode(".png", np.zeros((100, 100, 3), np.uint8))[1])
    (tmp_path / "cut.jpg").write_bytes(photographs[0].read_bytes()[:900])
    paths = [tmp_path / "black.png", tmp_path / "cut.jpg", photographs[0]]
    black, cut, good = load_grader(exported[1]).grade(paths)
    assert black.reason == "no visible retina: the photograph is black" and black.readable
    assert black.grade is None and not black.gradable
    assert black.score == pytest.approx(keras_scores(exported[0], paths[:1])[0], abs=1e-3)
    assert cut.reason == "the JPEG file is truncated" and not cut.readable and np.isnan(cut.score)
    assert good.gradable and good.reason == "" and good.grade is not None


def test_maps_and_overlays_are_those_of_explain(exported, loaded, photographs):
    paths = [photographs[0], photographs[6]]
    explained = loaded.explain([path.read_bytes() for path in paths] + [b"bad"])
    images = np.stack([Photograph(path).prepare(128).pixels for path in paths])
    expected = np.mean([ram.regression_activation_map(g, images)[1] for g in exported[0]], axis=0)
    np.testing.assert_allclose(explained["map"][:2], expected, atol=1e-3)
    assert np.isnan(explained["map"][2]).all() and explained["overlay_png_bytes"][2] == b""
    explain = explainer.Explainer([exported[0]], max_side=512)
    for picture, (_, found, _) in zip(explained["overlay_png_bytes"], explain([str(p) for p in paths])):
        drawn = cv2.imdecode(np.frombuffer(picture, np.uint8), cv2.IMREAD_COLOR)[..., ::-1].astype(int)
        difference = np.abs(drawn - overlay.panels(found)[1])
        assert drawn.shape[1] == 512 and np.mean(difference > 2) < 0.005
        assert np.ptp(found.heat) > 0.1


def test_occlusion_is_that_of_explain(exported, loaded, photographs):
    found = loaded.occlude([photographs[0].read_bytes(), b"bad"])
    images = Photograph(photographs[0]).prepare(128).pixels[None]
    expected = np.mean([occlusion.occlusion_map(g, images, 14, 14)[1] for g in exported[0]], axis=0)
    assert expected.shape == (1, 8, 8) and np.ptp(expected) > 0.01
    np.testing.assert_allclose(found["map"][:1], expected, atol=1e-3)
    np.testing.assert_allclose(found["score"][0], keras_scores(exported[0], photographs[:1])[0], atol=1e-3)
    assert found["overlay_png_bytes"][0].startswith(b"\x89PNG") and found["overlay_png_bytes"][1] == b""


def test_pixels_takes_prepared_images(exported, loaded, photographs):
    images = np.stack([Photograph(path).prepare(128).pixels for path in photographs[:3]])
    expected = keras_scores(exported[0], photographs[:3])
    np.testing.assert_allclose(loaded.grade_pixels(images)["score"], expected, atol=1e-6)


def test_metadata_and_warm_up_lie_inside(exported, loaded):
    described = loaded.metadata
    assert described["name"] == "tiny" and described["image_size"] == 128 and described["networks"] == 2
    assert described["rules"].thresholds == (0.1, 1, 2, 3) and described["rules"].referable_grade == 2
    assert len(described["sha256"]) == 64
    records = [r.numpy() for r in tf.data.TFRecordDataset(str(exported[1] / "1" / "assets.extra" / FILE))]
    assert len(records) == 2 and all(b"image_bytes" in record for record in records)
    # PredictionLog.predict_log is field 6, PredictLog.request field 1, both length-delimited.
    assert all(record[0] == 6 << 3 | 2 for record in records)
    photograph = records[0][records[0].index(b"\xff\xd8\xff") :]
    assert loaded.grade([photograph])["gradable"][0]


def test_versions_are_never_overwritten(make_grader, tmp_path, monkeypatch):
    (tmp_path / "3").mkdir(parents=True)
    (tmp_path / ".export-left").mkdir()  # of an export that was killed
    grader = make_grader(head="dense")
    before = os.umask(0o027)
    try:
        assert export_saved_model([grader], tmp_path).name == "4"
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "4").stat().st_mode) == 0o750
    assert sorted(path.name for path in tmp_path.iterdir()) == ["3", "4"]
    model = load_saved_model(tmp_path)
    assert model.version == 4 and not model.explains
    assert set(model.signatures) == {"serving_default", "pixels", "occlude"}

    def fail(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "rename", fail)
    with pytest.raises(KeyboardInterrupt):
        export_saved_model([grader], tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["3", "4"]


def test_what_is_no_model_is_named(tmp_path):
    with pytest.raises(InputError, match="no SavedModel there"):
        load_saved_model(tmp_path)
    tf.saved_model.save(tf.Module(), str(tmp_path / "foreign/1"))
    for load in (load_saved_model, load_grader):
        with pytest.raises(InputError, match="foreign/1: not exported by scripts/export.py"):
            load(tmp_path / "foreign")


def test_saved_model_cli_shows_and_runs_it(exported, photographs, tmp_path):
    tool = os.path.join(os.path.dirname(sys.executable), "saved_model_cli")
    folder = exported[1] / "1"
    shown = subprocess.run(
        [tool, "show", "--dir", folder, "--all"], capture_output=True, text=True, check=True
    )
    for text in ("signature_def['serving_default']", "inputs['image_bytes']", "outputs['overlay_png_bytes']"):
        assert text in shown.stdout
    np.save(
        tmp_path / "photographs.npy", np.array([path.read_bytes() for path in photographs[:2]] + [b"bad"])
    )
    run = [tool, "run", "--dir", folder, "--tag_set", "serve", "--signature_def", "serving_default"]
    run += ["--inputs", f"image_bytes={tmp_path / 'photographs.npy'}", "--outdir", tmp_path]
    subprocess.run(run, capture_output=True, text=True, check=True)
    scores = np.load(tmp_path / "score.npy")
    np.testing.assert_allclose(scores[:2], keras_scores(exported[0], photographs[:2]), atol=1e-3)
    assert np.isnan(scores[2]) and np.load(tmp_path / "grade.npy")[2] == -1


@pytest.mark.slow
def test_exports_are_equal_byte_for_byte_from_run_to_run(tmp_path):
    """Hashes differ from process to process, and with them the order in which sets are walked through."""
    pytest.importorskip("tf2onnx")
    code = """
import sys
from pathlib import Path
from dr_keras.export import metadata, onnx, tflite
from dr_keras.export.saved_model import export_saved_model
from dr_keras.models.grader_model import build_grader
from dr_keras.models.nets import net5
from dr_keras.models.rules import GradingRules

graders = [build_grader(net5(128, width=0.1), 128, (120, 60, 30), (50, 40, 30))]
folder = Path(sys.argv[1])
export_saved_model(graders, folder, GradingRules())
(folder / "a.tflite").write_bytes(tflite.convert(graders))
(folder / "a.onnx").write_bytes(metadata.into_onnx(onnx.convert(graders), {}))
"""
    written = []
    for name in ("once", "again"):
        folder = tmp_path / name / "model"
        subprocess.run([sys.executable, "-c", code, folder], check=True, capture_output=True)
        files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
        written.append({str(path.relative_to(folder)): path.read_bytes() for path in files})
    assert list(written[0]) == list(written[1]) and len(written[0]) == 8
    for name, content in written[0].items():
        assert content == written[1][name], name


def test_a_strongly_compressed_photograph_gets_no_grade(loaded, draw_photograph):
    """As in Python, which reads the same of the file's header."""
    image, files = Image.fromarray(draw_photograph(1, 160, 200)), []
    for quality in (12, 20, 30, 90):
        file = io.BytesIO()
        image.save(file, "JPEG", quality=quality)
        files.append(file.getvalue())
    limits = loaded.metadata["rules"].quality
    expected = [Photograph(data).gradability(128, limits)[1] for data in files]
    assert [message.decode() for message in loaded.grade(files)["message"]] == expected
    assert expected[0].startswith("too strongly compressed") and expected[3] == ""


def test_what_lies_behind_the_end_is_passed_over(loaded, encode):
    """Motion photographs have a film there, some cameras zeros; a preview's end is none."""
    rng = np.random.default_rng(0)
    for form in (".jpg", ".png"):
        data = encode(1, form)
        tails = [b"", bytes(100_000), rng.bytes(20_000)]
        scores = loaded.grade([data + tail for tail in tails])["score"]
        np.testing.assert_allclose(scores, scores[0], atol=1e-5)
    preview = io.BytesIO()
    exif = Image.Exif()
    exif[270] = "a preview ends here: \xff\xd9"
    Image.open(io.BytesIO(encode(1, ".jpg"))).save(preview, "JPEG", exif=exif, comment=b"and here \xff\xd9")
    cut = loaded.grade([preview.getvalue(), preview.getvalue()[:-2], preview.getvalue()[:9000]])
    assert [message.decode() for message in cut["message"]] == ["", *["the JPEG file is truncated"] * 2]
