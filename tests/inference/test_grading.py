import keras
import numpy as np
import pytest
from PIL import Image
from prepared_folders import noise_images, write_prepared

from dr_keras.data.preparation import prepare_image
from dr_keras.errors import InputError
from dr_keras.explain.explainer import load_photographs
from dr_keras.inference.grading import GradingModel, score_files, score_split
from dr_keras.training.run_folder import write_splits
from dr_keras.training.scoring import Scorer

SIZE = 16


def save_grader(path, factor):
    """A grader whose score is `factor` times the mean of the image."""
    windows = keras.Input((SIZE, SIZE, 3))
    dense = keras.layers.Dense(1, use_bias=False)
    network = keras.Model(windows, dense(keras.layers.GlobalAveragePooling2D()(windows)))
    dense.set_weights([np.full((3, 1), factor / 3, "float32")])
    images = keras.Input((SIZE, SIZE, 3), name="image")
    path.parent.mkdir(parents=True, exist_ok=True)
    keras.Model(images, network(images), name="grader").save(path)


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
    save_grader(run / "model.keras", 0.01)
    splits = ["train", "train", "validation", "validation", "", "test", "test", "validation"]
    write_splits(run / "split.csv", prepared.records, splits)
    return run


@pytest.fixture(scope="module")
def folds(tmp_path_factory, prepared):
    """A run of two folds that hold out 0, 2, 3 and 1, 4."""
    run = tmp_path_factory.mktemp("runs") / "folds"
    for fold, held_out in enumerate([(0, 2, 3), (1, 4)]):
        save_grader(run / f"fold_{fold}/model.keras", 0.01 * (fold + 1))
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
    scored = score_split(GradingModel(single), prepared, split, batch_size=2)
    assert scored.indices.tolist() == indices
    np.testing.assert_allclose(scored.scores, 0.01 * means[indices], rtol=1e-5)
    assert scored.split == ("test" if split == "auto" else split)
    assert scored.is_run_data
    assert scored.ungraded == (split in ("validation", "all"))


def test_out_of_fold_each_by_the_network_that_held_it_out(folds, prepared, means):
    scored = score_split(GradingModel(folds), prepared)
    assert scored.indices.tolist() == [0, 2, 3, 1, 4]
    np.testing.assert_allclose(
        scored.scores, np.array([1, 1, 1, 2, 2]) / 100 * means[scored.indices], rtol=1e-5
    )
    assert (scored.split, scored.ungraded) == ("held_out", 0)


def test_what_no_fold_has_seen_is_graded_by_all(folds, prepared, means):
    scored = score_split(GradingModel(folds), prepared, "test")
    assert scored.indices.tolist() == [5, 6]
    np.testing.assert_allclose(scored.scores, 0.015 * means[[5, 6]], rtol=1e-5)
    everything = score_split(GradingModel(folds), prepared, "all")
    assert everything.indices.tolist() == [0, 2, 3, 5, 6, 1, 4]
    np.testing.assert_allclose(
        everything.scores, np.array([1, 1, 1, 1.5, 1.5, 2, 2]) / 100 * means[everything.indices], rtol=1e-5
    )


def test_one_fold_of_a_run_is_a_run_of_one_network(folds, prepared, means):
    scored = score_split(GradingModel(folds / "fold_1"), prepared)
    assert scored.indices.tolist() == [1, 4]
    np.testing.assert_allclose(scored.scores, 0.02 * means[[1, 4]], rtol=1e-5)


@pytest.mark.parametrize("name", ["single", "folds"])
def test_photographs_that_the_run_never_met(request, tmp_path, name):
    """The names are those of the run's photographs, the grades aren't: another dataset."""
    other = write_prepared(tmp_path, noise_images(3, SIZE, seed=1), [4, 3, 3])
    scored = score_split(GradingModel(request.getfixturevalue(name)), other)
    assert scored.indices.tolist() == [0, 1, 2]
    factor = {"single": 0.01, "folds": 0.015}[name]
    np.testing.assert_allclose(scored.scores, factor * other.read([0, 1, 2]).mean(axis=(1, 2, 3)), rtol=1e-5)
    assert (scored.split, scored.is_run_data) == ("all", False)


