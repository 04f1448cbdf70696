import cv2
import numpy as np
import pytest
from prepared_folders import noise_images, write_prepared

from dr_keras.inference.split_scores import SplitScores
from dr_keras.report.progression import (
    Progression,
    progression,
    progression_figure,
    select,
    write_progression,
)


def test_evenly_over_the_range_not_over_the_photographs():
    scores = np.concatenate([np.linspace(0, 0.1, 50), [1.0, 2.1, 2.9, 4.0]])
    assert scores[select(scores, 5)].tolist() == [0, 1.0, 2.1, 2.9, 4.0]


def test_each_photograph_once_in_increasing_order():
    scores = np.array([3.0, 0.0, 3.0, 3.0, 3.0, 1.0, 3.0])
    for selection in ("even", "random"):
        chosen = select(scores, 5, selection)
        assert len(set(chosen.tolist())) == 5
        assert (np.diff(scores[chosen]) >= 0).all()
    assert select(scores, 99).tolist() == [1, 5, 0, 2, 3, 4, 6]


def test_random_draws_are_seeded_and_spread():
    scores = np.arange(100.0)[::-1]
    first = select(scores, 10, "random", seed=1)
    assert first.tolist() == select(scores, 10, "random", seed=1).tolist()
    assert first.tolist() != select(scores, 10, "random", seed=2).tolist()
    drawn = np.concatenate([select(scores, 10, "random", seed=seed) for seed in range(200)])
    assert np.bincount(drawn, minlength=100).min() > 5  # 20 are expected of each


def test_without_a_score_never_chosen():
    scores = np.array([np.nan, 1.0, np.nan, 0.5])
    assert select(scores, 4).tolist() == [3, 1]
    assert select(scores, 1).tolist() == [3]
    assert select([np.nan], 3).tolist() == []


def test_refuses():
    with pytest.raises(ValueError, match="`selection` must be one of .* Received: selection='odd'"):
        select([1.0], 3, "odd")
    with pytest.raises(ValueError, match="`count` must be positive. Received: count=0"):
        select([1.0], 0)


def test_names_grades_and_pictures_belong_together(tmp_path):
    prepared = write_prepared(tmp_path / "prepared", noise_images(6, 16), [0, 1, 2, 3, 4, 0])
    scores = SplitScores(
        np.array([5, 3, 1]), np.array([0.2, 3.3, 1.4]), "test", True, 0, 0, scored_by=np.ones((1, 3), bool)
    )
    shown = progression(prepared, scores, 2)
    assert shown.images == ["005.png", "003.png"]
    assert shown.labels.tolist() == [0, 3]
    assert shown.scores.tolist() == [0.2, 3.3]
    np.testing.assert_array_equal(shown.pictures, prepared.read([5, 3]))


def test_files(tmp_path):
    pictures = np.stack([np.full((20, 20, 3), 40 * number, np.uint8) for number in range(6)])
    shown = Progression(list("abcdef"), np.arange(6) % 5, np.arange(6) * 0.7, pictures)
    write_progression(tmp_path / "out", shown, (0.5, 1.0, 1.5, 3.0))
    assert (tmp_path / "out/progression.csv").read_text().splitlines()[:4] == [
        "position,image,label,score,grade",
        "1,a,0,0.0,0",
        "2,b,1,0.7,1",
        "3,c,2,1.4,2",
    ]
    drawn = cv2.imread(str(tmp_path / "out/progression.png"), cv2.IMREAD_GRAYSCALE)
    assert drawn.shape[1] == 1000
    for number in range(1, 6):
        assert np.sum(drawn == 40 * number) > 20_000  # each photograph is there, and large
    titles = [axes.get_title() for axes in progression_figure(shown).axes]
    assert titles[:2] == ["score 0.00\ntrue grade 0", "score 0.70\ntrue grade 1"]
    assert titles[6:] == ["", ""]
