"""Photographs whose names aren't UTF-8, look like formulas, or are as long as can be: nothing is lost."""

import csv
import json
import os

import cv2
import numpy as np
import pytest
from script_runs import SMALL, run

from dr_keras.data.synthetic import draw_fundus
from dr_keras.training.run_folder import read_splits

ODD = [os.fsdecode(b"eye\xff.png"), "=cmd.png", f"{'n' * 240}.png"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Ten photographs in class folders, three of odd names."""
    root = tmp_path_factory.mktemp("names")
    for number in range(10):
        name = ODD[number] if number < len(ODD) else f"{number}.png"
        grade = root / str(number % 5)
        grade.mkdir(exist_ok=True)
        encoded = cv2.imencode(".png", draw_fundus(number, number % 5, 160).image[..., ::-1])[1]
        (grade / name).write_bytes(encoded.tobytes())
    return root


@pytest.fixture(scope="module")
def run_dir(folder, tmp_path_factory):
    """A run that learnt from them, with two folds."""
    path = tmp_path_factory.mktemp("training")
    done = run("train", *SMALL, f"--data_dir={folder}", f"--run_dir={path / 'run'}", f"--cache_dir={path}")
    assert done.returncode == 0, done.stderr
    return path / "run"


def cells(path, column="image"):
    with open(path, newline="", encoding="utf-8", errors="surrogateescape") as file:
        return [row[column] for row in csv.DictReader(file)]


def finds(names, given):
    """Whether each of the odd names stands among those given, a formula with a quote before it."""
    return all(any(one.lstrip("'").endswith(name) for one in given) for name in names)


def test_a_run_keeps_them(folder, run_dir):
    splits = read_splits(run_dir / "fold_0" / "split.csv")
    assert sorted(splits) == sorted(str(path.relative_to(folder)) for path in folder.rglob("*.png"))
    assert finds(ODD, cells(run_dir / "predictions.csv"))


def test_an_evaluation_and_a_ranking_keep_them(run_dir, tmp_path):
    done = run(
        "evaluate", f"--model={run_dir}", f"--output_dir={tmp_path / 'report'}", "--split=held_out",
        "--gallery=2", f"--cache_dir={run_dir.parent}",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert finds(ODD, cells(tmp_path / "report/predictions.csv"))
    done = run(
        "progression", f"--model={run_dir}", f"--output_dir={tmp_path / 'ranking'}", "--split=held_out",
        f"--cache_dir={run_dir.parent}",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert finds(ODD, cells(tmp_path / "ranking/progression.csv"))


def test_grading_and_explaining_keep_them(folder, run_dir, tmp_path):
    done = run("predict", f"--model={run_dir / 'fold_0'}", folder)
    assert done.returncode == 0 and "eye\\udcff.png: grade" in done.stdout, done.stderr
    steering = tmp_path / "\x1b[31mred\n.png"
    steering.write_bytes((folder / "3" / "3.png").read_bytes())
    done = run("predict", f"--model={run_dir / 'fold_0'}", steering, tmp_path / "\x1b[2J.png")
    assert "\\x1b[31mred\\n.png: grade" in done.stdout and "\x1b" not in done.stdout + done.stderr
    done = run("predict", f"--model={run_dir / 'fold_0'}", f"--output={tmp_path / 'grades.csv'}", folder)
    assert done.returncode == 0 and finds(ODD, cells(tmp_path / "grades.csv")), done.stderr
    done = run("explain", f"--model={run_dir / 'fold_0'}", f"--output_dir={tmp_path / 'maps'}", folder)
    assert done.returncode == 0 and finds(ODD, cells(tmp_path / "maps/maps.csv")), done.stderr
    made = [name.lstrip("'") for name in cells(tmp_path / "maps/maps.csv", "map")]
    assert all(os.path.isfile(f"{tmp_path}/maps/{name}.png") for name in made) and len(made) == 10


def test_an_audit_and_a_preparation_keep_them(folder, tmp_path):
    done = run("audit_data", f"--data_dir={folder}", f"--output={tmp_path / 'audit.json'}")
    assert done.returncode == 0, done.stderr
    done = run("prepare_data", f"--data_dir={folder}", f"--output_dir={tmp_path / 'p'}", "--image_size=128")
    assert done.returncode == 0, done.stderr
    rows = json.loads((tmp_path / "p/shard-00000.json").read_bytes().decode(errors="surrogateescape"))
    assert finds(ODD, [row["record"]["image"] for row in rows["images"]])
    assert np.load(tmp_path / "p/shard-00000.npy").shape == (10, 128, 128, 3)
