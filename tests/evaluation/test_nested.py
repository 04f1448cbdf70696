"""The choice among recipes, made inside each fold."""

import json

import pytest

from dr_keras.errors import InputError
from dr_keras.evaluation.nested import choose_inside_folds
from dr_keras.evaluation.predictions import write_predictions


def make_run(folder, errors, scores, images=("a", "b", "c", "d")):
    """A run of two folds, each of which holds out two photographs."""
    for fold, error in enumerate(errors):
        leaf = folder / f"fold_{fold}"
        leaf.mkdir(parents=True)
        (leaf / "cross_validation.json").write_text(json.dumps({"squared_error": error, "n": 2}))
        mine = slice(2 * fold, 2 * fold + 2)
        write_predictions(leaf / "predictions.csv", images[mine], [1, 2], scores[mine], patients=images[mine])
    return folder


def test_each_fold_takes_the_run_that_was_best_on_its_training_part(tmp_path):
    first = make_run(tmp_path / "first", [0.5, 0.9], [1.0, 2.0, 3.0, 4.0])
    second = make_run(tmp_path / "second", [0.6, 0.8], [0.1, 0.2, 0.3, 0.4])
    table, chosen = choose_inside_folds([first, second])
    assert chosen == [str(first), str(second)]
    assert table["image"].tolist() == ["a", "b", "c", "d"]
    assert table["score"].tolist() == [1.0, 2.0, 0.3, 0.4]


def test_runs_that_cannot_be_compared_are_refused(tmp_path):
    first = make_run(tmp_path / "first", [0.5, 0.9], [1.0, 2.0, 3.0, 4.0])
    other = make_run(tmp_path / "other", [0.5, 0.9], [1.0, 2.0, 3.0, 4.0], ("a", "c", "b", "d"))
    with pytest.raises(InputError, match="other: fold 0 holds out other photographs than"):
        choose_inside_folds([first, other])
    three = make_run(tmp_path / "three", [1, 1, 1], [1.0] * 6, "abcdef")
    with pytest.raises(InputError, match="three: has 3 folds, .*first has 2"):
        choose_inside_folds([first, three])
    (other / "fold_1" / "cross_validation.json").unlink()
    with pytest.raises(InputError, match="other/fold_1: expected a finished run of several folds"):
        choose_inside_folds([first, other])
