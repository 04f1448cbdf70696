import pytest

from dr_keras.data.layouts import load_dataset
from dr_keras.data.layouts.own import grade_of_folder
from dr_keras.errors import InputError


def touch(root, *names):
    """Layouts never open photographs, so empty files will do."""
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()


def write(root, name, text):
    (root / name).parent.mkdir(parents=True, exist_ok=True)
    (root / name).write_bytes(text.encode())


def summary(dataset):
    return [(r.image, r.grade, r.patient, r.eye, r.split) for r in dataset.records]


def error_of(root, layout="auto"):
    with pytest.raises(InputError) as caught:
        load_dataset(root, layout)
    message = str(caught.value)
    assert "\n" not in message
    return message


IDRID = "B. Disease Grading/1. Original Images"
TRUTHS = "B. Disease Grading/2. Groundtruths"


def test_idrid_keeps_equal_names_of_both_sets_apart(tmp_path):
    header = "Image name,Retinopathy grade,Risk of macular edema ,,,\r\n"
    write(
        tmp_path,
        f"{TRUTHS}/a. IDRiD_Disease Grading_Training Labels.csv",
        header + "IDRiD_001,3,2,,,\r\nIDRiD_002,0,0,,,\r\n,,,,, \r\n",
    )
    write(tmp_path, f"{TRUTHS}/b. IDRiD_Disease Grading_Testing Labels.csv", header + "IDRiD_001,4,0,,,\r\n")
    train, test = f"{IDRID}/a. Training Set", f"{IDRID}/b. Testing Set"
    touch(tmp_path, f"{train}/IDRiD_001.jpg", f"{train}/IDRiD_002.jpg", f"{test}/IDRiD_001.jpg")
    dataset = load_dataset(tmp_path)
    assert dataset.name == "idrid"
    names = [f"{train}/IDRiD_001.jpg", f"{train}/IDRiD_002.jpg", f"{test}/IDRiD_001.jpg"]
    assert [(r.image, r.grade, r.patient, r.split) for r in dataset.records] == [
        (names[0], 3, names[0], "train"),
        (names[1], 0, names[1], "train"),
        (names[2], 4, names[2], "test"),
    ]
    assert dataset.records[0].path == str(tmp_path / names[0])
    inner = load_dataset(tmp_path / "B. Disease Grading")
    assert inner.records[2].image == "1. Original Images/b. Testing Set/IDRiD_001.jpg"


def test_eyepacs_with_test_labels(tmp_path):
    write(tmp_path, "trainLabels.csv", "image,level\n10_left,0\n10_right,4\n")
    write(
        tmp_path,
        "retinopathy_solution.csv",
        "image,level,Usage\n1_left,0,Private\n1_right,2,Public\n2_left,1,Private\n",
    )
    touch(tmp_path, "train/10_left.jpeg", "train/10_right.JPG", "test/1_left.jpeg", "test/1_right.png")
    dataset = load_dataset(tmp_path)
    assert dataset.name == "eyepacs"
    assert summary(dataset) == [
        ("train/10_left.jpeg", 0, "10", "left", "train"),
        ("train/10_right.JPG", 4, "10", "right", "train"),
        ("test/1_left.jpeg", 0, "1", "left", "test"),
        ("test/1_right.png", 2, "1", "right", "test"),
    ]
    assert dataset.notes == (
        "1 photographs listed in retinopathy_solution.csv aren't on disk and are left out: 2_left",
        "retinopathy_solution.csv: Usage 1 Public, 2 Private; both are the test split",
    )


def test_eyepacs_flat(tmp_path):
    write(tmp_path, "trainLabels.csv", "image,level\n10_left,1\n")
    touch(tmp_path, "10_left.jpeg")
    assert summary(load_dataset(tmp_path)) == [("10_left.jpeg", 1, "10", "left", "train")]


def test_aptos(tmp_path):
    write(tmp_path, "train.csv", "id_code,diagnosis\n0024cd,2\n00a8.5,0\n")
    touch(tmp_path, "train_images/0024cd.png", "train_images/00a8.5.png", "test_images/ffff.png")
    dataset = load_dataset(tmp_path)
    assert dataset.name == "aptos"
    assert [(r.image, r.grade, r.split) for r in dataset.records] == [
        ("train_images/0024cd.png", 2, "train"),
        ("train_images/00a8.5.png", 0, "train"),
    ]


def test_aptos_divided_again(tmp_path):
    for table, folder, name in (("train_1", "train", "a"), ("valid", "val", "b"), ("test", "test", "c")):
        write(tmp_path, f"{table}.csv", f"id_code,diagnosis\n{name},2\n")
        touch(tmp_path, f"{folder}_images/{folder}_images/{name}.png")
    dataset = load_dataset(tmp_path)
    assert dataset.name == "aptos"
    assert [(r.image, r.split) for r in dataset.records] == [
        ("train_images/train_images/a.png", "train"),
        ("val_images/val_images/b.png", "validation"),
        ("test_images/test_images/c.png", "test"),
    ]


