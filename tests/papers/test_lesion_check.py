"""Patches against lesion masks: shares by hand, random places by hand, and a planted lesion that is found."""

import json

import keras
import numpy as np
import pytest

from dr_keras.data.lesion_masks import ANY_LESION, masked_synthetic_photographs, read_masks
from dr_keras.evaluation.maps.map_evaluation import UnseenNetworks
from dr_keras.inference.grader import load_grader
from dr_keras.models.grader_model import build_grader
from dr_keras.papers.alexnet.lesion_check import check_lesions, compare_boxes


def test_boxes_by_hand():
    mask, inside = np.zeros((4, 6), bool), np.ones((4, 6), bool)
    mask[1, 2] = mask[1, 3] = True
    # A box of 2x2 fits at 3x5 places; it holds the lesion in the 2 upper rows and columns 1 to 3, both of its
    # pixels in column 2 alone.
    (found,) = compare_boxes([(0, 2, 2, 2)], mask, inside)
    assert found == (1.0, 2 / 4, pytest.approx(6 / 15), pytest.approx(2 * (1 + 2 + 1) / 15 / 4))
    (missed,) = compare_boxes([(2, 0, 2, 2)], mask, inside)
    assert missed[:2] == (0.0, 0.0) and missed[2:] == found[2:]


def test_random_places_are_as_much_in_view_as_the_patch():
    mask, inside = np.zeros((1, 6), bool), np.array([[False, True, True, True, False, False]])
    mask[0, 1] = True
    # In full view are the places 1 and 2, of which the first holds the lesion; half in view 0 and 3 too.
    assert compare_boxes([(0, 1, 1, 2)], mask, inside)[0][2] == pytest.approx(1 / 2)
    assert compare_boxes([(0, 0, 1, 2)], mask, inside)[0][2] == pytest.approx(2 / 4)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """A score that grows with the red of the lower right quarter of what it sees, and with nothing else."""
    inputs = keras.Input((112, 112, 3))
    cells = keras.layers.AveragePooling2D(16, name="pool5")(inputs)
    network = keras.Model(inputs, keras.layers.Dense(1, use_bias=False)(keras.layers.Flatten()(cells)))
    kernel = np.zeros((7, 7, 3, 1), "float32")
    kernel[4:, 4:, 0] = 0.01
    network.layers[-1].set_weights([kernel.reshape(-1, 1)])
    path = tmp_path_factory.mktemp("run") / "model.keras"
    build_grader(network, 128, (0, 0, 0), (1, 1, 1)).save(path)
    return load_grader(path)


def test_patches_of_masked_photographs(model):
    photographs = [each for each in masked_synthetic_photographs(5, seed=1)][:3]
    unseen = [UnseenNetworks(photograph, ((0,),)) for photograph in photographs]
    # Hiding a window of 2x2 of the nine cells that count costs up to 4 * 0.01 * red grades.
    found = check_lesions(model, unseen, threshold=0.7, seed=0, num_resamples=50)
    assert found["photographs"] == 3 and found["with_patches"] == 3 and found["patches"] >= 3
    any_lesion = found["lesions"][ANY_LESION]
    assert any_lesion["patches"] == found["patches"] and any_lesion["n"] == 3
    for measure in ("hit", "area"):
        own, random, difference = (any_lesion[measure][k] for k in ("patches", "random", "difference"))
        assert 0 <= own["low"] <= own["value"] <= own["high"] <= 1
        assert difference["value"] == pytest.approx(own["value"] - random["value"])
    has = {lesion for photograph in photographs for lesion in read_masks(photograph, 64, 64)}
    assert set(found["lesions"]) == has
    again = check_lesions(model, unseen, threshold=0.7, seed=0, num_resamples=50)
    assert json.dumps(again) == json.dumps(found)


def test_no_patches(model):
    unseen = [UnseenNetworks(masked_synthetic_photographs(5, seed=1)[0], ((0,),))]
    found = check_lesions(model, unseen, threshold=9)
    assert found == {"photographs": 1, "with_patches": 0, "patches": 0, "lesions": {}}
