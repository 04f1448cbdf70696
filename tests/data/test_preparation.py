import hashlib
import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from dr_keras.data import layouts, preparation
from dr_keras.data.decoding import read_image
from dr_keras.data.fundus import crop_square, find_field_of_view
from dr_keras.data.photograph import Photograph
from dr_keras.data.preparation import prepare_dataset
from dr_keras.data.shards import PreparedDataset
from dr_keras.data.synthetic import synthetic_dataset
from dr_keras.errors import InputError


def write_photographs(folder, draw, count, suffix="png", side=64):
    (folder / "0").mkdir(parents=True)
    for number in range(count):
        cv2.imwrite(str(folder / f"0/{number:03d}.{suffix}"), draw(number % 7, side, side + 8)[..., ::-1])
    return layouts.load_dataset(folder)


def read_all(folder):
    prepared = PreparedDataset(folder)
    return prepared.read(np.arange(len(prepared)))


def contents(folder):
    return {path.name: (path.stat().st_mtime_ns, path.read_bytes()) for path in folder.iterdir()}


def test_one_photograph_is_cropped_squared_and_known_by_its_bytes(tmp_path, draw_photograph):
    path = tmp_path / "a.png"
    cv2.imwrite(str(path), draw_photograph(0)[..., ::-1])
    prepared = Photograph(path).prepare(100)
    view = find_field_of_view(draw_photograph(0))
    np.testing.assert_array_equal(prepared.pixels, crop_square(draw_photograph(0), view, 100))
    assert prepared.field_of_view == view
    assert prepared.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.mark.parametrize("image_size", [60, 100, 200, 500])
def test_a_reduced_jpeg_loses_nothing(tmp_path, draw_photograph, image_size):
    path = tmp_path / "a.jpg"
    image = draw_photograph(0, 900, 1200)
    cv2.imwrite(str(path), image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 95])
    full = read_image(path)
    expected = crop_square(full, find_field_of_view(full), image_size)
    pixels = Photograph(path).prepare(image_size).pixels
    assert pixels.shape == (image_size, image_size, 3)
    assert np.abs(pixels.astype(int) - expected).mean() < 4
    assert np.corrcoef(pixels.ravel(), expected.ravel())[0, 1] > 0.98


