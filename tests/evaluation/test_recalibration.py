"""Probabilities of the grades, and thresholds fitted to another clinic."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from mean_graders import save_mean_grader
from script_runs import check_refused, run

from dr_keras.errors import InputError
from dr_keras.evaluation.calibration import expected_calibration_error, fit_calibration, thresholds_of
from dr_keras.evaluation.predictions import write_predictions
from dr_keras.evaluation.recalibration import gain, grades_not_given, recalibrated_rules
from dr_keras.grades import grade_probabilities, score_to_grade
from dr_keras.inference.grader import load_grader
from dr_keras.models.rules import GradingRules

TRUE = (3.0, 1.2, 3.6, 8.1, 10.5)


def drawn(count, seed=0, calibration=TRUE):
    """Scores, and grades drawn from the model's own probabilities."""
    rng = np.random.default_rng(seed)
    scores = rng.uniform(-0.5, 4.5, count)
    below = np.cumsum(grade_probabilities(scores, calibration), axis=1)
    return (rng.random(count)[:, None] > below).sum(axis=1), scores


def test_probabilities_by_hand():
    probabilities = grade_probabilities([1.0, np.nan], (2.0, 2.0, 3.0, 4.0, 5.0))
    at_least = 1 / (1 + np.exp(-(2.0 - np.array([2.0, 3.0, 4.0, 5.0]))))
    np.testing.assert_allclose(probabilities[0], [0.5, *(at_least[:-1] - at_least[1:]), at_least[-1]])
    assert probabilities[0].sum() == pytest.approx(1) and np.isnan(probabilities[1]).all()
    assert grade_probabilities(1000.0, TRUE).tolist() == [0, 0, 0, 0, 1]


def test_the_fit_finds_what_grades_were_drawn_from():
    labels, scores = drawn(20000)
    np.testing.assert_allclose(fit_calibration(labels, scores), TRUE, rtol=0.08)
    probabilities = grade_probabilities(scores, fit_calibration(labels, scores))
    assert expected_calibration_error(labels >= 2, probabilities[:, 2:].sum(axis=1)) < 0.02


@pytest.mark.parametrize("labels", ([], [0], [0, 0, 0, 0], [4, 4], [0, 4]))
def test_few_photographs_and_missing_grades_have_a_sane_fit(labels):
    scores = np.array(labels, float)
    slope, *cuts = fit_calibration(labels, scores)
    assert 0.5 < slope < 10 and np.all(np.diff(cuts) > 0)
    assert np.all(np.abs(np.array(thresholds_of((slope, *cuts))) - [0.5, 1.5, 2.5, 3.5]) < 1.2)


def test_a_clinic_with_lower_scores_gets_lower_thresholds():
    """100 photographs, scores 0.6 of what they were: agreement comes back, on photographs left out."""
    labels, scores = drawn(100, seed=1)
    rules = GradingRules()
    moved = recalibrated_rules(rules, labels, 0.6 * scores)
    assert moved.thresholds[2] < 2 and moved.calibration is not None and moved.quality == rules.quality
    before, after = gain(rules, labels, 0.6 * scores)
    name = "quadratic_weighted_kappa"
    assert after[name]["value"] > before[name]["value"] + 0.1
    assert np.mean(score_to_grade(0.6 * scores, moved.thresholds) == labels) > 0.5


def test_too_few_photographs_or_scores_that_are_no_numbers():
    labels, scores = drawn(19)
    with pytest.raises(InputError, match="19 graded photographs: expected at least 20"):
        recalibrated_rules(GradingRules(), labels, scores)
    labels, scores = drawn(30)
    with pytest.raises(InputError, match="a score isn't a number"):
        recalibrated_rules(GradingRules(), labels, np.r_[np.nan, scores[1:]])


def test_grades_that_the_scores_do_not_tell_are_refused():
    labels, scores = drawn(60, seed=3)
    shuffled = np.random.default_rng(0).permutation(labels)
    for wrong in (shuffled, 4 - labels, np.full(60, 2)):
        with pytest.raises(InputError, match="the grades don't rise with the scores"):
            recalibrated_rules(GradingRules(), wrong, scores)
        with pytest.raises(InputError, match="the grades don't rise with the scores"):
            gain(GradingRules(), wrong, scores)


