import json
import os

import numpy as np
import pytest
from prepared_folders import noise_images, write_prepared

from dr_keras.data.shards import PreparedDataset, color_statistics
from dr_keras.errors import InputError


def edit_rows(folder, change):
    shard = json.loads((folder / "shard-00000.json").read_text())
    change(shard["images"])
    (folder / "shard-00000.json").write_text(json.dumps(shard))


def test_read_by_position_over_shards(tmp_path):
    images = noise_images(10, 8)
    write_prepared(tmp_path / "p", images, list(range(5)) * 2, shard_rows=3)
    prepared = PreparedDataset(tmp_path / "p")
    assert len(prepared) == 10 and prepared.image_size == 8 and prepared.unreadable == []
    order = [9, 0, 3, 3, 2, 8]
    np.testing.assert_array_equal(prepared.read(order), images[order])
    np.testing.assert_array_equal(prepared.read(np.array([5])), images[[5]])
    assert prepared.read([]).shape == (0, 8, 8, 3)
    assert prepared.grades.tolist() == [0, 1, 2, 3, 4] * 2
    assert prepared.records[7].image == "007.png" and prepared.views[7].found


def test_unreadable_and_ungraded_photographs(tmp_path):
    images = noise_images(4, 8)
    write_prepared(tmp_path / "p", images, [0, None, 3, 4])

    def damage(rows):
        rows[0]["error"] = "000.png: truncated"
        del rows[0]["row"], rows[0]["field_of_view"], rows[0]["sha256"]

    edit_rows(tmp_path / "p", damage)
    prepared = PreparedDataset(tmp_path / "p")
    assert prepared.unreadable == [("000.png", "000.png: truncated")]
    assert prepared.grades.tolist() == [-1, 3, 4]
    np.testing.assert_array_equal(prepared.read([0, 2]), images[[1, 3]])


def test_a_folder_that_is_none(tmp_path):
    with pytest.raises(
        InputError, match="expected a folder made by scripts/prepare_data.py, with a manifest.json"
    ):
        PreparedDataset(tmp_path)
    (tmp_path / "manifest.json").write_text("{}")
    with pytest.raises(InputError, match="expected a folder made by scripts/prepare_data.py"):
        PreparedDataset(tmp_path)
    (tmp_path / "manifest.json").write_text('{"format": 1, ')
    with pytest.raises(InputError, match="not valid JSON"):
        PreparedDataset(tmp_path)


def test_nothing_readable(tmp_path):
    write_prepared(tmp_path / "p", noise_images(2, 8), [0, 1])
    edit_rows(tmp_path / "p", lambda rows: [row.update(error="no") for row in rows])
    with pytest.raises(InputError, match="none of its 2 photographs can be read"):
        PreparedDataset(tmp_path / "p")


def test_lost_rows(tmp_path):
    write_prepared(tmp_path / "p", noise_images(2, 8), [0, 1])
    (tmp_path / "p" / "shard-00000.json").unlink()
    with pytest.raises(InputError, match="shard-00000.json: missing; delete the folder and prepare it again"):
        PreparedDataset(tmp_path / "p")


@pytest.mark.parametrize("damage", [lambda data: b"", lambda data: data[:200], lambda data: b"text"])
def test_damaged_shard(tmp_path, damage):
    write_prepared(tmp_path / "p", noise_images(2, 16), [0, 1])
    shard = tmp_path / "p" / "shard-00000.npy"
    shard.write_bytes(damage(shard.read_bytes()))
    with pytest.raises(InputError, match=r"shard-00000.npy: not a whole shard .*delete the folder") as caught:
        PreparedDataset(tmp_path / "p")
    assert "\n" not in str(caught.value)


def test_missing_shard(tmp_path):
    write_prepared(tmp_path / "p", noise_images(6, 8), [0] * 6, shard_rows=4)
    (tmp_path / "p" / "shard-00001.npy").unlink()
    with pytest.raises(InputError, match="shard-00001.npy: not a whole shard"):
        PreparedDataset(tmp_path / "p")


