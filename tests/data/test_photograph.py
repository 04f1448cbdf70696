"""One way from a photograph to pixels: decoded once at each scale, whatever is made of it."""

import cv2
import numpy as np
import pytest
from prepared_folders import write_prepared

from dr_keras.data import decoding, file_header, fundus, inspection
from dr_keras.data.layouts import photograph_files
from dr_keras.data.photograph import Photograph
from dr_keras.data.preparation import prepare_or_reason
from dr_keras.data.shards import StoredPhotograph
from dr_keras.data.synthetic import draw_fundus
from dr_keras.explain.explainer import Explainer
from dr_keras.inference.grader import Grader
from dr_keras.models.grader_model import build_grader
from dr_keras.models.nets import net5
from dr_keras.models.rules import GradingRules


@pytest.fixture(scope="module")
def eye(tmp_path_factory):
    """A JPEG of 900 x 1100 pixels or so."""
    path = tmp_path_factory.mktemp("eye") / "eye.jpg"
    cv2.imwrite(str(path), draw_fundus(3, 2, 900).image[..., ::-1])
    return path


@pytest.fixture
def decodes(monkeypatch):
    """The reductions at which photographs are decoded while a test runs, in order."""
    found, decode = [], decoding.decode_image

    def counting(data, name, factor=1, header=None):
        found.append(factor)
        return decode(data, name, factor, header)

    monkeypatch.setattr(decoding, "decode_image", counting)
    return found


def test_no_unforeseen_error_ends_a_run(eye, monkeypatch, tmp_path):
    other, find = tmp_path / "other.png", fundus.find_field_of_view
    cv2.imwrite(str(other), draw_fundus(1, 1, 300).image[..., ::-1])

    def failing(image):
        if image.shape[0] == 300:
            raise ZeroDivisionError("float\ndivision")
        return find(image)

    monkeypatch.setattr(fundus, "find_field_of_view", failing)
    monkeypatch.setattr(inspection, "find_field_of_view", failing)
    reason = "can't be prepared (ZeroDivisionError: float division)"
    good, bad, nameless = Grader.of_networks([grader_of(128)]).grade([str(eye), str(other), "a\0b.jpg"])
    assert good.gradable and not bad.readable and bad.reason == reason
    assert not nameless.readable and "null" in nameless.reason
    assert prepare_or_reason(str(other), 128) == (None, reason)
    assert inspection.inspect_file(str(other)).unreadable == reason
    explainer = Explainer([[grader_of(128)]], "gradcam")
    found = [(name, told) for name, _, told in explainer([str(eye), str(other)])]
    assert found == [(str(eye), ""), (str(other), reason)]


def grader_of(image_size, **rules):
    network = net5(image_size, width=0.05)
    return build_grader(network, image_size, (110, 60, 25), (60, 40, 25), GradingRules(**rules))


def test_several_sizes_and_the_frame_share_a_decode(eye, decodes):
    photograph = Photograph(eye)
    prepared = [photograph.prepare(size) for size in (512, 600, 512)]
    frame = photograph.frame(1024)
    photograph.gradability(512)
    assert decodes == [1] and max(frame.shape) == 1024
    assert [each.pixels.shape for each in prepared] == [(512, 512, 3), (600, 600, 3), (512, 512, 3)]
    np.testing.assert_array_equal(prepared[0].pixels, prepared[2].pixels)
    small = Photograph(eye)
    assert small.prepare(128).pixels.shape == (128, 128, 3)
    assert small.prepare(200).pixels.shape == (200, 200, 3)
    assert decodes == [1, 4]


@pytest.mark.parametrize("suffix", [".jpg", ".png"])
def test_a_header_is_read_once(eye, suffix, tmp_path, monkeypatch):
    """Pillow decodes a whole PNG to find the orientation that may lie behind its pixels."""
    path, asked, read = tmp_path / f"eye{suffix}", [], file_header.read_header
    cv2.imwrite(str(path), cv2.imread(str(eye)))
    monkeypatch.setattr(file_header, "read_header", lambda *args: asked.append(1) or read(*args))
    photograph = Photograph(path)
    photograph.prepare(128)
    photograph.gradability(128)
    photograph.frame(512)
    assert len(asked) == 1


def test_a_normalised_models_photograph_is_decoded_once(eye, decodes):
    grader = Grader.of_networks([grader_of(256, normalization=("color", "clahe"))])
    assert grader.grade(eye).readable
    assert len(decodes) == 1


def test_an_explained_photograph_is_decoded_once(eye, decodes):
    """At 512 px the network and the frame take the same scale; two networks of one scale do, too."""
    Grader.of_networks([grader_of(512)]).explain(eye)
    assert decodes == [1]
    explain = Explainer([[grader_of(512)], [grader_of(768)]], max_side=800)
    assert len(list(explain([eye]))) == 1
    assert decodes == [1, 1]


def test_what_is_stored_is_not_prepared_again(tmp_path, eye, monkeypatch):
    images = np.random.default_rng(0).integers(0, 255, (2, 128, 128, 3), dtype=np.uint8)
    stored = write_prepared(tmp_path, images, [0, 1])
    stored.records[1] = stored.records[1].__class__("eye.jpg", str(eye), 1, "p")
    photograph = StoredPhotograph([(stored, 1)])
    monkeypatch.setattr(Photograph, "prepare", lambda *arguments: pytest.fail("prepared again"))
    prepared = photograph.prepare(128)
    np.testing.assert_array_equal(prepared.pixels, images[1])
    assert prepared.field_of_view == stored.views[1] and max(photograph.frame(400).shape) == 400


def test_a_file_in_a_folder_called_synthetic_is_a_file(tmp_path, eye, monkeypatch):
    (tmp_path / "synthetic").mkdir()
    (tmp_path / "synthetic" / "eye.jpg").write_bytes(eye.read_bytes())
    monkeypatch.chdir(tmp_path)
    found = Photograph("synthetic/eye.jpg").prepare(128)
    np.testing.assert_array_equal(found.pixels, Photograph(eye).prepare(128).pixels)
    drawn = Photograph("synthetic/0-000000-grade0")
    np.testing.assert_array_equal(drawn.frame(200), draw_fundus((0, 0), 0, 200).image)


def test_of_a_folder_nothing_that_is_a_picture_is_passed_over(tmp_path):
    for name in ("eye.JPG", "windows.jfif", "phone.HEIC", "notes.txt", ".hidden.jpg", "deep/eye.jp2"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"no picture")
    found = photograph_files.list_photographs([tmp_path])
    assert found == [
        f"{tmp_path}/{name}" for name in ("deep/eye.jp2", "eye.JPG", "phone.HEIC", "windows.jfif")
    ]
    # A dataset has its labels for it: what no label names isn't asked for.
    index = photograph_files.PhotographIndex(tmp_path)
    assert [path.name for path in index.paths] == ["eye.JPG", "windows.jfif"]
