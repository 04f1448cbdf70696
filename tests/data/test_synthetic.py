"""The synthetic photographs: the same eye every time, lesions by grade, nothing else that tells it."""

import cv2
import numpy as np
import pytest
from sklearn.linear_model import Ridge
from sklearn.metrics import cohen_kappa_score
from sklearn.model_selection import KFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from dr_keras.data.synthetic import draw_fundus, draw_named, synthetic_dataset
from dr_keras.data.synthetic.lesions import LESIONS

SEEDS = range(8)


def count(mask):
    """Number of connected spots in a bool mask."""
    return cv2.connectedComponents(mask.astype("uint8"))[0] - 1


def test_shapes_and_frame():
    aspects = set()
    for seed in SEEDS:
        fundus = draw_fundus(seed, grade=2, size=96)
        height, width, channels = fundus.image.shape
        assert (height, channels) == (96, 3) and 96 <= width <= 144
        assert fundus.image.dtype == np.uint8 and fundus.grade == 2
        assert set(fundus.masks) == set(LESIONS)
        for mask in (*fundus.masks.values(), fundus.field_of_view):
            assert mask.shape == (height, width) and mask.dtype == bool
        surround = cv2.erode((~fundus.field_of_view).astype("uint8"), np.ones((3, 3))) == 1
        assert fundus.image[surround].mean() < 8
        assert fundus.image[fundus.field_of_view, 0].mean() > 80
        aspects.add(width)
    assert len(aspects) > 3


def test_same_arguments_same_photograph():
    first, second = draw_fundus(5, 4, 80), draw_fundus(5, 4, 80)
    np.testing.assert_array_equal(first.image, second.image)
    for lesion in LESIONS:
        np.testing.assert_array_equal(first.masks[lesion], second.masks[lesion])
    assert draw_fundus(6, 4, 80).image.shape != first.image.shape


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_same_eye_at_two_sizes(seed):
    large, small = draw_fundus(seed, 3, 256), draw_fundus(seed, 3, 128)
    size = small.image.shape[1::-1]
    shrunk = cv2.resize(large.image, size, interpolation=cv2.INTER_AREA)
    seen = small.field_of_view
    for channel in (0, 1):
        assert np.corrcoef(shrunk[seen, channel], small.image[seen, channel])[0, 1] > 0.95
    for lesion in ("haemorrhages", "soft_exudates"):
        mask = cv2.resize(large.masks[lesion].astype("float32"), size, interpolation=cv2.INTER_AREA) >= 0.5
        overlap = (mask & small.masks[lesion]).sum() / (mask | small.masks[lesion]).sum()
        assert overlap > 0.7


def test_lesions_follow_the_icdr_scale():
    for seed in SEEDS:
        none, mild, moderate, severe, proliferative = (
            draw_fundus(seed, grade, 256).masks for grade in range(5)
        )
        assert not any(mask.any() for mask in none.values())
        assert 3 <= count(mild["microaneurysms"]) <= 9
        assert not any(mask.any() for lesion, mask in mild.items() if lesion != "microaneurysms")
        assert 3 <= count(moderate["haemorrhages"]) <= 25
        assert severe["haemorrhages"].sum() > moderate["haemorrhages"].sum()
        assert severe["soft_exudates"].any()
        for masks in (moderate, severe, proliferative):
            assert masks["microaneurysms"].any() and masks["haemorrhages"].any()
        for masks in (moderate, severe):
            assert not masks["neovascularisation"].any()


def test_severe_has_haemorrhages_in_all_four_quadrants():
    for seed in SEEDS:
        fundus = draw_fundus(seed, 3, 128)
        rows, columns = np.nonzero(fundus.field_of_view)
        row, column = int(rows.mean()), int(columns.mean())
        mask = fundus.masks["haemorrhages"]
        for half in (mask[:row], mask[row:]):
            assert half[:, :column].any() and half[:, column:].any()


def test_proliferative_has_new_vessels_or_a_large_haemorrhage():
    for seed in SEEDS:
        fundus = draw_fundus(seed, 4, 128)
        spots, _, stats, _ = cv2.connectedComponentsWithStats(fundus.masks["haemorrhages"].astype("uint8"))
        largest = stats[1:, cv2.CC_STAT_AREA].max() / fundus.field_of_view.sum()
        assert fundus.masks["neovascularisation"].any() or largest > 0.005


