"""The table of grades: one row a photograph, whatever became of it."""

import numpy as np
import pytest

from dr_keras.inference.graded import Counts, Graded, write_grades
from dr_keras.models.rules import GradingRules

RULES = GradingRules(thresholds=(0.5, 1.5, 2.0, 3.0))
NAN = float("nan")
HEAD = "image,score,grade,grade_name,referable,error,gradable,reason"


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
        '"a, b.jpg",2.25,3,severe NPDR,1,,1,',
        "c.jpg,,,,,the file is empty,,",
        "d.jpg,,,,,the model's score isn't a number,,",
        "e.jpg,2.25,,,,,0,too dark: why",
        "f.jpg,2.25,1,mild NPDR,0,,1,",
        "g.jpg,0.25,,,,,0,too bright",
        "h.jpg,,,,,not an image,,",
    ]


def test_ctrl_c_keeps_the_rows_that_are_done(tmp_path):
    def results():
        yield Graded.of_score("a.jpg", 2.25, "", RULES)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt, match="out.csv: 1 graded, .* before it was stopped"):
        write_grades(tmp_path / "out.csv", results())
    assert (tmp_path / "out.csv").read_text().splitlines() == [HEAD, "a.jpg,2.25,3,severe NPDR,1,,1,"]


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
