import keras
import numpy as np
import pytest

from dr_keras.data.fundus import FieldOfView, crop_square
from dr_keras.errors import InputError
from dr_keras.explain import lesion_overlay
from dr_keras.explain.explainer import Explainer, best_method
from dr_keras.explain.lesion_findings import find_lesions, on_frame
from dr_keras.explain.lesion_maps import lesion_shares
from dr_keras.explain.ram import regression_activation_map, score_bias
from dr_keras.lesion_kinds import CHANNELS, COLORS, LESIONS
from dr_keras.models import GradingRules, build_grader, net5
from dr_keras.models.grader_model import network_of
from dr_keras.models.lesion_nets import lesion_efficientnet, lesion_net

SIZE = 128
LEAST = (0.3, 0.4, 0.5, 0.6)


WIDTHS = (4, 6, 8, 8, 8)
BIAS = np.array([-0.5, -1.5, -2.5, -3.5])
NOTHING = float(np.sum(1 / (1 + np.exp(-BIAS))))  # score of an eye without any lesion


def made(network):
    """A grader of a network with random weights that marks a good part of any picture."""
    network.get_layer("shares").least = LEAST
    network.get_layer("segmenter").get_layer("logits").bias.assign(np.full(5, -0.5))
    score = network.get_layer("score")
    kernel = np.linspace(0.01, 0.08, np.prod(score.kernel.shape)).reshape(score.kernel.shape)
    score.set_weights([kernel, BIAS])
    return build_grader(network, SIZE, (0, 0, 0), (1, 1, 1), GradingRules())


@pytest.fixture(scope="module")
def grader():
    return made(lesion_net(SIZE, widths=WIDTHS))


@pytest.fixture(scope="module")
def grader_with_context():
    """One whose maps `context` have the mean of the backbone's features, plus 20."""
    network = lesion_efficientnet(SIZE, widths=WIDTHS)
    channels = network.get_layer("context").kernel.shape[2]
    network.get_layer("context").set_weights([np.full((1, 1, channels, 4), 1 / channels), np.full(4, 20.0)])
    return made(network)


def photographs(count=2):
    rng = np.random.default_rng(0)
    images = np.clip(rng.normal((150, 80, 40), 25, (count, SIZE, SIZE, 3)), 0, 255).astype("uint8")
    images[:, ~FieldOfView.of_square(SIZE).mask()] = 0
    return images


def test_the_mean_of_the_map_and_the_bias_are_the_score(grader):
    images = photographs()
    scores, maps, evidence = lesion_shares(grader, images)
    assert maps.shape == (2, SIZE, SIZE) and evidence.shape == (2, SIZE, SIZE, len(CHANNELS) + len(LESIONS))
    assert scores.min() > NOTHING + 0.1
    np.testing.assert_allclose(maps.mean(axis=(1, 2), dtype="float64") + NOTHING, scores, atol=1e-4)
    np.testing.assert_allclose(evidence[..., 5:].sum(axis=-1), maps, rtol=1e-5)
    assert maps.min() >= 0 and np.mean(maps == 0) > 0.01


