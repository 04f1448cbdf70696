import json

import cv2
import numpy as np
import pytest
from sklearn.metrics import accuracy_score, cohen_kappa_score, confusion_matrix, roc_auc_score

from dr_keras.evaluation.agreement import evaluate_predictions, referable_auc, summary
from dr_keras.evaluation.predictions import read_predictions
from dr_keras.grades import score_to_grade
from dr_keras.report.metrics_report import write_report

FIGURES = ("quadratic_weighted_kappa", "accuracy", "referable_auc")


def random_scores(seed=0, n=120):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 5, size=n)
    return labels, (0.7 * labels + 0.3 + rng.normal(0, 0.8, size=n)).astype("float32")


def test_figures_equal_scikit_learn():
    labels, scores = random_scores()
    grades = score_to_grade(scores)
    metrics = evaluate_predictions(labels, scores)
    kappa = cohen_kappa_score(labels, grades, weights="quadratic")
    assert metrics["quadratic_weighted_kappa"]["value"] == pytest.approx(kappa)
    assert metrics["accuracy"]["value"] == accuracy_score(labels, grades)
    assert metrics["referable_auc"]["value"] == pytest.approx(roc_auc_score(labels >= 2, scores))
    assert metrics["confusion_matrix"] == confusion_matrix(labels, grades).tolist()
    assert metrics["n"] == 120
    assert metrics["num_unscored"] == 0
    for figure in FIGURES:
        interval = metrics[figure]
        assert list(interval) == ["value", "low", "high"]
        assert interval["low"] < interval["value"] < interval["high"]


def test_auc_counts_ties_as_scikit_learn():
    labels, scores = random_scores(1)
    rounded = np.round(scores)
    assert referable_auc(labels, rounded) == pytest.approx(roc_auc_score(labels >= 2, rounded), abs=1e-12)
    assert referable_auc([1, 2], [0.5, 0.5]) == 0.5
    assert referable_auc([0, 4], [3.0, 1.0]) == 0


def test_signed_error_by_true_grade():
    metrics = evaluate_predictions([0, 0, 1, 4], [0.5, 0.0, 1.0, 3.0])
    assert metrics["signed_error"][:2] == [0.25, 0]
    assert np.isnan(metrics["signed_error"][2]) and np.isnan(metrics["signed_error"][3])
    assert metrics["signed_error"][4] == -1


def test_thresholds_change_grades_not_scores():
    labels = np.arange(20) % 5
    scores = 0.7 * labels + 0.3  # 0.3, 1.0, 1.7, 2.4, 3.1: by the default cuts 0, 1, 2, 2, 3
    thresholds = (0.65, 1.35, 2.05, 2.75)
    default, moved = evaluate_predictions(labels, scores), evaluate_predictions(labels, scores, thresholds)
    assert default["accuracy"]["value"] == 0.6
    assert moved["accuracy"] == {"value": 1, "low": 1, "high": 1}
    assert moved["referable_auc"] == default["referable_auc"]
    assert moved["thresholds"] == list(thresholds)


def test_intervals_are_over_patients():
    labels, scores = random_scores(3)
    eyes = evaluate_predictions(np.tile(labels, 2), np.tile(scores, 2), patients=np.tile(np.arange(120), 2))
    single = evaluate_predictions(labels, scores, patients=np.arange(120))
    for figure in FIGURES:
        assert eyes[figure] == pytest.approx(single[figure])


def test_a_failed_prediction_is_no_grade():
    labels, scores = [0, 1, 2, 3], [0.0, 1.0, np.nan, 3.0]
    metrics = evaluate_predictions(labels, scores)
    for figure in FIGURES:
        assert all(np.isnan(value) for value in metrics[figure].values())
    assert metrics["num_unscored"] == 1
    assert np.sum(metrics["confusion_matrix"]) == 3
    assert np.isnan(metrics["signed_error"][2])
    assert metrics["signed_error"][3] == 0


def test_one_grade_only():
    with pytest.warns(RuntimeWarning, match="undefined"):
        metrics = evaluate_predictions([1, 1, 1], [0.9, 1.0, 1.2])
    assert np.isnan(metrics["quadratic_weighted_kappa"]["value"])
    assert np.isnan(metrics["referable_auc"]["value"])
    assert metrics["accuracy"] == {"value": 1, "low": 1, "high": 1}


@pytest.mark.parametrize(
    "labels, scores, message",
    [
        ([], [], "at least one row"),
        ([0, 1], [0.5], "equally long"),
        ([0, 5], [0.5, 1.0], "whole grades from 0 to 4"),
        ([0, np.nan], [0.5, 1.0], "`labels` must hold grades only"),
    ],
)
def test_refuses(labels, scores, message):
    with pytest.raises(ValueError, match=message):
        evaluate_predictions(labels, scores)


def test_report_files(tmp_path):
    labels, scores = random_scores(4)
    images = [f"{i}_left.jpeg" for i in range(len(labels))]
    metrics = write_report(tmp_path / "out", images, labels, scores, patients=images)
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "confusion_matrix.png",
        "metrics.json",
        "predictions.csv",
    ]
    assert json.loads((tmp_path / "out" / "metrics.json").read_text()) == metrics
    table = read_predictions(tmp_path / "out" / "predictions.csv")
    assert table["image"].tolist() == images
    again = evaluate_predictions(table["label"], table["score"])
    assert again["confusion_matrix"] == metrics["confusion_matrix"]
    picture = cv2.imread(str(tmp_path / "out" / "confusion_matrix.png"))
    assert picture.shape == (920, 1000, 3)
    assert picture.std() > 20


def test_report_with_a_failed_prediction(tmp_path):
    write_report(tmp_path, ["a", "b"], [0, 2], [np.nan, 2.0])
    metrics = json.loads((tmp_path / "metrics.json").read_text())
    assert metrics["quadratic_weighted_kappa"] == {"value": None, "low": None, "high": None}
    assert (tmp_path / "predictions.csv").read_text().splitlines()[1:] == ["a,0,nan,,", "b,2,2.0,2,1"]


def test_a_wrong_call_writes_nothing(tmp_path):
    with pytest.raises(ValueError, match="`images` must have a name for each label"):
        write_report(tmp_path / "out", ["a"], [0, 2], [0.1, 2.0])
    with pytest.raises(ValueError, match="whole grades"):
        write_report(tmp_path / "out", ["a", "b"], [0, 7], [0.1, 2.0])
    assert not (tmp_path / "out").exists()


def test_further_figures_follow_the_others(tmp_path):
    labels, scores = random_scores(5)
    images = list(map(str, range(len(labels))))
    metrics = write_report(tmp_path, images, labels, scores, further={"notes": ["a"], "ece": float("nan")})
    assert list(metrics)[-2:] == ["notes", "ece"]
    assert json.loads((tmp_path / "metrics.json").read_text()) == {**metrics, "ece": None}


def test_summary_of_a_report_with_figures_that_are_not_defined(tmp_path):
    metrics = write_report(tmp_path, ["a", "b"], [0, 1], [0.2, 1.1])
    expected = (
        "kappa 1.000 (1.000 to 1.000), accuracy 1.000 (1.000 to 1.000), referable AUC nan (nan to nan), n = 2"
    )
    assert summary(metrics) == expected
    assert summary(json.loads((tmp_path / "metrics.json").read_text())) == expected