def test_deepdrid_has_a_grade_for_each_eye(tmp_path):
    header = "patient_id,image_id,image_path,Overall quality,left_eye_DR_Level,right_eye_DR_Level,"
    header += "patient_DR_Level\n"
    folder = "regular_fundus_images/regular-fundus-{0}"
    path = "\\\\regular-fundus-training\\\\1\\\\1_l1.jpg"
    rows = [f"1,1_l1,{path},0,3,,4", "1,1_r1,,1,,4,4", "2,2_l1,,1,5,,5"]
    write(tmp_path, f"{folder}/regular-fundus-{{0}}.csv".format("training"), header + "\n".join(rows) + "\n")
    touch(tmp_path, *(f"{folder}/Images/{n[0]}/{n}.jpg".format("training") for n in ("1_l1", "1_r1", "2_l1")))
    dataset = load_dataset(tmp_path)
    assert dataset.name == "deepdrid"
    images = f"{folder}/Images/1".format("training")
    assert summary(dataset) == [
        (f"{images}/1_l1.jpg", 3, "1", "left", "train"),
        (f"{images}/1_r1.jpg", 4, "1", "right", "train"),
    ]
    assert dataset.notes == ("regular-fundus-training.csv: 1 photographs with label 5 (ungradable) dropped",)


def test_other_names_of_columns_and_eyes(tmp_path):
    write(
        tmp_path,
        "anything.csv",
        "Filename,Diagnosis,Patient_ID\nPatient001_L.jpg,1,\n12_OD.png,2,\n7-os.jpg,0,x\n",
    )
    touch(tmp_path, "Patient001_L.jpg", "12_OD.png", "7-os.jpg")
    assert summary(load_dataset(tmp_path)) == [
        ("Patient001_L.jpg", 1, "Patient001", "left", ""),
        ("12_OD.png", 2, "12", "right", ""),
        ("7-os.jpg", 0, "x", "left", ""),
    ]


def test_columns_of_any_name(tmp_path):
    write(tmp_path, "clinic.csv", "Image,Photo,ICDR both,MRN\nold,a_left.jpg,3,77\nold,b.jpg,1,78\n")
    touch(tmp_path, "a_left.jpg", "b.jpg")
    found = load_dataset(tmp_path, headings={"image": "photo", "level": "ICDR both", "patient": "MRN"})
    assert summary(found) == [("a_left.jpg", 3, "77", "left", ""), ("b.jpg", 1, "78", "", "")]
    with pytest.raises(InputError, match="no column 'Grade', which --columns names for level .columns found"):
        load_dataset(tmp_path, headings={"level": "Grade"})
    with pytest.raises(InputError, match="--columns names those of a CSV file; this is the layout folders"):
        touch(tmp_path / "classes", "0/a.jpg")
        load_dataset(tmp_path / "classes", headings={"level": "Grade"})


def test_messidor2_drops_ungradable_and_reads_pairs(tmp_path):
    header = "image_id,adjudicated_dr_grade,adjudicated_dme,adjudicated_gradable\n"
    write(tmp_path, "messidor_data.csv", header + "a_PP.png,0.0,0,1\nb_PP.png,,,0\nIM2.jpg,3,1,1\n")
    touch(tmp_path, "IMAGES/a_PP.png", "IMAGES/b_PP.png", "IMAGES/IM2.JPG")
    dataset = load_dataset(tmp_path)
    assert dataset.name == "messidor2"
    assert summary(dataset) == [
        ("IMAGES/a_PP.png", 0, "IMAGES/a_PP.png", "", ""),
        ("IMAGES/IM2.JPG", 3, "IMAGES/IM2.JPG", "", ""),
    ]
    assert any("1 photographs" in note and "ungradable" in note for note in dataset.notes)
    write(tmp_path, "messidor-2.csv", "left;right\na_PP.png;IM2.png\n")
    paired = load_dataset(tmp_path)
    assert [(r.patient, r.eye) for r in paired.records] == [("a_PP.png", "left"), ("a_PP.png", "right")]


