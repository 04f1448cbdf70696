"""Training the check for a retina on a handful of pictures."""

import json

import cv2
import numpy as np
import pytest

from dr_keras.data import retina_check, synthetic
from dr_keras.data.cache import prepare_into_cache
from dr_keras.errors import InputError
from dr_keras.training.retina_check import retina_check_fit, retina_examples


@pytest.fixture(scope="module")
def eyes(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cache")
    return prepare_into_cache(synthetic.synthetic_dataset(10), 256, folder)


def write_pictures(folder, count=8):
    """Pictures of coloured tiles, some grey, some with transparency, and a file that is none."""
    rng = np.random.default_rng(0)
    paths = []
    for number in range(count):
        tiles = rng.integers(0, 256, (9, 12, (1, 3, 4)[number % 3]), dtype=np.uint8)
        paths.append(folder / f"{number}.png")
        cv2.imwrite(str(paths[-1]), np.kron(tiles, np.ones((20, 20, 1), np.uint8)))
    paths.append(folder / "text.png")
    paths[-1].write_text("no picture")
    return paths


def test_it_learns_and_writes_what_grading_reads(eyes, tmp_path, monkeypatch):
    path = tmp_path / "out" / "check.npz"
    monkeypatch.setattr(retina_check_fit, "_OF_EYE", 4)
    found = retina_check_fit.train([eyes], eyes, write_pictures(tmp_path), path, epochs=6, seed=1)
    assert found["examples"] == {"other": 52, "eyes": 50}
    assert json.loads(path.with_name("metrics.json").read_text()) == found
    assert found["log_odds"]["eyes"]["0.5"] > found["log_odds"]["other"]["0.5"]
    monkeypatch.setattr(retina_check, "shipped_path", lambda *names: path)
    retina_check.convolutions.cache_clear()
    try:
        odds = [retina_check.retina_log_odds(eyes.read([number])[0]) for number in range(10)]
        drawn = [
            retina_check.retina_log_odds(retina_examples.drawing(np.random.default_rng(n))) for n in range(10)
        ]
    finally:
        monkeypatch.undo()
        retina_check.convolutions.cache_clear()
    assert np.mean(odds) > np.mean(drawn)


def test_without_pictures_it_says_so(eyes, tmp_path):
    (tmp_path / "text.png").write_text("no picture")
    with pytest.raises(InputError, match="none of the 1 photographs without an eye can be read"):
        retina_check_fit.train([eyes], eyes, [tmp_path / "text.png"], tmp_path / "check.npz")


def test_examples_are_squares_in_a_circle(eyes):
    rng = np.random.default_rng(0)
    picture = rng.integers(0, 256, (120, 300, 3), dtype=np.uint8)
    made = [retina_examples.eye(eyes.read([0])[0], rng), retina_examples.part_of_picture(picture, rng)]
    made += [retina_examples.drawing(rng) for _ in range(24)]  # every kind
    for one in made:
        assert one.shape == (256, 256, 3) and one.dtype == np.uint8
        assert not one[0, 0].any() and one[100:150, 100:150].any()
