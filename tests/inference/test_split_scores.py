"""Scores of a dataset, each photograph by the networks that never saw it."""

import cv2
import numpy as np
import pytest
from mean_graders import SIZE, save_mean_grader
from prepared_folders import noise_images, write_prepared

from dr_keras.data.inspection import inspect_prepared
from dr_keras.data.photograph import Photograph
from dr_keras.data.synthetic import draw_fundus
from dr_keras.errors import InputError
from dr_keras.inference.grader import load_grader
from dr_keras.inference.split_scores import score_split
from dr_keras.training.run_folder import write_seen, write_splits


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    """Eight photographs, the last without a grade; the dataset calls two of them its test split."""
    splits = ["", "", "", "", "", "test", "test", ""]
    folder = tmp_path_factory.mktemp("prepared")
    return write_prepared(folder, noise_images(8, SIZE), [0, 1, 2, 3, 4, 0, 1, None], splits=splits)


@pytest.fixture(scope="module")
def means(prepared):
    return prepared.read(np.arange(8)).mean(axis=(1, 2, 3))


@pytest.fixture(scope="module")
def single(tmp_path_factory, prepared):
    """A run of one network, which left photograph 4 out."""
    run = tmp_path_factory.mktemp("runs") / "single"
    save_mean_grader(run / "model.keras", 0.01)
    splits = ["train", "train", "validation", "validation", "", "test", "test", "validation"]
    write_splits(run / "split.csv", prepared.records, splits)
    return run


@pytest.fixture(scope="module")
def folds(tmp_path_factory, prepared):
    """A run of two folds that hold out 0, 2, 3 and 1, 4."""
    run = tmp_path_factory.mktemp("runs") / "folds"
    for fold, held_out in enumerate([(0, 2, 3), (1, 4)]):
        save_mean_grader(run / f"fold_{fold}/model.keras", 0.01 * (fold + 1))
        splits = ["held_out" if i in held_out else "train" if i % 2 else "validation" for i in range(5)] + [
            ""
        ] * 3
        write_splits(run / f"fold_{fold}/split.csv", prepared.records, splits)
    return run


@pytest.mark.parametrize(
    ("split", "indices"),
    [
        ("train", [0, 1]),
        ("validation", [2, 3]),
        ("test", [5, 6]),
        ("auto", [5, 6]),
        ("all", [0, 1, 2, 3, 4, 5, 6]),
    ],
)
def test_a_run_of_one_network(single, prepared, means, split, indices):
    scored = score_split(load_grader(single), prepared, split, batch_size=2)
    assert scored.indices.tolist() == indices
    np.testing.assert_allclose(scored.scores, 0.01 * means[indices], rtol=1e-5)
    assert scored.split == ("test" if split == "auto" else split)
    assert scored.is_run_data
    assert scored.ungraded == (split in ("validation", "all"))


def test_out_of_fold_each_by_the_network_that_held_it_out(folds, prepared, means):
    scored = score_split(load_grader(folds), prepared)
    assert scored.indices.tolist() == [0, 2, 3, 1, 4]
    np.testing.assert_allclose(
        scored.scores, np.array([1, 1, 1, 2, 2]) / 100 * means[scored.indices], rtol=1e-5
    )
    assert (scored.split, scored.ungraded) == ("held_out", 0)


def test_what_no_fold_has_seen_is_graded_by_all(folds, prepared, means):
    scored = score_split(load_grader(folds), prepared, "test")
    assert scored.indices.tolist() == [5, 6]
    np.testing.assert_allclose(scored.scores, 0.015 * means[[5, 6]], rtol=1e-5)
    everything = score_split(load_grader(folds), prepared, "all")
    assert everything.indices.tolist() == [0, 2, 3, 5, 6, 1, 4]
    np.testing.assert_allclose(
        everything.scores, np.array([1, 1, 1, 1.5, 1.5, 2, 2]) / 100 * means[everything.indices], rtol=1e-5
    )


def test_one_fold_of_a_run_is_a_run_of_one_network(folds, prepared, means):
    scored = score_split(load_grader(folds / "fold_1"), prepared)
    assert scored.indices.tolist() == [1, 4]
    np.testing.assert_allclose(scored.scores, 0.02 * means[[1, 4]], rtol=1e-5)