# Colour statistics


def flat_images(colours):
    return np.array(colours, np.uint8)[:, None, None, :] * np.ones((1, 8, 8, 1), np.uint8)


def test_colour_statistics_by_hand(tmp_path):
    # Red is 100 or 140: SD 20. Green moves along with it at half, blue against it at a quarter.
    prepared = write_prepared(tmp_path / "p", flat_images([(100, 50, 30), (140, 70, 20)]), [0, 1])
    mean, sd, components = color_statistics(prepared, [0, 1])
    np.testing.assert_allclose(mean, [120, 60, 25])
    np.testing.assert_allclose(sd, [20, 10, 5])
    # One direction only: in standardised units (1, 1, -1), of length and SD sqrt(3).
    np.testing.assert_allclose(np.abs(components[:, 0]), [20, 10, 5], rtol=1e-6)
    assert components[0, 0] * components[2, 0] < 0 < components[0, 0] * components[1, 0]
    np.testing.assert_allclose(components[:, 1:], 0, atol=1e-3)


def test_components_rebuild_the_covariance_largest_first(tmp_path):
    rng = np.random.default_rng(0)
    colours = np.clip(
        rng.normal(size=(60, 3)) @ [[30, 20, 10], [0, 15, 5], [0, 0, 8]] + [120, 100, 80], 0, 255
    )
    images = flat_images(colours)
    mean, sd, components = color_statistics(write_prepared(tmp_path / "p", images, [0] * 60), np.arange(60))
    pixels = images[:, 0, 0].astype(float)
    np.testing.assert_allclose(mean, pixels.mean(axis=0))
    np.testing.assert_allclose(sd, pixels.std(axis=0))
    np.testing.assert_allclose(components @ components.T, np.cov(pixels.T, bias=True), rtol=1e-6)
    standardised = components / sd[:, None]
    lengths = np.linalg.norm(standardised, axis=0)
    assert (np.diff(lengths) < 0).all()
    np.testing.assert_allclose((lengths**2).sum(), 3)  # the trace of a correlation matrix
    np.testing.assert_allclose(standardised.T @ standardised, np.diag(lengths**2), atol=1e-9)


def test_colour_statistics_are_those_of_the_training_photographs(tmp_path):
    prepared = write_prepared(
        tmp_path / "p", flat_images([(10, 20, 30), (50, 60, 70), (250, 250, 250)]), [0, 1, 2]
    )
    np.testing.assert_allclose(color_statistics(prepared, [0, 1])[0], [30, 40, 50])


def test_a_channel_without_variation_stays_finite(tmp_path):
    mean, sd, components = color_statistics(
        write_prepared(tmp_path / "p", flat_images([(9, 9, 0)] * 3), [0] * 3), [0, 2]
    )
    np.testing.assert_allclose(mean, [9, 9, 0])
    assert (sd > 0).all() and np.isfinite(components).all() and np.abs(components).max() < 0.01


def test_large_sets_are_sampled_evenly(tmp_path):
    colours = np.zeros((2001, 3), int)
    colours[:, 0] = np.arange(2001) % 2 * 100  # every other one bright
    colours[:, 1] = np.arange(2001) * 200 // 2000
    prepared = write_prepared(tmp_path / "p", flat_images(colours), [0] * 2001, shard_rows=2001)
    mean, _, _ = color_statistics(prepared, np.arange(2001))
    np.testing.assert_allclose(mean[1], 100, atol=1)


def test_a_shard_that_is_cut_while_it_is_open_is_told(tmp_path):
    prepared = write_prepared(tmp_path, noise_images(3, 32), [0, 1, 2])
    path = tmp_path / "shard-00000.npy"
    os.truncate(path, path.stat().st_size - 100)
    prepared.read([0, 1])
    with pytest.raises(OSError, match="cut short since it was opened"):
        prepared.read([2])
