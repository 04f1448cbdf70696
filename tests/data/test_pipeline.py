import itertools

import numpy as np
import pytest
from prepared_folders import noise_images, write_prepared

from dr_keras.data.pipeline import evaluation_batches, steps_per_epoch, training_batches
from dr_keras.data.sampling import SamplingConfig, class_weights

GRADES = [0] * 20 + [1] * 8 + [2] * 6 + [3] * 4 + [4] * 2
ONCE = SamplingConfig(resample=False)


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    """40 images of 8 pixels, each of one colour that tells its position: red is 2 * position."""
    positions = np.arange(40, dtype=np.uint8)[:, None, None, None]
    images = np.broadcast_to(positions * np.array([2, 1, 0], np.uint8) + [0, 100, 7], (40, 8, 8, 3)).astype(
        np.uint8
    )
    return write_prepared(tmp_path_factory.mktemp("pipeline") / "prepared", images, GRADES, shard_rows=7)


def collect(dataset, count=None):
    """Batches as numpy; `index` is read off the pixels."""
    batches = []
    for batch in itertools.islice(dataset.as_numpy_iterator(), count):
        batches.append({**batch, "index": batch["image"][:, 0, 0, 0].astype(int) // 2})
    return batches


def joined(batches, key):
    return np.concatenate([batch[key] for batch in batches])


def assert_same(first, second):
    assert len(first) == len(second)
    for a, b in zip(first, second):
        for key in ("image", "grade", "uniform", "normal"):
            np.testing.assert_array_equal(a[key], b[key])


def test_batches_hold_images_and_their_grades(prepared):
    (batch,) = collect(training_batches(prepared, range(40), 16, 1, seed=0), 1)
    assert batch["image"].dtype == np.uint8 and batch["image"].shape == (16, 8, 8, 3)
    assert batch["uniform"].shape == (16, 6) and batch["normal"].shape == (16, 3)
    assert {batch[key].dtype for key in ("grade", "uniform", "normal")} == {np.dtype("float32")}
    for image, grade, index in zip(batch["image"], batch["grade"], batch["index"]):
        assert grade == GRADES[index]
        assert (image == [2 * index, 100 + index, 7]).all()


def test_only_the_photographs_asked_for(prepared):
    chosen = [3, 7, 21, 29, 35, 39]
    batches = collect(training_batches(prepared, chosen, 6, 30, seed=0))
    assert set(joined(batches, "index")) == set(chosen)
    np.testing.assert_array_equal(joined(batches, "grade"), np.array(GRADES)[joined(batches, "index")])


def test_steps_per_epoch():
    assert [steps_per_epoch(n, 8) for n in (1, 7, 8, 15, 16)] == [1, 1, 1, 1, 2]


def test_same_seed_same_batches(prepared):
    first, second, other = (collect(training_batches(prepared, range(40), 8, 2, seed)) for seed in (5, 5, 6))
    assert len(first) == 10
    assert_same(first, second)
    for key in ("index", "uniform", "normal"):
        assert (joined(first, key) != joined(other, key)).mean() > 0.5


def test_start_epoch_and_skip_go_on_where_they_should(prepared):
    for config in (SamplingConfig(), ONCE):
        whole = collect(training_batches(prepared, range(40), 8, 4, 3, config))
        assert len(whole) == 20
        assert_same(
            collect(training_batches(prepared, range(40), 8, 4, 3, config, start_epoch=2)), whole[10:]
        )
        resumed = training_batches(prepared, range(40), 8, 4, 3, config, start_epoch=1).skip(3)
        assert_same(collect(resumed), whole[8:])
        assert collect(training_batches(prepared, range(40), 8, 4, 3, config, start_epoch=4)) == []


def test_more_epochs_do_not_change_the_first(prepared):
    short = collect(training_batches(prepared, range(40), 8, 2, 0))
    assert_same(collect(training_batches(prepared, range(40), 8, 5, 0), 10), short)


def test_without_resampling_each_photograph_once_an_epoch(prepared):
    batches = collect(training_batches(prepared, range(40), 8, 3, 0, ONCE))
    epochs = [joined(batches[start : start + 5], "index") for start in (0, 5, 10)]
    for order in epochs:
        assert sorted(order) == list(range(40))
        assert list(order) != list(range(40))
    assert not (epochs[0] == epochs[1]).all() and not (epochs[1] == epochs[2]).all()


def test_without_resampling_the_tail_of_an_epoch_is_dropped_or_filled(prepared):
    (first, *rest) = collect(training_batches(prepared, range(11), 8, 2, 0, ONCE))
    assert len(rest) == 1 and len(set(first["index"])) == 8
    (batch,) = collect(
        training_batches(prepared, [4, 9, 30], 8, 1, 0, ONCE)
    )  # fewer than a batch: over again
    assert sorted(np.bincount(batch["index"])[[4, 9, 30]]) == [2, 3, 3]


def test_epochs_differ(prepared):
    batches = collect(training_batches(prepared, range(40), 40, 3, 0))
    for key in ("index", "uniform", "normal"):
        for a, b in itertools.combinations(batches, 2):
            assert (a[key] != b[key]).mean() > 0.5


@pytest.mark.parametrize("epoch", [0, 1, 30])
def test_class_frequencies_follow_the_weights(prepared, epoch):
    """One iterator runs through all epochs, and the classes' shares change on the way."""
    indices = np.repeat(np.arange(40), 500)  # an epoch of 20,000
    batches = training_batches(prepared, indices, 2000, epoch + 1, 0, start_epoch=epoch)
    drawn = joined(collect(batches), "grade").astype(int)
    weights = class_weights(GRADES, epoch)[GRADES]
    expected = weights / weights.sum()
    shares = [expected[np.array(GRADES) == grade].sum() for grade in range(5)]
    np.testing.assert_allclose(np.bincount(drawn, minlength=5) / len(drawn), shares, atol=0.012)


def test_weights_change_within_one_iterator(prepared):
    indices = np.repeat(np.arange(40), 250)
    config = SamplingConfig(decay=0.0, final_weights=(1, 0, 0, 0, 3))  # balanced, then only grades 0 and 4
    batches = collect(training_batches(prepared, indices, 2000, 3, 0, config))
    shares = [
        np.bincount(joined(batches[i : i + 5], "grade").astype(int), minlength=5) / 10_000 for i in (0, 5, 10)
    ]
    np.testing.assert_allclose(shares[0], [0.2] * 5, atol=0.02)
    for share in shares[1:]:  # 20 * 1 against 2 * 3
        np.testing.assert_allclose(share, [20 / 26, 0, 0, 0, 6 / 26], atol=0.02)


def test_an_absent_class_is_never_drawn(prepared):
    drawn = joined(collect(training_batches(prepared, [0, 1, 2, 39], 4, 50, 0)), "grade")
    assert set(drawn) == {0, 4}
    assert 0.35 < (drawn == 4).mean() < 0.75


def test_draws_are_uniform_and_normal_and_independent(prepared):
    batches = collect(training_batches(prepared, range(40), 40, 100, 0))
    uniform, normal = joined(batches, "uniform"), joined(batches, "normal")
    assert uniform.min() >= 0 and uniform.max() < 1
    np.testing.assert_allclose(uniform.mean(axis=0), 0.5, atol=0.02)
    np.testing.assert_allclose(uniform.var(axis=0), 1 / 12, atol=0.005)
    np.testing.assert_allclose(normal.mean(axis=0), 0, atol=0.06)
    np.testing.assert_allclose(normal.std(axis=0), 1, atol=0.05)
    together = np.column_stack([uniform, normal, joined(batches, "index")])
    correlation = np.corrcoef(together, rowvar=False) - np.eye(10)
    assert np.abs(correlation).max() < 0.06


def test_evaluation_is_one_pass_in_order(prepared):
    batches = collect(evaluation_batches(prepared, [5, 3, 38, 3, 0], 2))
    assert [len(batch["grade"]) for batch in batches] == [2, 2, 1]
    assert joined(batches, "index").tolist() == [5, 3, 38, 3, 0]
    assert joined(batches, "grade").tolist() == [0, 0, 4, 0, 0]
    assert set(batches[0]) == {"image", "grade", "index"}


def test_images_come_uncropped(tmp_path):
    images = noise_images(3, 16)
    prepared = write_prepared(tmp_path / "p", images, [0, 1, 2])
    (batch,) = evaluation_batches(prepared, [2, 0], 2).as_numpy_iterator()
    np.testing.assert_array_equal(batch["image"], images[[2, 0]])
