"""explain.py as a user runs it."""

import csv
import json
import os
import shutil

import cv2
import numpy as np
import pytest
from script_runs import check_refused, run

from dr_keras.explain.ram import score_bias
from dr_keras.models.grader_model import build_grader, load_model
from dr_keras.models.nets import net5


def rows_of(path):
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_files_and_folders_are_explained_and_every_reason_told(tmp_path, dataset, trained):
    folder, odd = dataset
    for side in ("left", "right"):
        (tmp_path / side).mkdir()
        shutil.copy(folder / "04.png", tmp_path / side / "eye.png")
    output = tmp_path / "maps"
    models = [f"--model={trained[0]}", f"--model={trained[0] / 'fold_0'}"]
    done = run("explain", *models, f"--output_dir={output}", "--max_side=100", tmp_path, folder / "odd")
    assert done.returncode == 0, done.stderr
    assert f"{trained[0]}: 2 networks, one per fold: scores and maps are their mean" in done.stdout
    rows = {row["map"] or os.path.basename(row["image"]): row for row in rows_of(output / "maps.csv")}
    name = trained[0].name
    assert list(rows["left_eye"])[3:6] == ["score", f"score_{name}", "score_fold_0"]
    assert float(rows["left_eye"]["score"]) == pytest.approx(
        (float(rows["left_eye"][f"score_{name}"]) + float(rows["left_eye"]["score_fold_0"])) / 2
    )
    assert rows["left_eye"]["score"] == rows["right_eye"]["score"] and rows["left_eye"]["error"] == ""
    for broken, reason in odd.items():
        assert reason in rows[broken]["error"] and rows[broken]["score"] == ""
    for side in ("left", "right"):
        saved = np.load(output / f"{side}_eye.npz", allow_pickle=False)
        assert max(saved["heat"].shape) == 100 and saved["score"] == float(rows[f"{side}_eye"]["score"])
        for number, network in enumerate((name, "fold_0")):
            assert saved["scores"][number] == float(rows["left_eye"][f"score_{network}"])
        assert cv2.imread(str(output / f"{side}_eye.png")).shape[1] > 1024
    assert (output / "contact_sheet.png").is_file()
    assert f"4 graded, 4 not gradable, {len(odd)} unreadable" in done.stdout


def test_map_and_bias_add_up_to_the_score(tmp_path, dataset, trained):
    done = run(
        "explain", f"--model={trained[0] / 'fold_0'}", f"--output_dir={tmp_path}", dataset[0] / "04.png"
    )
    assert done.returncode == 0, done.stderr
    saved = np.load(tmp_path / "04.npz", allow_pickle=False)
    bias = score_bias(load_model(trained[0] / "fold_0/model.keras"))
    assert saved["map_0"].mean() + bias == pytest.approx(float(saved["score"]), abs=1e-4)


def test_photographs_of_a_dataset_by_the_folds_that_never_saw_them(tmp_path, dataset, trained):
    run_dir, cache, _ = trained
    done = run(
        "explain", f"--model={run_dir}", f"--output_dir={tmp_path / 'maps'}", f"--data_dir={dataset[0]}",
        f"--cache_dir={cache}", "--per_grade=2", "--max_side=100",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    rows = rows_of(tmp_path / "maps/maps.csv")
    predicted = {row["image"]: row for row in rows_of(run_dir / "predictions.csv")}
    assert rows and "each photograph is explained by those that weren't trained on it" in done.stdout
    for row in rows:
        of_run = predicted[os.path.basename(row["image"])]
        assert row["label"] == of_run["label"] and row["grade"] == of_run["grade"]
        assert float(row["score"]) == pytest.approx(float(of_run["score"]), abs=1e-4)
        assert int(row["grade"]) <= int(row["label"])
    right = any(row["grade"] == row["label"] for row in rows)
    under = any(row["grade"] < row["label"] for row in rows)
    assert (tmp_path / "maps/contact_sheet_right.png").exists() == right
    assert (tmp_path / "maps/contact_sheet_under_graded.png").exists() == under
    assert json.loads((run_dir / "metrics.json").read_text())["n"] == 20


def test_nothing_that_can_be_explained(tmp_path, trained):
    (tmp_path / "text.jpg").write_text("words")
    done = run("explain", f"--model={trained[0]}", f"--output_dir={tmp_path / 'out'}", tmp_path / "text.jpg")
    check_refused(done, "maps.csv: the one file couldn't be explained; its rows say why")
    assert os.listdir(tmp_path / "out") == ["maps.csv"]


BAD_CALLS = {
    "nothing": ("--model={run}", "expected photographs, or folders of them"),
    "both": ("--model={run} --data_dir={run} x.jpg", "or else --data_dir"),
    "twice": ("--model={run} --model={run} x.jpg", "named twice"),
    "layer of ram": ("--model={run} --layer=conv11 x.jpg", "--layer isn't for --method=ram"),
    "window of gradcam": ("--model={run} --method=gradcam --window=3 x.jpg", "--window and --stride are for"),
    "no layer": (
        "--model={run} --method=gradcam --layer=conv99 x.jpg",
        "--layer=conv99: expected a layer of",
    ),
    "into the run": ("--model={run} --output_dir={run} x.jpg", "holds a run and its own report"),
}


@pytest.mark.parametrize("case", BAD_CALLS)
def test_calls_that_cannot_be_done(tmp_path, trained, case):
    words, expected = BAD_CALLS[case]
    arguments = [word.format(run=trained[0]) for word in words.split()]
    if "--output_dir" not in words:
        arguments.append(f"--output_dir={tmp_path / 'out'}")
    check_refused(run("explain", *arguments, cwd=tmp_path), expected)
    assert os.listdir(tmp_path) == []


def test_a_model_without_pooling_names_the_other_methods(tmp_path, dataset):
    dense = build_grader(net5(256, head="dense", width=0.05), 256, (128,) * 3, (64,) * 3)
    dense.save(tmp_path / "dense.keras")
    arguments = (
        f"--model={tmp_path / 'dense.keras'}",
        f"--output_dir={tmp_path / 'out'}",
        dataset[0] / "04.png",
    )
    check_refused(
        run("explain", *arguments, "--method=ram"),
        "--method=ram",
        "expected --method=gradcam or --method=occlusion",
    )
    assert not (tmp_path / "out").exists()
    done = run("explain", *arguments, "--max_side=100")  # the default: what the model has, Grad-CAM
    assert done.returncode == 0, done.stderr
    assert np.load(tmp_path / "out/04.npz")["heat"].any()
