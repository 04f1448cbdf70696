import cv2
import numpy as np
import pytest
from mean_graders import SIZE, save_mean_grader
from prepared_folders import noise_images, write_prepared

from dr_keras.errors import InputError
from dr_keras.inference.examples import Example, choose, explain_examples, find_examples
from dr_keras.inference.grader import load_grader
from dr_keras.training.run_folder import write_splits

NAN = float("nan")


def test_half_are_right_and_half_the_most_under_graded():
    labels = np.array([3] * 7 + [0, 0, 0])
    scores = [3.1, 2.9, 3.0, 0.5, 1.5, 2.0, 3.9, 0.1, 0.2, 1.0]
    chosen = choose(labels, scores, 4)
    assert chosen[:2].tolist() == [7, 8]  # nothing is below grade 0; over-graded ones are no part
    assert set(chosen[2:4]) < {0, 1, 2} and sorted(chosen[2:4]) == chosen[2:4].tolist()
    assert chosen[4:].tolist() == [3, 4]  # the lowest scores first
    assert choose(labels, scores, 4).tolist() == chosen.tolist()
    drawn = {tuple(choose(labels, scores, 4, seed=seed)[2:4]) for seed in range(20)}
    assert drawn == {(0, 1), (0, 2), (1, 2)}


def test_odd_number_and_thresholds_and_nan():
    labels, scores = [2, 2, 2, 2], [1.6, 1.2, NAN, 1.9]
    assert len(choose(labels, scores, 3)) == 3
    assert choose(labels, scores, 2, thresholds=(0.5, 1.8, 2.5, 3.5)).tolist() == [3, 1]
    assert choose([1], [NAN], 4).tolist() == []


@pytest.fixture
def run(tmp_path):
    """A run of two folds and its photographs: the first holds out 0-2, the second 3-5."""
    images = noise_images(6, SIZE)
    prepared = write_prepared(tmp_path / "prepared", images, [0, 0, 1, 4, 4, 4])
    for fold in range(2):
        save_mean_grader(tmp_path / f"run/fold_{fold}/model.keras", 0.001 * (fold + 1))
        splits = ["held_out" if index // 3 == fold else "train" for index in range(6)]
        write_splits(tmp_path / f"run/fold_{fold}/split.csv", prepared.records, splits)
    return tmp_path / "run", prepared


def test_each_photograph_is_explained_by_those_that_never_saw_it(run):
    path, prepared = run
    model = load_grader(path)
    found = find_examples([model], lambda size, steps: prepared, 2, thresholds=(0.01, 0.02, 0.03, 0.04))
    assert {example.networks for example in found if example.label == 4} == {((1,),)}
    assert {example.networks for example in found if example.label == 0} <= {((0,),)}
    models = [model, load_grader(path / "fold_1")]
    both = find_examples(models, lambda size, steps: prepared, 6, split="held_out")
    assert {example.networks for example in both} == {((1,), (0,))}


def test_models_that_share_no_photograph(run):
    path, prepared = run
    models = [load_grader(path / f"fold_{fold}") for fold in range(2)]
    with pytest.raises(InputError, match="--split=auto: the models have no photograph of this split"):
        find_examples(models, lambda size, steps: prepared)


def test_explanations_are_those_of_its_networks(run, draw_photograph, tmp_path):
    path, _ = run
    model = load_grader(path)
    names = [str(tmp_path / f"{number}.png") for number in range(3)]
    for number, name in enumerate(names):
        cv2.imwrite(name, draw_photograph(number))
    networks = (((0,),), ((1,),), ((0, 1),))
    examples = [Example(name, 2, numbers) for name, numbers in zip(names, networks, strict=True)]
    results = {name: explanation for name, explanation, _ in explain_examples([model], examples)}
    alone = {
        name: explanation
        for name, explanation, _ in explain_examples([model], [Example(names[0], 2, ((1,),))])
    }
    assert set(results) == set(names)
    assert alone[names[0]].score == pytest.approx(2 * results[names[0]].score)
    np.testing.assert_allclose(alone[names[0]].maps[0], 2 * results[names[0]].maps[0], rtol=1e-5)
    again = {
        name: explanation
        for name, explanation, _ in explain_examples([model], [Example(names[2], 2, ((0,),))])
    }
    assert results[names[2]].score == pytest.approx(1.5 * again[names[2]].score)