def test_grades_that_nobody_would_get_are_told():
    """Hardly related scores in a narrow range: all photographs fall between two far thresholds."""
    rng = np.random.default_rng(1)
    labels = np.repeat(np.arange(5), 30)
    scores = 2 + 0.05 * labels + rng.normal(0, 0.3, 150)
    fitted = recalibrated_rules(GradingRules(), labels, scores)
    assert np.all(np.diff(fitted.thresholds) > 0)
    assert {grade for grade, _ in grades_not_given(fitted, labels, scores)} == {0, 4}
    assert all(count == 30 for _, count in grades_not_given(fitted, labels, scores))
    assert grades_not_given(GradingRules(), *drawn(200)) == []


@pytest.mark.parametrize("calibration", ((0, 1, 2, 3, 4), (1, 2, 1, 3, 4), (1, 2, 3)))
def test_rules_refuse_a_calibration_that_is_none(calibration):
    with pytest.raises(InputError, match="`calibration` must be a slope above 0 and four increasing cuts"):
        GradingRules(calibration=calibration)


def test_rules_with_a_calibration_survive_json():
    rules = GradingRules(calibration=TRUE)
    assert GradingRules.from_dict(rules.to_dict()) == rules
    assert GradingRules.from_dict({"thresholds": [1, 2, 3, 4]}).calibration is None


def test_the_script_writes_a_model_that_grades_by_the_new_thresholds(tmp_path):
    save_mean_grader(tmp_path / "model.keras", 0.01)
    labels, scores = drawn(60, seed=2)
    write_predictions(tmp_path / "predictions.csv", [f"{n}.jpg" for n in range(60)], labels, 0.6 * scores)
    flags = [f"--model={tmp_path}/model.keras", f"--predictions={tmp_path}/predictions.csv"]
    command = [sys.executable, "scripts/recalibrate.py", *flags, f"--output={tmp_path}/clinic.keras"]
    root = Path(__file__).resolve().parents[2]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    before, after, last = done.stdout.splitlines()
    assert before.startswith("before: kappa") and after.startswith("after: kappa")
    fitted, old = load_grader(tmp_path / "clinic.keras"), load_grader(tmp_path / "model.keras")
    assert fitted.rules == recalibrated_rules(old.rules, labels, 0.6 * scores)
    assert f"thresholds {', '.join(f'{cut:.2f}' for cut in fitted.rules.thresholds)}, fitted to 60" in last
    image = np.full((1, 16, 16, 3), 120, np.uint8)
    assert fitted.score_prepared(image) == old.score_prepared(image)


def test_predictions_of_another_model_are_refused(tmp_path):
    """The metrics beside them say whose they are; those of a training's folds, which don't, are taken."""
    save_mean_grader(tmp_path / "model.keras", 0.01)
    labels, scores = drawn(60, seed=2)
    write_predictions(tmp_path / "predictions.csv", [f"{n}.jpg" for n in range(60)], labels, scores)
    (tmp_path / "metrics.json").write_text('{"model_sha256": "0123456789abcdef"}')
    flags = [f"--model={tmp_path}/model.keras", f"--predictions={tmp_path}/predictions.csv"]
    done = run("recalibrate", *flags, f"--output={tmp_path}/clinic.keras")
    check_refused(done, f"--predictions={tmp_path}/predictions.csv: of another model (SHA-256 0123456789ab")
    assert not (tmp_path / "clinic.keras").exists()


def test_a_fellow_eye_does_not_judge_the_fit():
    """Both eyes of a patient are fitted to, or judged, together: intervals are those of patients."""
    rules, (labels, scores) = GradingRules(), drawn(100, seed=4)
    twice = np.repeat(labels, 2), np.repeat(scores, 2)
    patients = np.repeat([f"p{n}" for n in range(100)], 2)

    def width(figures):
        kappa = figures["quadratic_weighted_kappa"]
        return kappa["high"] - kappa["low"]

    alone, together = gain(rules, labels, scores), gain(rules, *twice, patients=patients)
    for one, both in zip(alone, together, strict=True):
        assert width(both) == pytest.approx(width(one), rel=0.2)
    assert width(gain(rules, *twice)[0]) < 0.85 * width(together[0])