def test_masks_say_where_the_paint_is():
    for seed in SEEDS:
        healthy, severe = (draw_fundus(seed, grade, 192) for grade in (0, 3))
        change = severe.image[..., 1].astype(float) - healthy.image[..., 1]
        masks = severe.masks
        painted = np.any(list(masks.values()), axis=0)
        assert not np.any(painted & ~severe.field_of_view)
        elsewhere = severe.field_of_view & ~cv2.dilate(painted.astype("uint8"), np.ones((7, 7))).astype(bool)
        change -= np.median(change[elsewhere])
        assert np.abs(change[elsewhere]).mean() < 8
        pale = masks["soft_exudates"] & ~masks["haemorrhages"] & ~masks["microaneurysms"]
        assert change[masks["haemorrhages"]].mean() < -15 and change[masks["microaneurysms"]].mean() < -15
        assert change[pale].mean() > 15


def colour_statistics(fundus):
    """Means, standard deviations and 8-bin histograms of the channels within the field of view."""
    pixels = fundus.image[fundus.field_of_view].astype(float)
    histograms = [np.histogram(channel, 8, (0, 256))[0] / len(pixels) for channel in pixels.T]
    return np.concatenate([pixels.mean(axis=0), pixels.std(axis=0), *histograms])


def test_colour_statistics_do_not_tell_the_grade():
    records = synthetic_dataset(300, seed=11).records
    features = np.stack([colour_statistics(draw_named(record.path, 96)) for record in records])
    grades = np.array([record.grade for record in records])
    folds = KFold(5, shuffle=True, random_state=0)
    for columns in (slice(0, 6), slice(6, None), slice(None)):
        model = make_pipeline(StandardScaler(), Ridge(alpha=3.0))
        scores = cross_val_predict(model, features[:, columns], grades, cv=folds)
        predicted = np.clip(np.rint(scores), 0, 4).astype(int)
        assert cohen_kappa_score(grades, predicted, weights="quadratic") < 0.3


def test_dataset_lists_even_grades_and_redraws():
    dataset = synthetic_dataset(23, seed=4)
    grades = [record.grade for record in dataset.records]
    assert (dataset.name, dataset.root) == ("synthetic", "")
    assert np.bincount(grades).tolist() == [5, 5, 5, 4, 4]
    assert grades != sorted(grades)
    assert dataset == synthetic_dataset(23, seed=4) != synthetic_dataset(23, seed=5)
    record = dataset.records[7]
    assert record.image == record.path == record.patient == f"synthetic/4-000007-grade{record.grade}"
    assert record.split == "" and record.eye in ("left", "right")
    drawn = draw_named(record.path, 64)
    assert drawn.grade == record.grade
    np.testing.assert_array_equal(drawn.image, draw_named(record.image, 64).image)
    assert draw_named(dataset.records[8].path, 64).image.shape != drawn.image.shape


def test_disc_lies_to_the_right_in_a_right_eye():
    records = synthetic_dataset(20, seed=2).records
    for index, record in enumerate(records):
        fundus = draw_fundus((2, index), grade=0, size=96)  # the same eye without lesions
        seen = fundus.field_of_view
        green = np.where(seen, fundus.image[..., 1], fundus.image[seen, 1].mean()).astype("float32")
        spot = cv2.GaussianBlur(green, (0, 0), 4) / cv2.GaussianBlur(green, (0, 0), 12)
        disc = np.unravel_index(spot.argmax(), spot.shape)[1]
        assert ("right" if disc > np.nonzero(seen)[1].mean() else "left") == record.eye
    assert {record.eye for record in records} == {"left", "right"}


@pytest.mark.parametrize(
    "arguments, message",
    [
        ((-1, 0, 64), "`seed` must be a whole number of at least 0. Received: seed=-1"),
        ((0, 5, 64), "`grade` must be 0, 1, 2, 3 or 4. Received: grade=5"),
        ((0, 0, 31), "`size` must be a whole number of at least 32. Received: size=31"),
    ],
)
def test_draw_fundus_refuses(arguments, message):
    with pytest.raises(ValueError) as caught:
        draw_fundus(*arguments)
    assert str(caught.value) == message


def test_dataset_and_records_refuse():
    with pytest.raises(ValueError, match="`num_images` must be .* Received: num_images=0"):
        synthetic_dataset(0)
    with pytest.raises(ValueError, match="`seed` must be .* Received: seed=-3"):
        synthetic_dataset(1, seed=-3)
    with pytest.raises(ValueError, match="`name` must be like .* Received: name=IDRiD_001.jpg"):
        draw_named("IDRiD_001.jpg")
