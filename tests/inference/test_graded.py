"""The table of grades: one row a photograph, whatever became of it."""

import numpy as np
import pytest

from dr_keras.counts import Counts
from dr_keras.inference.graded import Graded, grade_line, grade_row, write_grades
from dr_keras.models.rules import GradingRules

RULES = GradingRules(thresholds=(0.5, 1.5, 2.0, 3.0))
NAN = float("nan")
HEAD = "image,score,grade,grade_name,referable,error,gradable,reason,referable_probability,"
HEAD += "lowest_grade,highest_grade"


def test_a_row_for_each_photograph_and_no_grade_where_there_can_be_none(tmp_path):
    results = [
        Graded.of_score("a, b.jpg", 2.25, "", RULES),
        Graded.unreadable("c.jpg", "the file is empty"),
        Graded.of_score("d.jpg", NAN, "", RULES),
        Graded.of_score("e.jpg", 2.25, "too dark: why", RULES),
        Graded.of_answer("f.jpg", 2.25, 1, ""),
        Graded.of_answer("g.jpg", 0.25, -1, "too bright"),
        Graded.of_answer("h.jpg", NAN, -1, "not an image"),
    ]
    counts = write_grades(tmp_path / "out.csv", iter(results))
    assert counts == Counts(graded=2, not_gradable=2, unreadable=3)
    assert str(counts) == "2 graded, 2 not gradable, 3 unreadable"
    assert (tmp_path / "out.csv").read_text().splitlines() == [
        HEAD,
        '"a, b.jpg",2.25,3,severe NPDR,1,,1,,,,',
        "c.jpg,,,,,the file is empty,,,,,",
        "d.jpg,,,,,the model's score isn't a number,,,,,",
        "e.jpg,2.25,,,,,0,too dark: why,,,",
        "f.jpg,2.25,1,mild NPDR,0,,1,,,,",
        "g.jpg,0.25,,,,,0,too bright,,,",
        "h.jpg,,,,,not an image,,,,,",
    ]


def test_ctrl_c_keeps_the_rows_that_are_done(tmp_path):
    def results():
        yield Graded.of_score("a.jpg", 2.25, "", RULES)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt, match="out.csv: 1 graded, .* before it was stopped"):
        write_grades(tmp_path / "out.csv", results())
    assert (tmp_path / "out.csv").read_text().splitlines() == [HEAD, "a.jpg,2.25,3,severe NPDR,1,,1,,,,"]


def test_any_other_end_leaves_what_was_there(tmp_path):
    def results():
        yield Graded.of_score("a.jpg", 2.25, "", RULES)
        raise ValueError

    (tmp_path / "out.csv").write_text("before")
    with pytest.raises(ValueError):
        write_grades(tmp_path / "out.csv", results())
    assert [path.read_text() for path in tmp_path.iterdir()] == ["before"]


def test_a_score_on_a_cut_belongs_to_the_grade_above():
    assert Graded.of_score("a", np.float32(1.5), "", RULES).grade == 2
    assert Graded.of_score("a", 1.4999, "", RULES).referable is False


def test_probabilities_and_the_range_of_grades():
    """Score 2.25 by slope 2: the odds of each grade and above are exp(4.5 - cut)."""
    rules = GradingRules(calibration=(2.0, 1.0, 3.0, 5.0, 7.0))
    graded = Graded.of_score("a.jpg", 2.25, "", rules)
    at_least = 1 / (1 + np.exp(-(4.5 - np.array([1.0, 3.0, 5.0, 7.0]))))
    assert graded.referable_probability == pytest.approx(at_least[1])
    assert sum(graded.probabilities) == pytest.approx(1)
    assert graded.grade_range == (1, 3)  # below 1: 0.03; up to 2: 0.62; up to 3: 0.92
    row = grade_row(graded)
    assert (row["referable_probability"], row["lowest_grade"], row["highest_grade"]) == (0.8176, 1, 3)
    assert "referable, probability of referable disease 0.82 (score 2.25)" in grade_line(graded)
    bad = Graded.of_score("b.jpg", 2.25, "too dark", rules)
    assert bad.probabilities is None and bad.grade_range is None and bad.referable_probability is None


def test_the_probability_of_a_referral_follows_the_models_own_rule():
    cuts = (2.0, 1.0, 3.0, 5.0, 7.0)
    by_rule = [
        Graded.of_score("a.jpg", 2.25, "", GradingRules(calibration=cuts, referable_grade=grade))
        for grade in (1, 2, 3, 4)
    ]
    at_least = 1 / (1 + np.exp(-(4.5 - np.array(cuts[1:]))))
    np.testing.assert_allclose([graded.referable_probability for graded in by_rule], at_least)
