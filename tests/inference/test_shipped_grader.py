"""The shipped grader: found by its name, its score the sum of what it tells, probabilities beside it."""

import numpy as np
import pytest

import dr_keras
from dr_keras.data import synthetic
from dr_keras.errors import InputError


@pytest.fixture(scope="module")
def grader():
    return dr_keras.load_grader()


def test_it_is_found_by_name(grader):
    assert grader.name == "dr_grader" and grader.image_size == 1024 and grader.num_networks == 1
    with pytest.raises(InputError, match="dr_grade: no such model"):
        dr_keras.load_grader("dr_grade")


def test_every_grade_unit_is_drawn(grader):
    images = [synthetic.draw_fundus(3, grade, 800).image for grade in (0, 3)]
    healthy, severe = grader.explain(images)
    for explanation in (healthy, severe):
        found = explanation.findings
        total = sum(lesion.contribution for lesion in found.lesions) + found.remainder + found.context
        total += found.bias
        assert total == pytest.approx(explanation.score, abs=1e-4)
    assert severe.score > healthy.score + 1
    assert len(severe.findings.lesions) > 5 * len(healthy.findings.lesions)
    assert [graded.score for graded in grader.grade(images)] == pytest.approx(
        [healthy.score, severe.score], abs=1e-4
    )


def test_the_picture_shows_what_is_found(grader):
    explanation = grader.explain(synthetic.draw_fundus(3, 3, 800).image, max_side=640)
    picture = np.asarray(explanation.overlay(with_original=True))
    original, outlined = picture[:400, :600], picture[:400, 650:1250]
    assert (original != outlined[:, : original.shape[1]]).any()


def test_probabilities_come_with_the_grade(grader):
    graded = grader.grade(synthetic.draw_fundus(3, 3, 800).image)
    assert sum(graded.probabilities) == pytest.approx(1)
    lowest, highest = graded.grade_range
    assert lowest <= graded.grade <= highest
    assert (graded.referable_probability > 0.5) == graded.referable


def test_the_fast_one_has_its_name(grader):
    fast = dr_keras.load_grader("dr_grader_fast")
    assert fast.name == "dr_grader_fast" and fast.image_size == 512
