"""One grader for every form of a photograph and of a model."""

import io
import zipfile

import cv2
import keras
import numpy as np
import pytest
from mean_graders import SIZE, mean_grader, save_mean_grader
from PIL import Image
from prepared_folders import write_prepared

import dr_keras
from dr_keras.data.photograph import Photograph
from dr_keras.data.quality import QualityLimits
from dr_keras.errors import InputError
from dr_keras.inference.grader import Grader, load_grader
from dr_keras.models.grader_model import rules_of, with_rules
from dr_keras.models.rules import GradingRules
from dr_keras.training.scoring import DatasetScorer

FLAT = "no visible retina: the photograph has no detail"


@pytest.fixture(scope="module")
def folds(tmp_path_factory):
    """A run of two folds whose scores are 0.01 and 0.02 times the mean of the image."""
    run = tmp_path_factory.mktemp("runs") / "folds"
    for fold in (0, 1):
        save_mean_grader(run / f"fold_{fold}/model.keras", 0.01 * (fold + 1))
    return run


@pytest.fixture(scope="module")
def eye(draw_photograph):
    """A photograph that can be graded: uint8 RGB."""
    from dr_keras.data.synthetic import draw_fundus

    return draw_fundus(3, 2, 300).image


def test_files_have_the_scores_of_prepared_photographs(tmp_path):
    save_mean_grader(tmp_path / "run/model.keras", 0.01)
    grader = load_grader(tmp_path / "run")
    images = np.broadcast_to(np.array([30, 90, 91, 200], np.uint8)[:, None, None, None], (4, SIZE, SIZE, 3))
    prepared = write_prepared(tmp_path / "prepared", images, [0, 1, 2, 3])
    paths = [str(tmp_path / f"{index}.png") for index in range(4)]
    for path, image in zip(paths, images, strict=True):  # no edge in it: the centre square is taken
        Image.fromarray(image.repeat(3, axis=0).repeat(4, axis=1)).save(path)
    paths.insert(2, str(tmp_path / "missing.png"))
    expected = DatasetScorer(grader.networks[0], prepared)(np.arange(4)).tolist()
    for batch_size in (1, 2, 32):
        results = grader.grade(paths, batch_size)
        assert [graded.image for graded in results] == paths
        assert [graded.readable for graded in results] == [True, True, False, True, True]
        missing = "can't be read (No such file or directory)"
        assert [graded.reason for graded in results] == [FLAT, FLAT, missing, FLAT, FLAT]
        assert not any(graded.gradable for graded in results)
        assert {(each.grade, each.grade_name, each.referable) for each in results} == {(None, "", None)}
        scores = [graded.score for graded in results]
        assert scores[:2] + scores[3:] == expected and np.isnan(scores[2])


def test_every_form_of_a_photograph_has_the_same_grade(tmp_path, eye):
    grader = Grader.of_networks([mean_grader(0.02)])
    image = Image.fromarray(eye)
    image.save(tmp_path / "eye.png")
    data = (tmp_path / "eye.png").read_bytes()
    forms = [tmp_path / "eye.png", str(tmp_path / "eye.png"), data, bytearray(data), image, eye]
    results = grader.grade(forms)
    assert len({graded.score for graded in results}) == 1 and results[0].gradable
    assert results[0].image == str(tmp_path / "eye.png") and results[-1].image == "photograph"
    one = grader.grade(eye)
    assert (one.score, one.grade, one.gradable) == (results[0].score, results[0].grade, True)
    assert one.grade == int(np.searchsorted((0.5, 1.5, 2.5, 3.5), one.score, side="right"))
    assert one.grade_name == dr_keras.grades.GRADE_NAMES[one.grade] and one.referable == (one.grade >= 2)


def test_a_turned_pil_image_stands_upright(eye):
    grader, exif, data = Grader.of_networks([mean_grader(0.02)]), Image.Exif(), io.BytesIO()
    exif[274] = 6
    Image.fromarray(np.rot90(eye).copy()).save(data, "PNG", exif=exif)
    of_bytes, of_image = grader.grade([data.getvalue(), Image.open(data)])
    assert of_bytes.score == of_image.score == grader.grade(eye).score