def test_a_small_eye_in_a_large_photograph_is_decoded_finely_enough(tmp_path, draw_photograph):
    path = tmp_path / "a.jpg"
    image = cv2.copyMakeBorder(draw_photograph(0, 480, 480), 160, 160, 160, 260, cv2.BORDER_CONSTANT)
    cv2.imwrite(str(path), image[..., ::-1])
    # The eye is 450 of 800 pixels: 225 at half scale, 113 at a quarter.
    asked = {200: 2, 240: 1, 100: 4, 128: 2}
    for image_size, factor in asked.items():
        prepared = Photograph(path).prepare(image_size)
        reduced = read_image(path, 800 // factor)
        view = find_field_of_view(reduced)
        np.testing.assert_array_equal(prepared.pixels, crop_square(reduced, view, image_size))
        # Where the eye lies is told in the photograph's own pixels.
        assert (prepared.field_of_view.image_height, prepared.field_of_view.image_width) == (800, 900)
        assert abs(prepared.field_of_view.center_x - 400) < 8 and abs(prepared.field_of_view.radius - 225) < 8


def test_the_field_of_view_of_a_rotated_photograph_is_upright(tmp_path, draw_photograph):
    exif = Image.Exif()
    exif[274] = 6
    Image.fromarray(draw_photograph(0, 480, 640)).save(tmp_path / "a.jpg", exif=exif)
    view = Photograph(tmp_path / "a.jpg").prepare(64).field_of_view
    assert (view.image_height, view.image_width) == (640, 480)
    assert abs(view.center_y - 320) < 8 and abs(view.center_x - 240) < 8


def test_a_synthetic_photograph_needs_no_file():
    record = synthetic_dataset(10).records[3]
    prepared = Photograph(record.path).prepare(64)
    assert prepared.pixels.shape == (64, 64, 3)
    assert prepared.pixels.std() > 10 and prepared.sha256 == ""
    np.testing.assert_array_equal(prepared.pixels, Photograph(record.path).prepare(64).pixels)


def test_shards_manifest_and_order(tmp_path, monkeypatch, draw_photograph):
    monkeypatch.setattr(preparation, "SHARD_ROWS", 4)
    dataset = write_photographs(tmp_path / "photographs", draw_photograph, 10)
    prepare_dataset(dataset, tmp_path / "out", 32)
    names = ["manifest.json", *(f"shard-0000{n}.{suffix}" for n in range(3) for suffix in ("json", "npy"))]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == names
    manifest = json.loads((tmp_path / "out/manifest.json").read_text())
    assert (manifest["image_size"], manifest["num_images"], manifest["num_shards"]) == (32, 10, 3)
    rows = [row for number in range(3) for row in preparation.read_rows(tmp_path / "out", number)]
    assert [row["row"] for row in rows] == [n % 4 for n in range(10)]
    for row, record in zip(rows, dataset.records, strict=True):
        data = Path(record.path).read_bytes()
        assert (row["bytes"], row["sha256"]) == (len(data), hashlib.sha256(data).hexdigest())
    for index, record in enumerate(dataset.records):
        np.testing.assert_array_equal(
            PreparedDataset(tmp_path / "out").read([index])[0], Photograph(record.path).prepare(32).pixels
        )


def test_what_cannot_be_read_is_left_out_with_its_reason(
    tmp_path, monkeypatch, draw_photograph, write_odd_photographs
):
    monkeypatch.setattr(preparation, "SHARD_ROWS", 3)
    odd = write_odd_photographs(tmp_path / "photographs/2")
    dataset = write_photographs(tmp_path / "photographs", draw_photograph, 5)
    (tmp_path / "photographs/0/004.png").unlink()  # gone since the labels were read
    prepare_dataset(dataset, tmp_path / "out", 32)
    prepared = PreparedDataset(tmp_path / "out")
    unreadable = dict(prepared.unreadable)
    expected = {f"2/{name}": reason for name, reason in odd.items() if reason} | {
        "0/004.png": "can't be read (No such file"
    }
    assert unreadable.keys() == expected.keys()
    for name, reason in expected.items():
        assert unreadable[name].removeprefix(": ").startswith(reason.split(",")[0].split(" (")[0]), name
        assert str(tmp_path) not in unreadable[name]
    assert len(prepared) == 4 + sum(not reason for reason in odd.values())
    for index, record in enumerate(prepared.records):
        np.testing.assert_array_equal(prepared.read([index])[0], Photograph(record.path).prepare(32).pixels)


def test_nothing_readable(tmp_path):
    (tmp_path / "photographs/3").mkdir(parents=True)
    (tmp_path / "photographs/3/a.jpg").write_bytes(b"")
    prepare_dataset(layouts.load_dataset(tmp_path / "photographs"), tmp_path / "out", 32)
    with pytest.raises(InputError, match="photographs: none of its 1 photographs can be read"):
        PreparedDataset(tmp_path / "out")


def test_a_shard_of_unreadable_files_is_an_empty_one(tmp_path, monkeypatch, draw_photograph):
    monkeypatch.setattr(preparation, "SHARD_ROWS", 2)
    dataset = write_photographs(tmp_path / "photographs", draw_photograph, 5)
    for number in (2, 3):
        (tmp_path / f"photographs/0/{number:03d}.png").write_bytes(b"")
    prepare_dataset(dataset, tmp_path / "out", 32)
    prepared = PreparedDataset(tmp_path / "out")
    assert [record.image for record in prepared.records] == ["0/000.png", "0/001.png", "0/004.png"]
    again = Photograph(dataset.records[4].path).prepare(32).pixels
    np.testing.assert_array_equal(prepared.read([2])[0], again)


def test_a_second_call_changes_nothing(tmp_path, draw_photograph):
    dataset = write_photographs(tmp_path / "photographs", draw_photograph, 3)
    prepare_dataset(dataset, tmp_path / "out", 32)
    before = contents(tmp_path / "out")
    prepare_dataset(dataset, tmp_path / "out", 32)
    assert contents(tmp_path / "out") == before


@pytest.mark.parametrize("lost", [["manifest.json"], ["shard-00001.json"],
                                  ["manifest.json", "shard-00001.json"],
                                  ["manifest.json", "shard-00001.npy", "shard-00001.json"]])  # fmt: skip
def test_it_goes_on_with_whole_shards_only(tmp_path, monkeypatch, draw_photograph, lost):
    monkeypatch.setattr(preparation, "SHARD_ROWS", 2)
    dataset = write_photographs(tmp_path / "photographs", draw_photograph, 5)
    prepare_dataset(dataset, tmp_path / "out", 32)
    images, before = read_all(tmp_path / "out"), contents(tmp_path / "out")
    for name in lost:
        (tmp_path / "out" / name).unlink()
    (tmp_path / "out/.part-shard-00001-abcd1234.npy").write_bytes(b"half a shard")
    prepare_dataset(dataset, tmp_path / "out", 32)
    np.testing.assert_array_equal(read_all(tmp_path / "out"), images)
    after = contents(tmp_path / "out")
    assert after.keys() == before.keys()
    kept = {name for name in before if after[name] == before[name]}
    assert {"shard-00000.npy", "shard-00000.json", "shard-00002.npy"} <= kept


@pytest.mark.parametrize("whole", [True, False])
def test_a_folder_of_other_settings_is_refused_and_left_alone(tmp_path, draw_photograph, whole):
    dataset = write_photographs(tmp_path / "photographs", draw_photograph, 3)
    out = tmp_path / "out"
    prepare_dataset(dataset, out, 32)
    if not whole:
        (out / "manifest.json").unlink()
    before = contents(out)
    with pytest.raises(InputError, match="prepared with image_size=32, expected 48; name another folder"):
        prepare_dataset(dataset, out, 48)
    (tmp_path / "photographs/0/001.png").write_bytes(b"changed")
    with pytest.raises(InputError, match="prepared from other photographs or labels"):
        prepare_dataset(dataset, out, 32)
    (tmp_path / "photographs/0/002.png").unlink()
    with pytest.raises(InputError, match=r"other photographs or labels \(3 there, 2 now"):
        prepare_dataset(layouts.load_dataset(tmp_path / "photographs"), out, 32)
    assert contents(out) == before


def test_a_photograph_that_changes_while_others_are_read_is_told(tmp_path, monkeypatch, draw_photograph):
    monkeypatch.setattr(preparation, "SHARD_ROWS", 1)
    dataset = write_photographs(tmp_path / "photographs", draw_photograph, 2)

    def progress(items, total):
        read = list(items)
        with open(dataset.records[1].path, "ab") as file:
            file.write(b"changed")
        return iter(read)

    prepare_dataset(dataset, tmp_path / "out", 32, workers=1, progress=progress)
    with pytest.raises(InputError, match="prepared from other photographs or labels .* changed since"):
        prepare_dataset(dataset, tmp_path / "out", 32)


def test_a_damaged_manifest(tmp_path, draw_photograph):
    dataset = write_photographs(tmp_path / "photographs", draw_photograph, 2)
    prepare_dataset(dataset, tmp_path / "out", 32)
    (tmp_path / "out/manifest.json").write_text('{"format": 1, "ima')
    with pytest.raises(InputError, match="manifest.json: not valid JSON"):
        prepare_dataset(dataset, tmp_path / "out", 32)


def test_progress_counts_every_photograph(tmp_path, draw_photograph):
    seen = []

    def progress(items, total):
        for item in items:
            seen.append((item[0].pixels.shape, total))
            yield item

    dataset = write_photographs(tmp_path / "photographs", draw_photograph, 3)
    prepare_dataset(dataset, tmp_path / "out", 32, progress=progress)
    assert seen == [((32, 32, 3), 3)] * 3
