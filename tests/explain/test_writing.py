"""What explanations leave on disk."""

import csv
import dataclasses
import os

import cv2
import numpy as np
import pytest
from handmade_explanations import GRID, explanation

from dr_keras.counts import Counts
from dr_keras.explain import lettering
from dr_keras.explain.overlay import overlay
from dr_keras.explain.writing import distinct_names, save_map, write_explanations

NAN = float("nan")


@pytest.mark.parametrize(
    "paths, names",
    [
        (["a/1.jpg", "b/2.jpg"], ["1", "2"]),
        (["left/1.jpg", "right/1.jpg", "2.jpg"], ["left_1", "right_1", "2"]),
        (["x/a/1.jpg", "y/a/1.jpg", "y/b/1.jpg"], ["x_a_1", "y_a_1", "b_1"]),
        (["1.jpg", "1.png", "A.jpg", "a.jpg"], ["1", "1-2", "A", "a-2"]),
        (["a/b_1.jpg", "a/b/1.jpg", "c/1.jpg"], ["a_b_1", "a_b_1-2", "c_1"]),
        (["/1.jpg", "/d/1.jpg"], ["1", "d_1"]),
        ([f"x/{'b' * 251}.jpg", f"y/{'b' * 251}.jpg"], ["b" * 240, f"{'b' * 240}-2"]),
        (["contact_sheet.png"], ["contact_sheet-2"]),
        (["runs/ram.128/", "two.dots.keras"], ["ram", "two.dots"]),
        ([], []),
    ],
)
def test_names_are_short_and_distinct(paths, names):
    assert list(distinct_names(paths).values()) == names


def test_raw_values_are_saved_as_they_are(tmp_path):
    heat = np.random.default_rng(0).normal(0, 9, (120, 200)).astype("float32")
    made = explanation(heat=heat)
    save_map(tmp_path / "eye.npz", made)
    saved = np.load(tmp_path / "eye.npz", allow_pickle=False)
    np.testing.assert_array_equal(saved["heat"], heat)
    np.testing.assert_array_equal(saved["map_1"], made.maps[1])
    assert saved["map_0"].shape == (3, 4) and saved["map_0"].dtype == np.float32
    assert saved["score"] == 2.25 and saved["scores"].tolist() == [2.0, 2.5]
    assert saved["energy_outside"] == 0.25
    np.testing.assert_allclose(saved["field_of_view"], (60, 100, 57.6))
    assert saved["offset"].tolist() == [list(GRID.offset)] * 2 and saved["step"].tolist() == [[12, 12]] * 2
    assert saved["window"].tolist() == [[8, 8, 112, 112]] * 2 and saved["image_size"].tolist() == [128, 128]


def written(folder, results, labels=None):
    names = distinct_names([path for path, _, _ in results])
    counts = write_explanations(folder, iter(results), names, ["r128", "r256"], labels)
    with open(folder / "maps.csv", newline="", encoding="utf-8") as file:
        return counts, list(csv.DictReader(file)), set(os.listdir(folder))


def test_table_has_every_photograph(tmp_path):
    results = [
        ("left/1.jpg", explanation(), ""),
        ("left/2.jpg", None, "the file is empty"),
        ("right/1.jpg", explanation(score=0.1, scores=(0.0, 0.2)), ""),
        ("right/3.jpg", explanation(score=NAN, scores=(NAN, 1.0)), ""),
    ]
    counts, rows, found = written(tmp_path, results)
    assert counts == Counts(graded=2, unreadable=2)
    assert list(rows[0].values()) == ["left/1.jpg", "left_1", "", "2.25", "2.0", "2.5", "2", "0.25", "", ""]
    assert list(rows[0]) == [
        "image", "map", "label", "score", "score_r128", "score_r256", "grade", "energy_outside", "error",
        "reason",
    ]  # fmt: skip
    assert [row["grade"] for row in rows] == ["2", "", "0", ""]
    assert [row["error"] for row in rows] == ["", "the file is empty", "", "the model's score isn't a number"]
    assert {row["reason"] for row in rows} == {""}
    maps = {f"{name}.{suffix}" for name in ("left_1", "right_1") for suffix in ("png", "npz")}
    assert found == {"maps.csv", "contact_sheet.png", *maps}
    assert cv2.imread(str(tmp_path / "left_1.png")).shape[1] > 1024


def test_known_grades_make_sheets_of_right_and_wrong_ones(tmp_path):
    results = [(f"{label}.png", explanation(), "") for label in (2, 3, 4)]
    _, rows, found = written(tmp_path, results, {"2.png": 2, "3.png": 3, "4.png": 4})
    assert [row["label"] for row in rows] == ["2", "3", "4"]
    sheets = {name for name in found if name.startswith("contact_sheet")}
    assert sheets == {"contact_sheet_right.png", "contact_sheet_under_graded.png"}
    right, under = (cv2.imread(str(tmp_path / name)) for name in sorted(sheets))
    assert under.shape[0] > right.shape[0]  # two grades against one
    _, _, found = written(tmp_path / "over", results[:1], {"2.png": 1})
    assert "contact_sheet_over_graded.png" in found


def test_nothing_half_written_when_a_photograph_fails(tmp_path):
    def results():
        yield "1.jpg", explanation(), ""
        raise RuntimeError("stopped")

    with pytest.raises(RuntimeError):
        write_explanations(tmp_path, results(), {"1.jpg": "1"}, ["a", "b"])
    assert set(os.listdir(tmp_path)) == {"1.png", "1.npz"}


def test_ctrl_c_keeps_what_is_explained(tmp_path):
    def results():
        yield "1.jpg", explanation(), ""
        raise KeyboardInterrupt

    table = tmp_path / "maps.csv"
    with pytest.raises(KeyboardInterrupt, match=f"{table}: 1 graded, 0 not gradable, 0 unreadable before it"):
        write_explanations(tmp_path, results(), {"1.jpg": "1", "2.jpg": "2"}, ["a", "b"])
    assert set(os.listdir(tmp_path)) == {"1.png", "1.npz", "maps.csv", "contact_sheet.png"}
    assert table.read_text().splitlines()[1].startswith("1.jpg,1,,2.25")


def test_a_photograph_too_bad_to_be_graded_has_a_map_but_no_grade(tmp_path, monkeypatch):
    bad = dataclasses.replace(explanation(), fault="too dark: why")
    counts, rows, found = written(tmp_path, [("1.jpg", bad, ""), ("2.jpg", explanation(), "")])
    assert counts == Counts(graded=1, not_gradable=1)
    assert [(row["grade"], row["reason"]) for row in rows] == [("", "too dark: why"), ("2", "")]
    assert {"1.png", "1.npz", "contact_sheet.png"} <= found
    lines, block = [], lettering.text_block
    monkeypatch.setattr(
        lettering, "text_block", lambda text, *sizes: lines.extend(text) or block(text, *sizes)
    )
    overlay(bad, "eye.jpg")
    assert lines[0] == "eye.jpg" and len(lines) == 2 and lines[1].endswith("doesn't count: too dark: why")