def test_a_damaged_pil_image_costs_no_other_its_grade(eye):
    grader, data = Grader.of_networks([mean_grader(0.02)]), io.BytesIO()
    Image.fromarray(eye).save(data, "JPEG")
    cut = Image.open(io.BytesIO(data.getvalue()[: len(data.getvalue()) // 2]))
    whole, damaged, tiny = grader.grade([Image.fromarray(eye), cut, Image.new("RGB", (40, 20))])
    assert whole.score == grader.grade(eye).score and not damaged.readable and "truncated" in damaged.reason
    assert tiny.reason == "40x20 pixels, expected at least 32x32"
    deep = Image.fromarray(eye[..., 1].astype("uint16") * 257)
    grey = Image.fromarray(eye[..., 1])
    assert deep.mode == "I;16" and grader.grade(deep).score == grader.grade(grey).score


@pytest.mark.parametrize(
    ("photograph", "words"),
    [
        (np.zeros((64, 64, 3), "float32"), "scale values in 0-1 to 0-255 first"),
        (np.full((64, 64, 3), 90.0), "uint8 RGB array .* dtype float64"),
        (np.zeros((64, 64), np.uint8), r"shape \(64, 64\)"),
        (np.zeros((2, 64, 64, 3), np.uint8), "several photographs are given as a list"),
        (np.zeros((16, 64, 3), np.uint8), "At least 32 pixels"),
        (17, "Received: int"),
    ],
)
def test_what_is_no_photograph_is_refused(photograph, words):
    with pytest.raises(ValueError, match=words):
        Grader.of_networks([mean_grader(0.02)]).grade(photograph)


def test_bgr_order_is_told(eye):
    with pytest.raises(ValueError, match="BGR order; pass image"):
        Grader.of_networks([mean_grader(0.02)]).grade(eye[..., ::-1])


def test_an_empty_list_is_refused():
    with pytest.raises(ValueError, match="at least one photograph"):
        Grader.of_networks([mean_grader(0.02)]).grade([])
    with pytest.raises(ValueError, match="at least one photograph"):
        Grader.of_networks([mean_grader(0.02)]).explain([])


@pytest.mark.parametrize("photographs", ["eye.jpg", None])
def test_grade_each_takes_a_list(photographs):
    with pytest.raises(ValueError, match="must be a list or tuple of photographs"):
        next(Grader.of_networks([mean_grader(0.02)]).grade_each(photographs))


def test_files_are_scored_by_all_folds(tmp_path, folds):
    Image.fromarray(np.full((40, 40, 3), 100, np.uint8)).save(tmp_path / "a.png")
    grader = load_grader(folds)
    assert grader.num_networks == 2 and grader.name == "folds"
    assert grader.grade(tmp_path / "a.png").score == pytest.approx(1.5)


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: data[: len(data) // 2],
        lambda data: data[:10],
        lambda data: b"",
        lambda data: data[:300] + bytes(200) + data[500:],
    ],
)
def test_a_damaged_model(tmp_path, folds, damage):
    path = tmp_path / "model.keras"
    path.write_bytes(damage((folds / "fold_0/model.keras").read_bytes()))
    with pytest.raises(InputError, match="model.keras: not a model saved by this project") as caught:
        load_grader(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((5,), "`model` must be the path of a model, or None. Received: int"),
        (("nothing",), "nothing: no such model; expected a run folder, a .keras, .tflite or .onnx file"),
        ((None, 5), "`thresholds` must be four increasing numbers. Received: 5"),
        ((None, "a"), "`thresholds` must be four increasing numbers. Received: 'a'"),
    ],
)
def test_what_no_grader_is_made_of(arguments, words):
    with pytest.raises(InputError, match=words):
        load_grader(*arguments)


# What travels with a model

RULES = GradingRules(
    normalization=("clahe", "color"),
    thresholds=(0.1, 0.2, 0.3, 0.4),
    grade_names=("zero", "one", "two", "three", "four"),
    referable_grade=3,
    quality=QualityLimits(min_coverage=0.123),
)


def test_a_model_carried_elsewhere_judges_as_before(tmp_path, eye):
    save_mean_grader(tmp_path / "run/model.keras", 0.01, RULES)
    (tmp_path / "run/run.cfg").write_text("--thresholds=1,2,3,4\n")  # provenance; nothing is judged by it
    elsewhere = tmp_path / "elsewhere.keras"
    elsewhere.write_bytes((tmp_path / "run/model.keras").read_bytes())
    there, here = load_grader(tmp_path / "run"), load_grader(elsewhere)
    assert there.rules == here.rules == RULES and RULES.normalization == ("color", "clahe")
    assert there.grade(eye) == here.grade(eye)
    graded = here.grade(eye)
    assert graded.grade == 4 and graded.grade_name == "four" and graded.referable
    assert (there.name, here.name) == ("run", "elsewhere") and there.sha256 == here.sha256
    normal = Photograph(eye).prepare(SIZE, ("color", "clahe")).pixels
    assert graded.score == pytest.approx(0.01 * normal.mean(), rel=1e-4)
    assert abs(Photograph(eye).prepare(SIZE).pixels.mean() - normal.mean()) > 1
    assert here.open(lambda size, steps: (size, steps)) == (SIZE, ("color", "clahe"))


def test_quality_limits_are_those_of_the_model(eye):
    strict = GradingRules(quality=QualityLimits(min_coverage=1.5))
    graded = Grader.of_networks([mean_grader(0.01, strict)]).grade(eye)
    assert not graded.gradable and graded.reason.startswith("cut off") and graded.grade is None


def test_thresholds_named_go_before_the_models_own(eye):
    grader = Grader.of_networks([mean_grader(0.01, RULES)], thresholds=(100, 200, 300, 400))
    assert grader.grade(eye).grade == 0 and grader.rules.quality == RULES.quality


def test_rules_survive_keras_own_saving_and_cloning(tmp_path):
    model = mean_grader(0.01, RULES)
    model.save(tmp_path / "a.keras")
    again = keras.models.load_model(tmp_path / "a.keras")
    again.save(tmp_path / "b.keras")
    assert rules_of(keras.models.load_model(tmp_path / "b.keras")) == RULES
    assert rules_of(keras.models.clone_model(model)) == RULES
    other = with_rules(again, GradingRules(thresholds=(1, 2, 3, 4)))
    assert rules_of(other).thresholds == (1, 2, 3, 4)
    image = np.full((1, SIZE, SIZE, 3), 70, np.uint8)
    np.testing.assert_array_equal(other(image), model(image))


def test_a_model_without_rules_is_refused_with_the_remedy(tmp_path):
    ruled = mean_grader(0.01)
    keras.Model(ruled.inputs, ruled.get_layer("rules").input, name="grader").save(tmp_path / "old.keras")
    with pytest.raises(InputError, match=r"old.keras: the model was saved by version 0.1, .*with_rules"):
        load_grader(tmp_path / "old.keras")


@pytest.mark.parametrize("values", [{"thresholds": [1, 2, 3]}, {"thresholds": [2, 1, 3, 4]}, {"quality": 3}])
def test_wrong_rules_are_refused(values):
    with pytest.raises(InputError):
        GradingRules.from_dict(values)


def test_limits_that_an_earlier_version_did_not_have_are_the_defaults():
    rules = GradingRules.from_dict({"quality": {"min_coverage": 0.5, "of_a_later_version": 1}})
    assert rules.quality == QualityLimits(min_coverage=0.5)


def test_a_tflite_file_without_metadata_is_refused(tmp_path):
    pytest.importorskip("ai_edge_litert", reason="LiteRT isn't installed (extra edge)")
    from dr_keras.export import tflite

    (tmp_path / "bare.tflite").write_bytes(tflite.convert([mean_grader(0.01)]))
    with pytest.raises(InputError, match="bare.tflite: doesn't say how to prepare photographs"):
        load_grader(tmp_path / "bare.tflite")
    with zipfile.ZipFile(tmp_path / "bare.tflite", "a") as archive:
        archive.writestr("dr_keras.json", "{}")
    with pytest.raises(InputError, match="bare.tflite: doesn't say"):
        load_grader(tmp_path / "bare.tflite")


def test_explaining(tmp_path, eye):
    grader = Grader.of_networks([mean_grader(0.01, GradingRules(thresholds=(0.1, 0.2, 0.3, 0.4)))])
    cv2.imwrite(str(tmp_path / "eye.png"), eye[..., ::-1])
    why = grader.explain(tmp_path / "eye.png")
    assert why.heat.shape == eye.shape[:2] and why.heat.dtype == np.float32
    assert why.score == pytest.approx(grader.grade(eye).score)
    assert why.overlay().size[0] > eye.shape[1] and why.thresholds == (0.1, 0.2, 0.3, 0.4)
    several = grader.explain([eye, eye], method="occlusion", window=8, stride=8)
    assert len(several) == 2 and several[0].method == "occlusion"
    with pytest.raises(InputError, match="missing.png: can't be read"):
        grader.explain(tmp_path / "missing.png")
