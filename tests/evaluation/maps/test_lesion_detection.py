import numpy as np
import pytest
from sklearn.metrics import average_precision_score

from dr_keras.data.lesion_masks import masked_synthetic_photographs, read_prepared
from dr_keras.evaluation.maps.lesion_detection import (
    _BINS,
    _Froc,
    _pooled_area,
    evaluate_detection,
    table,
    without_lesions,
)
from dr_keras.lesion_kinds import LESIONS
from dr_keras.models import GradingRules, build_grader
from dr_keras.models.lesion_nets import lesion_net

SIZE = 64


def test_the_pooled_area_is_the_average_precision_of_all_pixels():
    rng = np.random.default_rng(0)
    truth = rng.random(20000) < 0.05
    values = np.round(np.clip(rng.normal(0.3 + 0.3 * truth, 0.15), 0, 0.999) * _BINS) / _BINS
    bins = (values * _BINS).astype(int)
    histogram = np.stack([np.bincount(bins[truth == one], minlength=_BINS) for one in (False, True)])
    assert _pooled_area(histogram) == pytest.approx(average_precision_score(truth, values), abs=1e-9)


def test_a_lesion_is_found_by_a_detection_that_touches_it():
    """Two lesions; one detection touches the first, one lies apart: half found at one false detection."""
    mask, probabilities = np.zeros((SIZE, SIZE), bool), np.zeros((SIZE, SIZE))
    mask[4:10, 4:10] = mask[30:36, 30:36] = True
    probabilities[9:14, 9:14] = 0.9
    probabilities[50:54, 50:54] = 0.8
    froc = _Froc()
    froc.add(probabilities, mask)
    assert froc.result((1, 4)) == {"lesions": 2, "sensitivity": {"1": 0.5, "4": 0.5}}
    froc.add(np.zeros((SIZE, SIZE)), np.zeros((SIZE, SIZE), bool))  # a photograph without any
    assert froc.result((0.4,))["sensitivity"] == {"0.4": 0.5}  # the cut between 0.8 and 0.9


def test_replaced_lesions_look_like_what_is_around_them():
    pixels = np.full((SIZE, SIZE, 3), (150, 80, 40), np.uint8)
    lesions = np.zeros((SIZE, SIZE, 4), "float32")
    lesions[20:30, 20:30, 1] = 1
    pixels[20:30, 20:30] = 10
    filled = without_lesions(pixels, lesions)
    assert np.abs(filled.astype(int) - (150, 80, 40)).max() <= 1
    assert filled.dtype == np.uint8


@pytest.fixture(scope="module")
def blind():
    """A grader that marks nothing."""
    network = lesion_net(SIZE, widths=(4, 6, 8, 8, 8))
    network.get_layer("segmenter").get_layer("logits").bias.assign(np.full(5, -50.0))
    network.get_layer("score").set_weights([np.ones((8, 4)), np.full(4, -2.0)])
    return build_grader(network, SIZE, (0, 0, 0), (1, 1, 1), GradingRules())


def test_a_network_that_marks_nothing_finds_nothing_and_is_moved_by_nothing(blind):
    photographs = [(one, (0,)) for one in masked_synthetic_photographs(10)[:3]]
    result = evaluate_detection([blind], photographs, [("synthetic/0-000003-grade0", (0,))])
    assert all(row["sensitivity"]["8"] == 0 for row in result["froc"].values())
    assert result["healthy"]["all"]["value"] == 0 and result["healthy"]["n"] == 1
    assert result["swap"]["lesions_replaced"]["value"] == result["swap"]["rest_replaced"]["value"] == 0
    masks = np.stack([read_prepared(one, SIZE)[1] for one, _ in photographs])
    has = (masks[..., :4] > 127).any(axis=(0, 1, 2))
    known = [not np.isnan(result["pooled_auprc"][kind]) for kind in LESIONS]
    assert all(known[k] for k in range(4) if has[k])
    assert any("1 healthy eyes: 0.00" in line for line in table(result))