def test_ddr_drops_label_5(tmp_path):
    write(tmp_path, "DR_grading/train.txt", "a b.jpg 1\nc.jpg 5\n\n")
    write(tmp_path, "DR_grading/valid.txt", "d.jpg 0\n")
    write(tmp_path, "DR_grading/test.txt", "e.jpg 4\n")
    touch(tmp_path, *(f"DR_grading/{name}.jpg" for name in ("train/a b", "train/c", "valid/d", "test/e")))
    dataset = load_dataset(tmp_path)
    assert dataset.name == "ddr"
    assert [(r.image, r.grade, r.split) for r in dataset.records] == [
        ("DR_grading/train/a b.jpg", 1, "train"),
        ("DR_grading/valid/d.jpg", 0, "validation"),
        ("DR_grading/test/e.jpg", 4, "test"),
    ]
    assert dataset.notes == ("train.txt: 1 photographs with label 5 (ungradable) dropped",)


@pytest.mark.parametrize("name", ["labels.csv", "anything.csv"])
def test_csv_in_folder(tmp_path, name):
    header = "\ufeff Level ,image ,patient,split,,\r\n"
    text = header + "2,x/a.jpg,p1,valid,,\r\n\r\n ,, ,,,\r\n0.0, b ,p2,TRAIN,,\r\n"
    write(tmp_path, name, text)
    touch(tmp_path, "x/a.jpg", "x/b.WEBP")
    dataset = load_dataset(tmp_path)
    assert dataset.name == "csv"
    assert summary(dataset) == [("x/a.jpg", 2, "p1", "", "validation"), ("x/b.WEBP", 0, "p2", "", "train")]


def test_csv_file_as_data_dir(tmp_path):
    write(tmp_path, "one.csv", "image;level\n7_left.jpeg;1\n7_right.jpeg;2\n")
    write(tmp_path, "two.csv", "image,level\n")
    touch(tmp_path, "7_left.jpeg", "7_right.jpeg")
    dataset = load_dataset(tmp_path / "one.csv")
    assert summary(dataset) == [
        ("7_left.jpeg", 1, "7", "left", ""),
        ("7_right.jpeg", 2, "7", "right", ""),
    ]
    assert dataset.root == str(tmp_path)
    assert dataset.notes == ()


def test_csv_photographs_elsewhere(tmp_path):
    touch(tmp_path, "photos/a.jpg", "photos/b.jpg")
    write(tmp_path, "labels/labels.csv", f"image,level\n{tmp_path}/photos/a.jpg,1\n../photos/b.jpg,2\n")
    records = load_dataset(tmp_path / "labels").records
    assert [r.path for r in records] == [str(tmp_path / "photos/a.jpg"), str(tmp_path / "photos/b.jpg")]


def test_roundabout_path_gives_the_same_names(tmp_path):
    touch(tmp_path, "x/a.jpg", "y/empty.txt")
    write(tmp_path, "x/labels.csv", "image,level\na.jpg,1\na,1\n")
    assert [r.image for r in load_dataset(f"{tmp_path}/y/../x/").records] == ["a.jpg"]


def test_folders_with_splits_and_names(tmp_path):
    touch(
        tmp_path, "train/No_DR/a.jpg", "train/2/3_left.png", "val/Proliferate_DR/b.tif", "test/Severe/c.bmp"
    )
    touch(tmp_path, "train/notes/d.jpg", "train/2/._3_left.png", "train/2/readme.txt")
    dataset = load_dataset(tmp_path)
    assert dataset.name == "folders"
    assert summary(dataset) == [
        ("test/Severe/c.bmp", 3, "test/Severe/c.bmp", "", "test"),
        ("train/2/3_left.png", 2, "3", "left", "train"),
        ("train/No_DR/a.jpg", 0, "train/No_DR/a.jpg", "", "train"),
        ("val/Proliferate_DR/b.tif", 4, "val/Proliferate_DR/b.tif", "", "validation"),
    ]
    assert dataset.notes == ("folders that name no grade are left out: train/notes",)


def test_folders_without_splits(tmp_path):
    touch(tmp_path, "0/a.jpg", "1/b.jpg", "4/c.jpg")
    assert [(r.grade, r.split) for r in load_dataset(tmp_path).records] == [(0, ""), (1, ""), (4, "")]


@pytest.mark.parametrize(
    ("name", "grade"),
    [
        ("0", 0),
        ("No_DR", 0),
        ("NoDR", 0),
        ("Mild", 1),
        ("mild NPDR", 1),
        ("2 - Moderate", 2),
        ("grade_3", 3),
        ("Severe", 3),
        ("Proliferate_DR", 4),
        ("Proliferative DR", 4),
        ("PDR", 4),
        ("5", None),
        ("2019", None),
        ("cats", None),
    ],
)
def test_grade_of_folder(name, grade):
    assert grade_of_folder(name) == grade


def test_unknown_layout_lists_what_was_looked_for(tmp_path):
    touch(tmp_path, "pictures/a.jpg")
    message = error_of(tmp_path)
    assert str(tmp_path) in message
    for sought in (
        "trainLabels.csv",
        "train_images/",
        "messidor_data.csv",
        "DR_grading",
        "labels.csv",
        "0-4",
    ):
        assert sought in message