def test_it_is_the_regression_activation_map_pixel_by_pixel(grader):
    """The RAM's cells are the sums of the pixels in them, but for the edges of quadrants."""
    images = photographs()
    scores, cells = regression_activation_map(grader, images)
    own, maps, _ = lesion_shares(grader, images)
    np.testing.assert_allclose(own, scores, atol=1e-4)
    blocks = maps.reshape(2, SIZE // 8, 8, SIZE // 8, 8).mean(axis=(2, 4))
    np.testing.assert_allclose(blocks, cells, rtol=2e-3, atol=1e-3)
    assert score_bias(grader) == pytest.approx(NOTHING)


def test_the_context_is_what_the_lesions_and_the_bias_leave(grader_with_context):
    images, network = photographs(), network_of(grader_with_context)
    scores, maps, evidence = lesion_shares(grader_with_context, images)
    means = np.asarray(keras.Model(network.inputs, network.get_layer("gap").output)(images.astype("float32")))
    kernel = network.get_layer("score").kernel.numpy()
    logits = means @ kernel
    rises = 1 / (1 + np.exp(-logits - BIAS)) - 1 / (1 + np.exp(-BIAS))
    added = np.sum(
        rises * (means[:, 8:] @ kernel[8:]) / logits, axis=1
    )  # its part of what each logit rises by
    assert added.min() > 0.5
    np.testing.assert_allclose(maps.mean(axis=(1, 2), dtype="float64") + added + NOTHING, scores, atol=1e-4)
    ram_scores, cells = regression_activation_map(grader_with_context, images)
    assert cells.shape == (2, 4, 4)
    np.testing.assert_allclose(cells.mean(axis=(1, 2)) + NOTHING, ram_scores, atol=1e-4)
    np.testing.assert_allclose(ram_scores, scores, atol=1e-4)
    (explanation,) = (
        found for _, found, _ in Explainer([[grader_with_context]], "lesions")(list(images[:1]))
    )
    found = explanation.findings
    assert found.context == pytest.approx(float(added[0]), abs=0.05)  # of the field of view, found anew
    lesions = sum(lesion.contribution for lesion in found.lesions)
    assert lesions + found.remainder + found.context + found.bias == pytest.approx(
        explanation.score, abs=1e-4
    )
    assert f"{found.context:+.2f} for the look of the retina besides" in lesion_overlay.remarks(found)[-1]


def test_other_networks_mark_no_lesions():
    network = net5(128)
    with pytest.raises(InputError, match="--method=lesions: the model marks no lesions"):
        lesion_shares(network, np.zeros((1, *network.input_shape[1:]), "float32"))
    assert best_method([network]) == "ram" and best_method([net5(128, head="dense")]) == "gradcam"


def evidence_with(kind, place, value=0.9, share=50.0):
    evidence = np.zeros((SIZE, SIZE, 9), "float32")
    evidence[(*place, LESIONS.index(kind))] = value
    evidence[(*place, 5 + LESIONS.index(kind))] = share
    return evidence


def test_each_lesion_with_place_size_and_contribution():
    """A square of 4 x 6 pixels at rows 20-23, columns 100-105; the photograph is twice as large, shifted."""
    evidence = evidence_with("haemorrhages", np.s_[20:24, 100:106])
    evidence[90:100, 10:20, 4] = 0.9  # an optic disc of 100 pixels
    view = FieldOfView(200, 170, SIZE, 400, 360, True)
    found = find_lesions(evidence, LEAST, 0.4, view)
    (lesion,) = found.lesions
    assert lesion.kind == "haemorrhages" and lesion.quadrant == "upper right"
    assert lesion.center_y == pytest.approx(200 - SIZE + 2 * 22)
    assert lesion.center_x == pytest.approx(170 - SIZE + 2 * 103)
    assert lesion.area == pytest.approx(24 * 4) and lesion.disc_areas == pytest.approx(0.24)
    assert lesion.probability == pytest.approx(0.9)
    assert lesion.contribution == pytest.approx(24 * 50 / SIZE**2)
    assert found.remainder == pytest.approx(0, abs=1e-6)
    assert found.in_words()[:2] == [
        "no microaneurysms",
        f"1 haemorrhage, 0.24 disc areas, 1 quadrant: {24 * 50 / SIZE**2:+.2f}",
    ]


def test_specks_are_no_lesions_but_the_sum_has_them(grader):
    image = photographs(1)[0]
    explain = Explainer([[grader]], "lesions")
    ((_, explanation, _),) = explain([image])
    found = explanation.findings
    total = sum(lesion.contribution for lesion in found.lesions) + found.remainder + found.bias
    assert total == pytest.approx(explanation.score, abs=1e-4)
    assert best_method([grader]) == "lesions"


def test_without_an_optic_disc_areas_are_not_told():
    found = find_lesions(
        evidence_with("soft_exudates", np.s_[0:9, 0:9]), LEAST, 0, FieldOfView.of_square(SIZE)
    )
    assert np.isnan(found.lesions[0].disc_areas)
    assert found.in_words()[3] == "1 soft exudate, 1 quadrant: +0.25"


def test_the_way_back_from_the_square_to_the_photograph():
    """A mark in the photograph, cut out with the square and laid back, is where it was."""
    photograph = np.zeros((100, 180, 3), np.uint8)
    photograph[40:60, 90:120] = 200
    view = FieldOfView(52, 95, 60, 100, 180, True)  # the circle is cut off above and below
    square = crop_square(photograph, view, 240)[..., 0]
    back = on_frame(square, view)
    assert back.shape == (100, 180)
    assert np.mean((back > 100) == (photograph[..., 0] > 100)) > 0.995
    assert not back[:, 170:].any()


def test_outlines_are_around_the_lesion_in_its_colour():
    image = np.full((SIZE, SIZE, 3), (150, 80, 40), np.uint8)
    view = FieldOfView.of_square(SIZE)
    found = find_lesions(evidence_with("hard_exudates", np.s_[40:60, 70:90]), LEAST, 0, view)
    picture = lesion_overlay.outlined(image, found, view)
    changed = (picture != image).any(axis=2)
    assert not changed[42:58, 72:88].any() and not changed[:34].any() and not changed[:, :64].any()
    red, blue = picture[changed][:, 0].astype(int), picture[changed][:, 2].astype(int)
    assert changed.sum() > 80 and np.median(blue - red) > 0  # on the way to blue, by anti-aliasing


def test_a_single_small_lesion_gets_a_circle_that_can_be_seen():
    image = np.full((SIZE, SIZE, 3), (150, 80, 40), np.uint8)
    view = FieldOfView.of_square(SIZE)
    found = find_lesions(evidence_with("microaneurysms", np.s_[60:61, 60:61]), LEAST, 0, view)
    changed = (lesion_overlay.outlined(image, found, view) != image).any(axis=2)
    rows = np.flatnonzero(changed.any(axis=1))
    assert 5 <= rows[-1] - rows[0] + 1 <= 8  # the picture is small: a lesion of one pixel, a circle of six


def test_a_healthy_eye_is_left_alone(grader):
    quiet = keras.models.clone_model(grader)
    quiet.set_weights(grader.get_weights())
    for layer in quiet.layers:
        if isinstance(layer, keras.Model):
            layer.get_layer("segmenter").get_layer("logits").bias.assign(np.full(5, -500.0))
    explain = Explainer([[quiet]], "lesions")
    ((_, explanation, _),) = explain([photographs(1)[0]])
    assert explanation.score == pytest.approx(NOTHING) and explanation.findings.lesions == ()
    picture = np.asarray(explanation.overlay())
    panel = picture[:512, :512]
    assert not (np.abs(panel.astype(int) - COLORS["haemorrhages"]).sum(axis=2) < 40).any()
