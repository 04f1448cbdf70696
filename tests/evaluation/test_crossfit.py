import csv

import numpy as np
import pytest

from dr_keras.data.records import Record
from dr_keras.errors import InputError
from dr_keras.evaluation.crossfit import (
    EvaluationSet,
    cross_fit,
    deal_parts,
    parts_to_leave_out,
    read_choosing_set,
)
from dr_keras.evaluation.predictions import write_predictions
from dr_keras.training.run_folder import write_splits


def write_leaf(folder, images, patients, labels, scores):
    """What a finished training leaves of the photographs that it was judged on; the model is a mere file."""
    folder.mkdir(parents=True)
    (folder / "model.keras").write_bytes(b"")
    records = [Record(*row, patient) for *row, patient in zip(images, images, labels, patients, strict=True)]
    write_splits(folder / "split.csv", records, ["held_out"] * len(records))
    write_predictions(folder / "predictions.csv", images, labels, scores)


def photographs(count, parts=None, prefix="p"):
    names = [f"{prefix}{i}" for i in range(count)]
    return EvaluationSet(names, names, np.arange(count) % 5, np.arange(count) / 10, parts)


def test_each_is_chosen_for_without_its_own_part():
    choosing = photographs(6, parts=[0, 0, 1, 1, 2, 2])
    sums = cross_fit(lambda labels, scores: [labels.sum(), 10 * scores.sum()], choosing, choosing)
    # Of labels 0, 1, 2, 3, 4, 0 and scores 0 to 0.5, less those of the part.
    np.testing.assert_allclose(sums, [[9, 14], [9, 14], [5, 10], [5, 10], [6, 6], [6, 6]])


def test_unknown_photographs_get_the_choice_made_on_all():
    choosing = photographs(6, parts=[0, 0, 1, 1, 2, 2])
    evaluated = EvaluationSet(["new", "p2", "other eye"], ["someone", "p2", "p5"], [0, 0, 0], [0, 0, 0])
    np.testing.assert_array_equal(parts_to_leave_out(choosing, evaluated), [-1, 1, 2])
    counts = cross_fit(lambda labels, scores: len(labels), choosing, evaluated)
    np.testing.assert_array_equal(counts, [6, 4, 4])


def test_known_image_of_a_patient_that_is_not():
    choosing = photographs(4, parts=[0, 0, 1, 1])
    evaluated = EvaluationSet(["p3"], ["renamed"], [3], [0.3])
    np.testing.assert_array_equal(parts_to_leave_out(choosing, evaluated), [1])


def test_what_is_judged_never_chose():
    # A rule that only remembers: it knows every photograph of the choosing set, and none that it unseen.
    choosing = photographs(50)
    remembered = cross_fit(
        lambda labels, scores: np.isin(np.arange(50) / 10, scores), choosing, choosing
    ).astype(bool)
    assert not remembered.diagonal().any()
    np.testing.assert_array_equal(remembered.sum(axis=1), 40)


def test_choice_from_a_single_part_is_on_nobody():
    choosing = photographs(3, parts=[0, 0, 0])
    counts = cross_fit(lambda labels, scores: len(labels), choosing, choosing)
    np.testing.assert_array_equal(counts, [0, 0, 0])


def test_parts_hold_patients_whole_and_grades_alike():
    patients = np.repeat([f"patient {i}" for i in range(50)], 2)
    labels = np.repeat(np.arange(50) % 5, 2)
    parts = deal_parts(patients, labels)
    for patient in set(patients):
        assert len(set(parts[patients == patient])) == 1
    for part in range(5):
        np.testing.assert_array_equal(np.bincount(labels[parts == part]), [4] * 5)
    np.testing.assert_array_equal(parts, deal_parts(patients, labels))
    assert np.any(parts != deal_parts(patients, labels, seed=1))
    assert deal_parts(["a", "b", "a"], [0, 1, 0]).tolist() == [0, 1, 0]


def test_scored_refuses():
    with pytest.raises(ValueError, match="with at least one row"):
        EvaluationSet([], [], [], [])
    with pytest.raises(ValueError, match=r"must be of one length.*scores.shape=\(1,\)"):
        EvaluationSet(["a", "b"], ["a", "b"], [0, 1], [0.5])
    with pytest.raises(ValueError, match="`parts` must hold a patient's photographs together"):
        EvaluationSet(["a", "b"], ["x", "x"], [0, 1], [0.5, 1.0], [0, 1])


def test_folds_are_the_parts(tmp_path):
    write_leaf(tmp_path / "fold_0", ["a", "b"], ["x", "x"], [0, 2], [0.25, 1.5])
    write_leaf(tmp_path / "fold_1", ["c"], ["y"], [4], [3.0])
    choosing = read_choosing_set(tmp_path)
    assert choosing.images.tolist() == ["a", "b", "c"]
    assert choosing.patients.tolist() == ["x", "x", "y"]
    assert choosing.labels.tolist() == [0, 2, 4]
    assert choosing.scores.tolist() == [0.25, 1.5, 3.0]
    assert choosing.parts.tolist() == [0, 0, 1]


def test_run_without_folds_has_five_groups_of_patients(tmp_path):
    images = [f"{i}_{eye}" for i in range(10) for eye in ("left", "right")]
    patients = [image.split("_")[0] for image in images]
    write_leaf(tmp_path / "run", images, patients, [0, 1] * 10, [0.5] * 20)
    for path in (tmp_path / "run", tmp_path / "run/model.keras"):
        choosing = read_choosing_set(path)
        assert np.bincount(choosing.parts).tolist() == [4] * 5
        np.testing.assert_array_equal(choosing.parts[::2], choosing.parts[1::2])


def test_last_of_several_stages_counts(tmp_path):
    write_leaf(tmp_path / "128", ["a"], ["a"], [0], [0.1])
    write_leaf(tmp_path / "256", ["a"], ["a"], [0], [0.2])
    assert read_choosing_set(tmp_path).scores.tolist() == [0.2]


def test_model_without_predictions(tmp_path):
    (tmp_path / "model.keras").write_bytes(b"")
    assert read_choosing_set(tmp_path / "model.keras") is None
    write_predictions(tmp_path / "predictions.csv", [], [], [])
    assert read_choosing_set(tmp_path) is None
    with pytest.raises(InputError, match="no such model"):
        read_choosing_set(tmp_path / "nothing")


def test_patients_of_a_run_without_split_are_the_images(tmp_path):
    write_leaf(tmp_path / "run", ["a", "b"], ["x", "x"], [0, 1], [0.5, 0.6])
    (tmp_path / "run/split.csv").unlink()
    assert read_choosing_set(tmp_path / "run").patients.tolist() == ["a", "b"]


def test_damaged_predictions_are_named(tmp_path):
    write_leaf(tmp_path / "run", ["a"], ["a"], [0], [0.5])
    with open(tmp_path / "run/predictions.csv", "a", newline="", encoding="utf-8") as file:
        csv.writer(file).writerow(["b", "zero", 1.0, 1, 0])
    with pytest.raises(InputError, match="predictions.csv: line 3"):
        read_choosing_set(tmp_path / "run")
