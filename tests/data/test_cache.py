import os
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
from prepared_folders import noise_images, write_prepared

from dr_keras.data.cache import check_data, default_cache_dir, find_dataset, is_prepared, open_prepared
from dr_keras.errors import InputError


@pytest.fixture
def photographs(tmp_path, draw_photograph):
    """A folder of four photographs with labels 0, 1, 2, 4."""
    folder = tmp_path / "data"
    folder.mkdir()
    for index in range(4):
        cv2.imwrite(str(folder / f"{index}.png"), draw_photograph(index, 96, 128)[..., ::-1])
    (folder / "labels.csv").write_text("image,level\n0.png,0\n1.png,1\n2.png,2\n3.png,4\n")
    return folder


def stamps(folder):
    return {path: path.stat().st_mtime_ns for path in sorted(Path(folder).rglob("*")) if path.is_file()}


def test_cache_folder_follows_the_environment(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert default_cache_dir() == tmp_path / "dr_keras"
    monkeypatch.setenv("XDG_CACHE_HOME", "")
    monkeypatch.setenv("HOME", "/somewhere")
    assert default_cache_dir() == Path("/somewhere/.cache/dr_keras")


def test_synthetic_is_the_default_without_a_folder():
    for data_dir, layout in ((None, "auto"), ("", "auto"), (None, "synthetic")):
        dataset = find_dataset(data_dir, layout, 15)
        assert dataset.name == "synthetic" and len(dataset.records) == 15


def test_contradicting_flags():
    with pytest.raises(InputError, match="--data_dir=x: --dataset=synthetic draws its photographs"):
        find_dataset("x", "synthetic")
    with pytest.raises(InputError, match="--dataset=idrid: expected --data_dir too"):
        find_dataset(None, "idrid")


def test_missing_folder(tmp_path):
    for call in (find_dataset, check_data):
        with pytest.raises(InputError, match=str(tmp_path / "none")):
            call(str(tmp_path / "none"))
    with pytest.raises(InputError, match=str(tmp_path / "none")):
        open_prepared(str(tmp_path / "none"), "auto", 32, cache_dir=tmp_path / "cache")
    assert not (tmp_path / "cache").exists()


def test_prepared_once(photographs, tmp_path):
    cache = tmp_path / "cache"
    first = open_prepared(str(photographs), "auto", 48, cache_dir=cache)
    assert (
        first.grades.tolist() == [0, 1, 2, 4] and first.image_size == 48 and len(list(cache.iterdir())) == 1
    )
    before, said = stamps(cache), []
    second = open_prepared(str(photographs), "auto", 48, cache_dir=cache, say=said.append)
    assert said == []
    assert stamps(cache) == before and second.folder == first.folder
    np.testing.assert_array_equal(second.read(range(4)), first.read(range(4)))


def test_another_size_or_label_is_another_folder(photographs, tmp_path):
    cache = tmp_path / "cache"
    folders = {open_prepared(str(photographs), "auto", size, cache_dir=cache).folder for size in (32, 48)}
    labels = photographs / "labels.csv"
    labels.write_text(labels.read_text().replace("3.png,4", "3.png,3"))
    changed = open_prepared(str(photographs), "auto", 48, cache_dir=cache)
    assert changed.grades.tolist() == [0, 1, 2, 3]
    assert len(folders | {changed.folder}) == 3


def test_a_replaced_photograph_is_prepared_again(photographs, tmp_path, draw_photograph):
    first = open_prepared(str(photographs), "auto", 32, cache_dir=tmp_path / "cache")
    cv2.imwrite(str(photographs / "2.png"), draw_photograph(99, 200, 210)[..., ::-1])
    second = open_prepared(str(photographs), "auto", 32, cache_dir=tmp_path / "cache")
    assert second.folder != first.folder
    assert not np.array_equal(second.read([2]), first.read([2]))
    np.testing.assert_array_equal(second.read([0, 1, 3]), first.read([0, 1, 3]))


def test_a_photograph_replaced_by_one_of_as_many_bytes_is_prepared_again(photographs, tmp_path):
    (photographs / "2.png").unlink()
    images = []
    for seed in (0, 1):
        pixels = np.random.default_rng(seed).integers(0, 255, (64, 64, 3), dtype=np.uint8)
        cv2.imwrite(str(photographs / "2.bmp"), pixels)
        os.utime(photographs / "2.bmp", ns=(seed, seed))  # as coarse clocks may have them
        (photographs / "labels.csv").write_text("image,level\n2.bmp,2\n")
        prepared = open_prepared(str(photographs), "auto", 32, cache_dir=tmp_path / "cache")
        again = open_prepared(str(photographs), "auto", 32, cache_dir=tmp_path / "cache")
        assert prepared.folder == again.folder
        images.append(prepared.read([0]))
    assert not np.array_equal(images[0], images[1])


def test_folders_of_one_relative_name_are_told_apart(photographs, tmp_path, monkeypatch):
    made = []
    for name in ("first", "second"):
        shutil.copytree(photographs, tmp_path / name / "data")  # copies keep the times, too
        monkeypatch.chdir(tmp_path / name)
        made.append(open_prepared("data", "auto", 32, cache_dir=tmp_path / "cache").folder)
    assert made[0] != made[1]


def test_unreadable_photographs_are_left_out_by_name(photographs, tmp_path):
    (photographs / "1.png").write_bytes(b"not an image")
    prepared = open_prepared(str(photographs), "auto", 32, cache_dir=tmp_path / "cache")
    assert [record.image for record in prepared.records] == ["0.png", "2.png", "3.png"]
    assert prepared.grades.tolist() == [0, 2, 4]
    ((image, reason),) = prepared.unreadable
    assert image == "1.png" and "not an image" in reason


def test_a_prepared_folder_is_opened_where_it_lies(tmp_path):
    folder = tmp_path / "prepared"
    write_prepared(folder, noise_images(3, 16), [0, 1, 2])
    assert is_prepared(folder) and not is_prepared(tmp_path) and not is_prepared(None) and not is_prepared("")
    assert open_prepared(str(folder), "auto", 16, cache_dir=tmp_path / "cache").folder == folder
    assert not (tmp_path / "cache").exists()
    check_data(str(folder), image_sizes=[16])
    for call in (
        lambda: open_prepared(str(folder), "auto", 32, cache_dir=tmp_path / "cache"),
        lambda: check_data(str(folder), image_sizes=[16, 32]),
    ):
        with pytest.raises(InputError, match=f"--data_dir={folder}: prepared at 16 px, expected 32"):
            call()


def test_progress_counts_photographs(photographs, tmp_path):
    seen = []

    def progress(items, total):
        seen.append(total)
        return items

    open_prepared(str(photographs), "auto", 32, cache_dir=tmp_path / "cache", progress=progress)
    assert seen == [4]


def test_where_new_images_are_kept_is_said_once(photographs, tmp_path):
    said = []
    for _ in range(2):
        prepared = open_prepared(str(photographs), "auto", 32, cache_dir=tmp_path / "cache", say=said.append)
    assert said == [f"prepared images: 0 MB in {prepared.folder}; the folder may be deleted at any time"]
