import keras
import numpy as np
import pytest
from PIL import Image
from prepared_folders import noise_images, write_prepared

from dr_keras.explain.explainer import best_method
from dr_keras.inference.grader import load_grader
from dr_keras.inference.split_scores import score_split
from dr_keras.models.grader_model import build_grader
from dr_keras.report.gallery import gallery, worst_errors


def test_worst_first_ties_in_order_nan_never():
    labels = [0, 4, 2, 2, 1]
    scores = [1.0, 1.0, np.nan, 3.0, 1.5]
    assert worst_errors(labels, scores, 3).tolist() == [1, 0, 3]
    assert worst_errors(labels, scores, 99).tolist() == [1, 0, 3, 4]
    assert worst_errors(labels, scores, 0).tolist() == []


SIZE = 16


def save_grader(path, pooling, factor=0.01):
    """A grader whose score is `factor` times the mean of the image, with or without average pooling."""
    windows = keras.Input((SIZE, SIZE, 3))
    activation = keras.layers.LeakyReLU(name="activation")(windows)
    flat = (
        keras.layers.GlobalAveragePooling2D()(activation) if pooling else keras.layers.Flatten()(activation)
    )
    dense = keras.layers.Dense(1, use_bias=False)
    network = keras.Model(windows, dense(flat))
    dense.set_weights([np.full((flat.shape[1], 1), factor / flat.shape[1], "float32")])
    path.parent.mkdir(parents=True, exist_ok=True)
    build_grader(network, SIZE, (0, 0, 0), (1, 1, 1)).save(path)


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    """Four photographs; the files of all but the last lie where they are said to."""
    folder = tmp_path_factory.mktemp("photographs")
    images = noise_images(4, SIZE)
    prepared = write_prepared(folder / "prepared", images, [0, 1, 2, 3])
    for index in range(3):
        path = folder / f"{index}.png"
        Image.fromarray(np.kron(images[index], np.ones((6, 9, 1), np.uint8))).save(path)
        object.__setattr__(prepared.records[index], "path", str(path))
    return prepared


@pytest.mark.parametrize("pooling, method", [(True, "ram"), (False, "gradcam")])
def test_pictures_and_reasons(tmp_path, prepared, pooling, method):
    save_grader(tmp_path / "model.keras", pooling)
    model = load_grader(tmp_path / "model.keras")
    assert best_method(model.networks) == method
    cases = gallery(model, prepared, score_split(model, prepared), [3, 1], method)
    assert [case.index for case in cases] == [3, 1]
    assert cases[0].overlay is None and "No such file" in cases[0].reason
    np.testing.assert_array_equal(cases[0].photograph, prepared.read([3])[0])
    assert cases[1].reason == ""
    height, width = cases[1].photograph.shape[:2]
    assert (height, width) == (320, 480)
    assert cases[1].overlay.shape[0] == height and cases[1].overlay.shape[1] > width  # the colour bar


def test_each_by_the_networks_of_its_score(tmp_path, prepared):
    for fold, held_out in enumerate([(0, 2), (1, 3)]):
        save_grader(tmp_path / f"fold_{fold}/model.keras", True, factor=0.02 * fold)
        rows = [f"{i:03d}.png,{i:03d}.png,{i},{'held_out' if i in held_out else 'train'}" for i in range(4)]
        lines = ["image,patient,level,split", *rows]
        (tmp_path / f"fold_{fold}/split.csv").write_text("\n".join(lines))
    model = load_grader(tmp_path)
    scored = score_split(model, prepared)
    assert prepared.grades[scored.indices].tolist() == [0, 2, 1, 3]
    of_first, of_second = gallery(model, prepared, scored, [1, 2], "ram")
    color = [np.ptp(case.overlay[:, :480].astype(int), axis=-1).max() for case in (of_first, of_second)]
    assert color[0] <= 2  # the map of fold 0 is 0 everywhere: nothing is coloured
    assert color[1] > 30