@pytest.mark.parametrize("name", ["single", "folds"])
def test_photographs_that_the_run_never_met(request, tmp_path, name):
    """The names are those of the run's photographs, the grades aren't: another dataset."""
    other = write_prepared(tmp_path, noise_images(3, SIZE, seed=1), [4, 3, 3])
    scored = score_split(load_grader(request.getfixturevalue(name)), other)
    assert scored.indices.tolist() == [0, 1, 2]
    factor = {"single": 0.01, "folds": 0.015}[name]
    np.testing.assert_allclose(scored.scores, factor * other.read([0, 1, 2]).mean(axis=(1, 2, 3)), rtol=1e-5)
    assert (scored.split, scored.is_run_data) == ("all", False)


def test_a_split_without_photographs_names_those_there_are(single, folds, prepared):
    with pytest.raises(
        InputError, match=r"--split=held_out: no photograph has this split; .*train \(2\), validation \(3\)"
    ):
        score_split(load_grader(single), prepared, "held_out")
    with pytest.raises(
        InputError, match=r"--split=train: no photograph .*: none \(1\), held_out \(5\), test \(2\)"
    ):
        score_split(load_grader(folds), prepared, "train")


def test_auto_never_takes_photographs_that_were_trained_on(tmp_path, prepared):
    save_mean_grader(tmp_path / "model.keras", 0.01)
    write_splits(tmp_path / "split.csv", prepared.records, ["train"] * 8)
    with pytest.raises(InputError, match="--split=auto: the model was trained on all of these"):
        score_split(load_grader(tmp_path), prepared)
    assert len(score_split(load_grader(tmp_path), prepared, "train").indices) == 7


def test_no_grades(tmp_path, single):
    other = write_prepared(tmp_path, noise_images(3, SIZE), [None, None, None])
    with pytest.raises(InputError, match="none of the 3 photographs of the split has a grade"):
        score_split(load_grader(single), other)


# Copies under other names

SIDE = 128


def drawn(seeds):
    """Synthetic photographs as prepared squares: uint8 (n, SIDE, SIDE, 3)."""
    return np.stack([Photograph(draw_fundus(seed, 2, 300).image).prepare(SIDE).pixels for seed in seeds])


@pytest.fixture(scope="module")
def learnt(tmp_path_factory):
    """Runs that learnt from eyes 0 to 3: of one network, and of two folds that hold out 0, 1 and 2, 3."""
    run = tmp_path_factory.mktemp("learnt")
    own = write_prepared(run / "data", drawn(range(4)), [0, 1, 2, 3])
    prints = [one.fingerprint for one in inspect_prepared(own)]
    for leaf, kept in (("single", range(4)), ("folds/fold_0", (2, 3)), ("folds/fold_1", (0, 1))):
        save_mean_grader(run / leaf / "model.keras", 0.01, size=SIDE)
        write_splits(
            run / leaf / "split.csv", own.records, ["train" if i in kept else "held_out" for i in range(4)]
        )
        write_seen(run / leaf, [prints[i] for i in kept])
    return run


@pytest.fixture(scope="module")
def elsewhere(tmp_path_factory):
    """Another dataset: eyes 1 and 3, compressed and a little brighter, among four that nobody learnt from."""
    images = drawn([9, 1, 8, 3, 7, 6])
    for number in (1, 3):
        data = cv2.imencode(".jpg", cv2.convertScaleAbs(images[number], alpha=1.1))[1]
        images[number] = cv2.imdecode(data, cv2.IMREAD_COLOR)
    return write_prepared(
        tmp_path_factory.mktemp("elsewhere"), images, [0, 1, 2, 3, 4, 0], names="other{}.jpg"
    )


def test_copies_of_what_it_learnt_from_are_left_out(learnt, elsewhere):
    scored = score_split(load_grader(learnt / "single"), elsewhere)
    assert scored.indices.tolist() == [0, 2, 4, 5] and scored.copies == 2 and not scored.is_run_data


def test_copies_are_graded_by_the_networks_that_held_them_out(learnt, elsewhere):
    scored = score_split(load_grader(learnt / "folds"), elsewhere)
    assert sorted(scored.indices) == list(range(6)) and scored.copies == 0
    by = dict(zip(scored.indices.tolist(), scored.scored_by.T.tolist(), strict=True))
    assert by[1] == [True, False] and by[3] == [False, True] and by[0] == by[5] == [True, True]


def test_nothing_but_copies_is_refused(learnt, tmp_path):
    copies = write_prepared(tmp_path, drawn([1, 2]), [1, 2], names="other{}.jpg")
    with pytest.raises(InputError, match="all 2 photographs are copies of those that the model learnt from"):
        score_split(load_grader(learnt / "single"), copies)