def test_named_layout_that_is_not_there(tmp_path):
    touch(tmp_path, "0/a.jpg")
    assert error_of(tmp_path, "eyepacs") == f"{tmp_path}: no eyepacs dataset here; looked for trainLabels.csv"


def test_missing_folder_and_unknown_name(tmp_path):
    assert "no such folder" in error_of(tmp_path / "nowhere")
    with pytest.raises(ValueError, match="`layout` must be one of auto, idrid.*Received: layout=imagenet"):
        load_dataset(tmp_path, "imagenet")


@pytest.mark.parametrize("label", ["5", "-1", "2.5", "nan", "two", ""])
def test_label_out_of_range_names_file_row_and_value(tmp_path, label):
    write(tmp_path, "labels.csv", f"image,level\na.jpg,0\n\nb.jpg,{label}\n")
    touch(tmp_path, "a.jpg", "b.jpg")
    assert error_of(tmp_path) == (
        f"{tmp_path / 'labels.csv'}, row 4: label {label!r} isn't a whole number from 0 to 4"
    )


def test_missing_column_names_those_found(tmp_path):
    write(tmp_path, "labels.csv", "image,stage,,\na.jpg,0,,\n")
    assert error_of(tmp_path) == f"{tmp_path / 'labels.csv'}: no column 'level' (columns found: image, stage)"


def test_repeated_rows_merge_if_equal_and_fail_if_not(tmp_path):
    touch(tmp_path, "a.jpg", "b.jpg")
    write(tmp_path, "labels.csv", "image,level\na.jpg,1\nb.jpg,0\na,1\n")
    dataset = load_dataset(tmp_path)
    assert [r.image for r in dataset.records] == ["a.jpg", "b.jpg"]
    assert "labels.csv: 1 repeated rows with equal labels were merged" in dataset.notes
    write(tmp_path, "labels.csv", "image,level\na.jpg,1\nb.jpg,0\na,3\n")
    message = error_of(tmp_path)
    assert message.endswith("row 4: a is listed with grade 3, but with grade 1 in row 2")
    write(tmp_path, "labels.csv", "image,level,split\na.jpg,1,train\na.jpg,1,test\n")
    assert "with split test, but with split train in row 2" in error_of(tmp_path)


def test_photographs_not_on_disk(tmp_path):
    rows = "".join(f"m{i}.jpg,0\n" for i in range(7))
    write(tmp_path, "labels.csv", "image,level\na.jpg,1\n" + rows)
    expected = (
        "7 photographs listed in labels.csv aren't on disk and are left out: "
        "m0.jpg, m1.jpg, m2.jpg, m3.jpg, m4.jpg, ..."
    )
    touch(tmp_path, "a.jpg")
    assert expected in load_dataset(tmp_path).notes
    (tmp_path / "a.jpg").unlink()
    assert "8 photographs listed in labels.csv aren't on disk" in error_of(tmp_path)


def test_ambiguous_name(tmp_path):
    touch(tmp_path, "x/a.jpg", "y/a.jpg")
    write(tmp_path, "labels.csv", "image,level\na,1\n")
    message = error_of(tmp_path)
    assert str(tmp_path / "x/a.jpg") in message and str(tmp_path / "y/a.jpg") in message


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (b"", "the file is empty"),
        (b"\xff\xfe\x00i\x00m", "not a text file in UTF-8"),
        (b"image,level\n,3\n", "row 2: no image name"),
        (b"image,level,split\na.jpg,1,holdout\n", "row 2: split 'holdout' isn't train, validation or test"),
        (b"image,level\n", "the dataset has no photographs"),
    ],
)
def test_bad_csv(tmp_path, text, expected):
    (tmp_path / "labels.csv").write_bytes(text)
    assert expected in error_of(tmp_path)


def test_ddr_line_without_label(tmp_path):
    write(tmp_path, "DR_grading/train.txt", "a.jpg 1\nb.jpg\n")
    assert error_of(tmp_path).endswith("train.txt, row 2: expected 'name label', found 'b.jpg'")


def test_real_idrid_and_eyepacs(shared_dir):
    idrid = load_dataset(shared_dir / "idrid")
    assert (idrid.name, len(idrid.records), idrid.notes) == ("idrid", 413, ())
    assert {r.split for r in idrid.records} == {"train"}
    eyepacs = load_dataset(shared_dir / "eyepacs")
    assert (eyepacs.name, len(eyepacs.records)) == ("eyepacs", 636)
    assert len({r.patient for r in eyepacs.records}) == 318
    grades = [r.grade for r in eyepacs.records]
    assert [grades.count(grade) for grade in range(5)] == [464, 40, 100, 12, 20]
