import json

import cv2
import numpy as np
import pytest

from dr_keras.data.audit import audit_dataset, duplicate_groups, format_audit
from dr_keras.data.fundus import find_field_of_view
from dr_keras.data.inspection import inspect_file, inspect_files, reason_without_retina
from dr_keras.data.layouts import load_dataset
from dr_keras.data.records import FundusDataset, Record


@pytest.fixture
def dataset(tmp_path, draw_photograph):
    """Nine photographs with one of every defect."""
    images = {f"{seed}.png": draw_photograph(seed) for seed in range(5)}
    images["copy.png"] = cv2.resize(draw_photograph(1), (640, 480), interpolation=cv2.INTER_CUBIC)
    turn = cv2.getRotationMatrix2D((160, 120), 2, 1)
    images["turned.png"] = cv2.warpAffine(draw_photograph(2), turn, (320, 240))
    images["black.png"] = np.zeros((60, 80, 3), np.uint8)
    for name, image in images.items():
        cv2.imwrite(str(tmp_path / name), image[:, :, ::-1])
    cv2.imwrite(str(tmp_path / "cut.jpg"), draw_photograph(9)[:, :, ::-1])
    (tmp_path / "cut.jpg").write_bytes((tmp_path / "cut.jpg").read_bytes()[:-500])
    (tmp_path / "labels.csv").write_text(
        "image,level,patient,split\n"
        "0.png,0,a,train\n1.png,1,b,train\n2.png,2,c,train\n3.png,3,d,train\n4.png,4,a,test\n"
        "copy.png,2,f,test\nturned.png,2,g,train\nblack.png,0,h,train\ncut.jpg,0,i,train\n"
    )
    return load_dataset(tmp_path)


def test_every_defect_is_reported(dataset):
    calls = []

    def progress(results, total):
        calls.append(total)
        return results

    report = audit_dataset(dataset, workers=1, progress=progress)
    assert calls == [9]
    assert json.loads(json.dumps(report)) == report
    assert (report["photographs"], report["patients"]) == (9, 8)
    assert report["grades"] == {"train": [3, 1, 2, 1, 0, 0], "test": [0, 0, 1, 0, 1, 0]}
    assert report["unreadable"] == [{"image": "cut.jpg", "reason": "the JPEG file is truncated"}]
    assert report["no_retina"] == [
        {"image": "black.png", "reason": "no visible retina: the photograph is black"}
    ]
    assert report["field_of_view_not_found"] == ["black.png"]
    (copy,) = report["copies"]
    assert (copy["images"], copy["grades"], copy["splits"]) == (
        ["1.png", "copy.png"],
        [1, 2],
        ["train", "test"],
    )
    (turned,) = report["near_duplicates"]
    assert (turned["images"], turned["grades"]) == (["2.png", "turned.png"], [2, 2])
    assert report["conflicting_labels"] == [copy]
    assert report["across_splits"]["duplicates"] == [copy]
    assert report["across_splits"]["patients"] == [
        {"patient": "a", "images": ["0.png", "4.png"], "splits": ["test", "train"]}
    ]
    assert duplicate_groups(report, dataset.records) == [(1, 5), (2, 6)]
    assert duplicate_groups(report, dataset.records[:6]) == [(1, 5)]


def test_table_names_the_findings(dataset):
    text = format_audit(audit_dataset(dataset, workers=1))
    assert "csv: 9 photographs of 8 patients" in text
    lines = [" ".join(line.split()) for line in text.splitlines()]
    assert "train 3 1 2 1 0 7" in lines and "all 3 1 3 1 1 9" in lines
    assert "cut.jpg: the JPEG file is truncated" in lines
    assert any(line.startswith("1.png (grade 1, train) = copy.png (grade 2, test) [") for line in lines)
    assert "a: test, train" in lines


