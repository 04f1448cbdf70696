"""The steps of P1 3.1: what each does to the pixels, and that it belongs to what was prepared with it."""

import cv2
import numpy as np
import pytest

from dr_keras.data.cache import open_prepared
from dr_keras.data.normalization import check_steps, normalize
from dr_keras.data.photograph import Photograph
from dr_keras.errors import InputError


@pytest.fixture(scope="module")
def retina(draw_photograph):
    """A prepared square and where its retina is."""
    image = draw_photograph(3, 96, 96)
    return image, image.max(axis=2) > 0


def test_no_steps_change_nothing(retina):
    np.testing.assert_array_equal(normalize(retina[0], ()), retina[0])
    black = np.zeros((8, 8, 3), np.uint8)
    np.testing.assert_array_equal(normalize(black, ("color", "local_mean", "clahe")), black)


def test_centre_square_is_as_high_as_the_photograph(tmp_path, draw_photograph):
    photograph = draw_photograph(0, 64, 100)
    cv2.imwrite(str(tmp_path / "a.png"), photograph[..., ::-1])
    prepared = Photograph(tmp_path / "a.png").prepare(64, ("centre_square",))
    np.testing.assert_array_equal(prepared.pixels, photograph[:, 18:82])
    assert not prepared.field_of_view.found
    assert prepared.field_of_view.square == (0, 18, 64)


def test_color_gives_every_camera_the_same_mean_and_spread(retina):
    image, inside = retina
    dim = (image // 2).astype(np.uint8)
    for each in (image, dim):
        found = normalize(each, ("color",))
        assert not found[~inside].any()
        np.testing.assert_allclose(found[inside].mean(axis=0), (160, 80, 30), atol=1.5)
        np.testing.assert_allclose(found[inside].std(axis=0), (27, 20, 10), atol=3)  # cut off at 0 and 255


def test_local_mean_is_removed_up_to_the_edge():
    disc = np.zeros((90, 90, 3), np.uint8)
    cv2.circle(disc, (45, 45), 40, (180, 90, 40), -1)
    inside = disc[..., 0] > 0
    found = normalize(disc, ("local_mean",))
    assert (found[inside] == 128).all() and not found[~inside].any()
    disc[45, 45] += 10  # a bright spot stands out four times as much, less its share in the mean around it
    np.testing.assert_allclose(normalize(disc, ("local_mean",))[45, 45], 128 + 40, atol=2)


def test_clahe_raises_faint_contrast_and_keeps_the_surround(retina):
    image, inside = retina
    faint = np.where(inside[..., None], 120 + image // 8, 0).astype(np.uint8)  # vessels all but gone
    found = normalize(faint, ("clahe",))
    assert not found[~inside].any()
    assert found[inside].astype(float).std(axis=0).min() > 1.3 * faint[inside].astype(float).std(axis=0).min()


def test_steps_are_done_in_their_order():
    assert check_steps(["clahe", "centre_square"]) == ("centre_square", "clahe")
    with pytest.raises(InputError, match="--normalization=glow: expected some of centre_square, color"):
        check_steps(["glow"])


def test_each_normalisation_has_its_own_cache(tmp_path, draw_photograph):
    (tmp_path / "data").mkdir()
    cv2.imwrite(str(tmp_path / "data" / "a.png"), draw_photograph(0, 96, 128)[..., ::-1])
    (tmp_path / "data" / "labels.csv").write_text("image,level\na.png,0\n")

    def opened(folder, steps):
        return open_prepared(str(folder), "auto", 32, cache_dir=tmp_path / "cache", steps=steps)

    plain, normal = opened(tmp_path / "data", ()), opened(tmp_path / "data", ("color",))
    assert plain.folder != normal.folder and normal.normalization == ("color",) and plain.normalization == ()
    np.testing.assert_array_equal(normal.read([0])[0], normalize(plain.read([0])[0], ("color",)))
    assert opened(normal.folder, ("color",)).folder == normal.folder
    with pytest.raises(InputError, match="prepared with normalization=color, expected none"):
        opened(normal.folder, ())
