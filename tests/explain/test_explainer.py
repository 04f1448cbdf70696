import cv2
import numpy as np
import pytest

from dr_keras.data import synthetic
from dr_keras.explain.explainer import Explainer
from dr_keras.explain.ram import score_bias
from dr_keras.models.grader_model import network_of
from dr_keras.models.nets import net5, ram_net5

RETINA, LESION = 60, 255


@pytest.fixture
def photograph(tmp_path):
    """A photograph that isn't square, with one bright spot off the centre: the file, and the spot (y, x)."""
    image = np.zeros((300, 480, 3), np.uint8)
    cv2.circle(image, (250, 150), 140, (RETINA,) * 3, -1)
    cv2.circle(image, (310, 110), 12, (LESION,) * 3, -1)
    path = tmp_path / "wide.png"
    cv2.imwrite(str(path), image)
    return str(path), (110, 310)


def peak(heat):
    return np.unravel_index(np.argmax(heat), heat.shape)


@pytest.mark.parametrize("method", ["ram", "gradcam", "occlusion"])
def test_planted_lesion_is_where_the_map_says(photograph, blurring, method):
    path, spot = photograph
    options = {"window": 9, "stride": 4} if method == "occlusion" else {}
    explainer = Explainer([[blurring(ram_net5(128, width=0.05), 128)]], method, **options)
    ((name, explanation, reason),) = explainer([path])
    assert (name, reason) == (path, "")
    assert explanation.image.shape == (300, 480, 3) and explanation.heat.shape == (300, 480)
    np.testing.assert_allclose(peak(explanation.heat), spot, atol=10)


def test_photograph_is_reduced_to_the_frame_asked_for(photograph, blurring):
    path, spot = photograph
    explainer = Explainer([[blurring(ram_net5(128, width=0.05), 128)]], max_side=240)
    ((_, explanation, _),) = explainer([path])
    assert explanation.image.shape == (150, 240, 3)
    np.testing.assert_allclose(peak(explanation.heat), np.array(spot) / 2, atol=5)


def test_fused_map_is_the_mean_of_the_scales(photograph, blurring):
    path, _ = photograph
    models = [[blurring(ram_net5(128, width=0.05), 128)], [blurring(net5(256, width=0.05), 256)]]
    ((_, fused, _),) = Explainer(models)([path])
    single = [next(iter(Explainer([model])([path])))[1] for model in models]
    np.testing.assert_allclose(fused.heat, (single[0].heat + single[1].heat) / 2, atol=1e-3)
    assert fused.scores == pytest.approx((single[0].score, single[1].score))
    assert fused.score == pytest.approx(np.mean(fused.scores))
    assert [cells.shape for cells in fused.maps] == [(54, 54), (6, 6)]


def test_networks_of_a_run_are_averaged(photograph, blurring):
    path, _ = photograph
    first, second = (blurring(net5(128, width=0.05), 128) for _ in range(2))
    network_of(second).get_layer("score").bias.assign([3.0])
    ((_, both, _),) = Explainer([[first, second]])([path])
    ((_, one, _),) = Explainer([[first]])([path])
    assert both.score == pytest.approx(one.score + (3.0 - score_bias(first)) / 2, abs=1e-4)


def test_map_is_confined_to_the_field_of_view_and_the_rest_is_counted(photograph, blurring):
    path, _ = photograph
    ((_, explanation, _),) = Explainer([[blurring(ram_net5(128, width=0.05), 128)]])([path])
    inside = explanation.field_of_view.mask()
    assert not explanation.heat[~inside].any() and explanation.heat[inside].any()
    assert 0 < explanation.energy_outside < 0.1


def test_files_that_cannot_be_read_are_named_and_the_rest_explained(photograph, blurring, tmp_path):
    path, _ = photograph
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(b"no photograph")
    missing = str(tmp_path / "missing.jpg")
    explainer = Explainer([[blurring(net5(128, width=0.05), 128)]], batch_size=2)
    results = list(explainer([str(broken), missing, path], progress=lambda rows, total: rows))
    assert [name for name, _, _ in results] == [str(broken), missing, path]
    assert [explanation is None for _, explanation, _ in results] == [True, True, False]
    assert "not an image" in results[0][2] and "can't be read" in results[1][2]
    assert list(explainer([])) == []


def test_synthetic_photographs_are_drawn(blurring):
    record = synthetic.synthetic_dataset(1).records[0]
    explainer = Explainer([[blurring(net5(128, width=0.05), 128)]], max_side=128)
    ((_, explanation, _),) = explainer([record.path])
    assert explanation.image.shape[0] == 128 and explanation.heat.shape == explanation.image.shape[:2]


def test_unknown_method():
    with pytest.raises(ValueError, match="`method` must be one of .* Received: method='saliency'"):
        Explainer([], "saliency")