def test_common_folder_is_named_once(tmp_path):
    records = tuple(
        Record(f"x/y/{name}.jpg", str(tmp_path / f"{name}.jpg"), None, name) for name in ("a", "b")
    )
    text = format_audit(audit_dataset(FundusDataset("csv", str(tmp_path), records)))
    assert "Names below are those in x/y/" in text
    assert "  a.jpg: can't be read (No such file or directory)" in text


def test_processes_give_what_one_gives(tmp_path, draw_photograph):
    paths = [tmp_path / f"{seed}.png" for seed in range(65)]
    for seed, path in enumerate(paths):
        cv2.imwrite(str(path), draw_photograph(seed, 120, 150)[:, :, ::-1])
    alone, together = inspect_files(paths, workers=1), inspect_files(paths, workers=2)
    for first, second in zip(alone, together, strict=True):
        np.testing.assert_array_equal(first.fingerprint, second.fingerprint)


def test_synthetic_labels_are_counted_only():
    records = (Record("synthetic/0", "synthetic/0", 3, "p"),)
    report = audit_dataset(FundusDataset("synthetic", "", records))
    assert report["grades"] == {"": [0, 0, 0, 1, 0, 0]} and report["unreadable"] == []


def page(_):
    image = np.full((200, 150, 3), 245, np.uint8)
    for y in range(15, 200, 15):
        cv2.putText(image, "lorem ipsum dolor", (5, y), cv2.FONT_HERSHEY_SIMPLEX, 0.4, (0, 0, 0))
    return image


def landscape(rng):
    image = np.zeros((160, 240, 3), np.uint8)
    image[:80], image[80:] = (120, 170, 230), (60, 130, 50)
    return cv2.add(image, rng.integers(0, 40, image.shape, dtype=np.uint8))


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda rng: np.zeros((90, 120, 3), np.uint8), "the photograph is black"),
        (lambda rng: np.full((90, 120, 3), (200, 100, 40), np.uint8), "no detail"),
        (lambda rng: rng.integers(0, 256, (90, 120, 3), dtype=np.uint8), "not a fundus photograph"),
        (page, "not a fundus photograph"),
        (landscape, "nothing in the photograph is red"),
    ],
    ids=["black", "uniform", "noise", "page", "landscape"],
)
def test_pictures_of_other_things(make, reason):
    image = make(np.random.default_rng(0))
    assert reason in reason_without_retina(image, find_field_of_view(image))


def test_green_haze_and_a_good_photograph(draw_photograph):
    good = draw_photograph(0)
    assert reason_without_retina(good, find_field_of_view(good)) == ""
    haze = good[:, :, [2, 0, 1]]
    assert "nothing in the photograph is red" in reason_without_retina(haze, find_field_of_view(haze))


def test_real_photographs_raise_no_false_alarm(shared_dir):
    eyepacs = {
        name: shared_dir / f"eyepacs/train/{name}.jpeg" for name in ("766_left", "734_right", "1051_left")
    }
    reasons = {name: inspect_file(path).no_retina for name, path in eyepacs.items()}
    assert reasons == {
        "766_left": "no visible retina: the photograph is black",
        "734_right": "no visible retina: nothing in the photograph is red",
        "1051_left": "",
    }
    idrid = load_dataset(shared_dir / "idrid").records[:20]
    assert [inspect_file(record.path).no_retina for record in idrid] == [""] * 20


def test_only_the_folder_that_all_names_begin_with_is_left_out():
    def report(names):
        records = tuple(Record(name, name, 1, name) for name in names)
        return format_audit(audit_dataset(FundusDataset("folders", "root", records)))

    in_classes = report(["1/IDRiD_079.jpg", "2/IDRiD_080.jpg"])
    assert "  1/IDRiD_079.jpg: can't be read" in in_classes and "Names below" not in in_classes
    in_one = report(["a/b/1/b/079.jpg", "a/b/2/080.jpg"])
    assert "  1/b/079.jpg: can't be read" in in_one and "Names below are those in a/b/" in in_one