def test_a_split_without_photographs_names_those_there_are(single, folds, prepared):
    with pytest.raises(
        InputError, match=r"--split=held_out: no photograph has this split; .*train \(2\), validation \(3\)"
    ):
        score_split(GradingModel(single), prepared, "held_out")
    with pytest.raises(
        InputError, match=r"--split=train: no photograph .*: none \(1\), held_out \(5\), test \(2\)"
    ):
        score_split(GradingModel(folds), prepared, "train")


def test_auto_never_takes_photographs_that_were_trained_on(tmp_path, prepared):
    save_grader(tmp_path / "model.keras", 0.01)
    write_splits(tmp_path / "split.csv", prepared.records, ["train"] * 8)
    with pytest.raises(InputError, match="--split=auto: the model was trained on all of these"):
        score_split(GradingModel(tmp_path), prepared)
    assert len(score_split(GradingModel(tmp_path), prepared, "train").indices) == 7


def test_no_grades(tmp_path, single):
    other = write_prepared(tmp_path, noise_images(3, SIZE), [None, None, None])
    with pytest.raises(InputError, match="none of the 3 photographs of the split has a grade"):
        score_split(GradingModel(single), other)


def test_files_have_the_scores_of_prepared_photographs(tmp_path, single):
    images = np.broadcast_to(np.array([30, 90, 91, 200], np.uint8)[:, None, None, None], (4, SIZE, SIZE, 3))
    prepared = write_prepared(tmp_path / "prepared", images, [0, 1, 2, 3])
    paths = [str(tmp_path / f"{index}.png") for index in range(4)]
    for path, image in zip(paths, images):
        Image.fromarray(image.repeat(3, axis=0).repeat(4, axis=1)).save(
            path
        )  # no edge: the centre square is taken
    paths.insert(2, str(tmp_path / "missing.png"))
    expected = Scorer(GradingModel(single).graders[0], prepared)(np.arange(4)).tolist()
    for batch_size in (1, 2, 32):
        results = list(score_files(GradingModel(single), paths, batch_size))
        assert [path for path, *_ in results] == paths
        assert [reason for _, _, reason, *_ in results] == [
            "",
            "",
            "can't be read (No such file or directory)",
            "",
            "",
        ]
        scores = [score for _, score, *_ in results]
        assert scores[:2] + scores[3:] == expected
        assert np.isnan(scores[2])
        flat = "no visible retina: the photograph has no detail"
        assert [tuple(rest) for _, _, _, *rest in results] == [
            (None, fault) for fault in (flat, flat, None, flat, flat)
        ]


def test_files_are_scored_by_all_folds(tmp_path, folds):
    Image.fromarray(np.full((40, 40, 3), 100, np.uint8)).save(tmp_path / "a.png")
    assert list(score_files(GradingModel(folds), [tmp_path / "a.png"]))[0][1] == pytest.approx(1.5)


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: data[: len(data) // 2],
        lambda data: data[:10],
        lambda data: b"",
        lambda data: data[:300] + bytes(200) + data[500:],
    ],
)
def test_a_damaged_model(tmp_path, single, damage):
    path = tmp_path / "model.keras"
    path.write_bytes(damage((single / "model.keras").read_bytes()))
    with pytest.raises(InputError, match="model.keras: not a model saved by this project") as caught:
        GradingModel(path)
    assert "\n" not in str(caught.value)


def test_photographs_are_normalised_as_in_training(tmp_path, draw_photograph):
    save_grader(tmp_path / "model.keras", 0.01)
    (tmp_path / "run.cfg").write_text("--normalization=clahe,color\n")
    Image.fromarray(draw_photograph(0)).save(tmp_path / "a.png")
    model = GradingModel(tmp_path / "model.keras")
    assert model.normalization == ("color", "clahe")
    assert model.open(lambda size, steps: (size, steps)) == (SIZE, ("color", "clahe"))
    normal, plain = (
        prepare_image(tmp_path / "a.png", SIZE, steps).pixels for steps in (("color", "clahe"), ())
    )
    (graded,) = score_files(model, [tmp_path / "a.png"])
    assert graded.score == pytest.approx(0.01 * normal.mean(), rel=1e-4)
    assert abs(plain.mean() - normal.mean()) > 1
    ((((_, photograph, _),)),) = load_photographs(
        [tmp_path / "a.png"], [SIZE], normalization=model.normalization
    )
    np.testing.assert_array_equal(photograph.prepared[SIZE].pixels, normal)
