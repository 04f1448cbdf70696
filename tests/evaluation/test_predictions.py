import numpy as np
import pytest

from dr_keras.errors import InputError
from dr_keras.evaluation.predictions import read_predictions, write_predictions


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_table(tmp_path, dtype):
    path = tmp_path / "predictions.csv"
    scores = np.array([-0.1, 1.7, np.nan, 6.01], dtype=dtype)
    write_predictions(path, ["a.jpg", "left, eye.jpg", "c.jpg", "d.jpg"], [0, 2, 1, 4], scores)
    assert path.read_text() == (
        "image,label,score,grade,referable\n"
        "a.jpg,0,-0.1,0,0\n"
        '"left, eye.jpg",2,1.7,2,1\n'
        "c.jpg,1,nan,,\n"
        "d.jpg,4,6.01,4,1\n"
    )
    table = read_predictions(path)
    assert list(table) == ["image", "label", "score", "grade", "referable", "patient"]
    assert table["patient"].tolist() == table["image"].tolist()
    assert table["image"].tolist() == ["a.jpg", "left, eye.jpg", "c.jpg", "d.jpg"]
    np.testing.assert_array_equal(table["label"], [0, 2, 1, 4])
    np.testing.assert_array_equal(table["score"].astype(dtype), scores)
    np.testing.assert_array_equal(table["grade"], [0, 2, np.nan, 4])
    np.testing.assert_array_equal(table["referable"], [0, 1, np.nan, 1])


def test_patients_have_a_column_where_they_are_known(tmp_path):
    write_predictions(tmp_path / "p.csv", ["a", "b"], [1, 0], [1.4, 0.2], patients=["=p", "q"])
    assert (tmp_path / "p.csv").read_text().splitlines()[:2] == [
        "image,label,score,grade,referable,patient", "a,1,1.4,1,0,'=p",
    ]  # fmt: skip
    assert read_predictions(tmp_path / "p.csv")["patient"].tolist() == ["=p", "q"]


def test_thresholds_decide_the_grade(tmp_path):
    write_predictions(tmp_path / "p.csv", ["a"], [1], [1.4], thresholds=(0.3, 1.2, 2.0, 3.0))
    assert (tmp_path / "p.csv").read_text().splitlines()[1] == "a,1,1.4,2,1"


def test_columns_of_unequal_length_leave_no_file(tmp_path):
    with pytest.raises(ValueError):
        write_predictions(tmp_path / "p.csv", ["a"], [1, 2], [1.4, 2.0])
    assert not list(tmp_path.iterdir())


def test_reads_a_table_edited_elsewhere(tmp_path):
    path = tmp_path / "p.csv"
    path.write_text(
        "\ufeffimage,label,score,grade,referable,note\r\na.jpg,1,0.9,1,0,dark\r\n", encoding="utf-8"
    )
    assert read_predictions(path)["image"].tolist() == ["a.jpg"]


def test_reads_a_table_without_rows(tmp_path):
    path = tmp_path / "p.csv"
    path.write_text("image,label,score,grade,referable\n")
    assert [len(column) for column in read_predictions(path).values()] == [0] * 6


@pytest.mark.parametrize(
    "content, message",
    [
        (None, "expected a table of predictions: No such file"),
        (b"", "expected a table with the columns image,label,score,grade,referable; no image"),
        (b"image,score,grade\na,1,1\n", "no label"),
        (b"image,label,score,grade,referable\na,1,0.9,1,0\nb,1,high,1,0\n", "line 3: .*'score': 'high'"),
        (b"image,label,score,grade,referable\na,1\n", "line 2: "),
        (b"image,label,score,grade,referable\na,,0.9,1,0\n", "line 2: "),
        (b"\x89PNG\xff\xfe", "expected a table with the columns"),
    ],
)
def test_refuses_other_files(tmp_path, content, message):
    path = tmp_path / "p.csv"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError, match=message) as caught:
        read_predictions(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)
