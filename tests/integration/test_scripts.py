"""The scripts as a user runs them: one small run with folds, judged and used."""

import csv
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import pytest
from html_pages import Page
from script_runs import check_refused, command, hear_ctrl_c, run

from dr_keras.data.layouts import load_dataset
from dr_keras.data.preparation import prepare_dataset
from dr_keras.data.shards import PreparedDataset
from dr_keras.inference.graded import GRADE_COLUMNS


def rows_of(path):
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize(
    "script", ["train", "prepare_data", "audit_data", "evaluate", "predict", "explain", "progression"]
)
def test_help_lists_the_flags_and_loads_nothing_heavy(script):
    done = subprocess.run(
        [sys.executable, "-X", "importtime", *command(script, "--help")[1:]], capture_output=True, text=True
    )
    assert done.returncode == 0
    shared = {"prepare_data": "--output_dir", "audit_data": "--data_dir", "predict": "--model"}
    assert shared.get(script, "--thresholds") in done.stdout
    loaded = {line.rpartition("|")[2].strip().partition(".")[0] for line in done.stderr.splitlines()}
    assert "absl" in loaded
    assert not loaded & {"tensorflow", "keras", "cv2", "numpy", "sklearn", "matplotlib"}


def test_training_goes_on_without_what_cannot_be_read(dataset, trained):
    run_dir, _, done = trained
    assert "1 repeated rows with equal labels were merged" in done.stdout
    assert "1 photographs listed in labels.csv aren't on disk and are left out: gone.png" in done.stdout
    for name, reason in dataset[1].items():
        assert any(name in line and reason in line for line in done.stdout.splitlines()), name
    assert "Traceback" not in done.stderr
    assert json.loads((run_dir / "metrics.json").read_text())["n"] == 20


@pytest.fixture(scope="module")
def report(tmp_path_factory, trained):
    """A report of the run, beside its first fold alone, and what the script printed."""
    run_dir, cache, _ = trained
    folder = tmp_path_factory.mktemp("reports") / "report"
    done = run(
        "evaluate",
        f"--model={run_dir}",
        f"--model={run_dir / 'fold_0'}",
        f"--classifier={run_dir / 'predictions.csv'}",
        f"--output_dir={folder}",
        f"--cache_dir={cache}",
        "--split=held_out",
        "--gallery=2",
    )
    assert done.returncode == 0, done.stderr
    return folder, done


def test_evaluate_gives_the_numbers_of_the_run(trained, report):
    run_dir, folder = trained[0], report[0]
    metrics, of_run = (json.loads((path / "metrics.json").read_text()) for path in (folder, run_dir))
    assert {name: metrics[name] for name in of_run} == of_run
    for name in ("confusion_matrix.png", "predictions.csv"):
        assert (folder / name).read_bytes() == (run_dir / name).read_bytes(), name
    assert metrics["thresholds"] == [0.05, 0.1, 0.2, 3.0]
    assert metrics["chosen_on"] == {"source": "run", "n": 20, "num_parts": 2, "cross_fitted": 20}
    assert metrics["classifier"]["quadratic_weighted_kappa"] == metrics["quadratic_weighted_kappa"]
    (other,) = metrics["compared_with"]
    assert (other["model"], other["n"]) == (str(run_dir / "fold_0"), 10)
    assert other["quadratic_weighted_kappa"]["difference"] == {"value": 0, "low": 0, "high": 0}
    lines = report[1].stdout.splitlines()
    assert any("20 photographs, split held_out; 2 networks, one per fold" in line for line in lines)
    assert f"kappa {metrics['quadratic_weighted_kappa']['value']:.3f}" in lines[-1]
    assert "Warning" not in report[1].stderr


def test_the_report_is_one_page_with_its_photographs(report):
    text = (report[0] / "report.html").read_text(encoding="utf-8")
    page = Page(text)
    assert page.open == [] and page.wrong == []
    alts = [image["alt"] for image in page.all("img")]
    assert sum(alt.startswith("Map of what raised") for alt in alts) == 2
    assert sum(", score " in alt for alt in alts) == 20
    assert all(picture.size for picture in page.pictures().values())
    assert "http" not in page.words and "net5 at 128 px" in page.words


def test_the_shipped_grader_is_the_default(tmp_path):
    for script, output in (("evaluate", "--output_dir"), ("progression", "--output_dir")):
        done = run(script, "--data_dir=nowhere", f"{output}={tmp_path / script}")
        check_refused(done, "nowhere: no such folder")


def test_libraries_say_nothing_unless_asked(trained, dataset, tmp_path):
    environment = {name: value for name, value in os.environ.items() if name != "TF_CPP_MIN_LOG_LEVEL"}
    arguments = f"--model={trained[0] / 'fold_0'}", dataset[0] / "00.png"
    quiet = run("predict", *arguments, env=environment)
    assert quiet.returncode == 0 and quiet.stderr == "" and quiet.stdout.count("\n") == 2
    exporting = f"--model={trained[0] / 'fold_0'}", "--format=savedmodel", f"--output_dir={tmp_path / 'tiny'}"
    quiet = run("export", *exporting, env=environment)
    assert quiet.returncode == 0 and quiet.stderr == ""
    told = run("predict", "--tensorflow_log", *arguments, env=environment)
    assert told.returncode == 0 and "log messages" in told.stderr


def test_evaluate_without_the_page(tmp_path, trained):
    run_dir, cache, _ = trained
    arguments = [f"--model={run_dir}", f"--cache_dir={cache}", "--noreport", "--thresholds=1,2,3,3.5"]
    done = run("evaluate", *arguments, f"--output_dir={tmp_path / 'report'}")
    assert done.returncode == 0, done.stderr
    assert sorted(os.listdir(tmp_path / "report")) == [
        "confusion_matrix.png",
        "metrics.json",
        "predictions.csv",
    ]
    assert json.loads((tmp_path / "report/metrics.json").read_text())["thresholds"] == [1, 2, 3, 3.5]


def test_progression_shows_photographs_in_increasing_order(tmp_path, trained):
    run_dir, cache, _ = trained
    out = tmp_path / "out"
    done = run(
        "progression", f"--model={run_dir}", f"--output_dir={out}", f"--cache_dir={cache}", "--count=6"
    )
    assert done.returncode == 0, done.stderr
    scores = {row["image"]: row["score"] for row in rows_of(run_dir / "predictions.csv")}
    shown = rows_of(out / "progression.csv")
    assert [row["position"] for row in shown] == list("123456")
    assert [scores[row["image"]] for row in shown] == [row["score"] for row in shown]
    assert [float(row["score"]) for row in shown] == sorted(float(row["score"]) for row in shown)
    ends = min(map(float, scores.values())), max(map(float, scores.values()))
    assert (float(shown[0]["score"]), float(shown[-1]["score"])) == ends
    assert cv2.imread(str(out / "progression.png")).shape[1] == 1000
    assert "progression.png: 6 of them" in done.stdout.splitlines()[-1]


def test_predict_gives_the_scores_of_the_run_and_every_reason(tmp_path, dataset, trained):
    folder, odd = dataset
    run_dir = trained[0]
    output = tmp_path / "new/grades.csv"
    done = run(
        "predict",
        f"--model={run_dir / 'fold_0'}",
        f"--output={output}",
        "--batch_size=7",
        folder,
        tmp_path / "no.jpg",
    )
    assert done.returncode == 0, done.stderr
    rows = rows_of(output)
    columns = list(GRADE_COLUMNS)
    assert list(rows[0]) == columns
    assert [row["image"] for row in rows[:-1]] == sorted(row["image"] for row in rows[:-1])
    by_name = {Path(row["image"]).name: row for row in rows}
    assert len(by_name) == len(rows) == 20 + 6 + len(odd) + 1
    for row in rows_of(run_dir / "fold_0/predictions.csv"):
        again = by_name[row["image"]]
        assert [again[key] for key in ("score", "grade", "referable")] == [
            row[key] for key in ("score", "grade", "referable")
        ]
        assert again["error"] == "" and again["grade_name"].split()[0] in ("no", "mild", "moderate", "severe")
    for name, reason in {**odd, "no.jpg": "can't be read (No such file or directory)"}.items():
        assert reason in by_name[name]["error"]
        assert [by_name[name][key] for key in ("score", "grade", "grade_name", "referable")] == [""] * 4
    # One photograph in several guises: the pixels are the same, so the score is.
    assert (
        by_name["plain.png"]["score"] == by_name["alpha.png"]["score"] == by_name["deep.png"]["score"] != ""
    )
    for name in ("cmyk.jpg", "rotated.jpg", "grey.jpg"):
        assert by_name[name]["error"] == ""
    assert by_name["grey.jpg"]["reason"].startswith("not a colour photograph")
    assert by_name["plain.png"]["reason"].startswith("reduced to ")  # a drawing, whose colours are few
    assert f"22 graded, 4 not gradable, {len(odd) + 1} unreadable" in done.stdout


def test_predict_with_nothing_to_grade(tmp_path, trained):
    (tmp_path / "text.jpg").write_text("words")
    (tmp_path / "nothing").mkdir()
    done = run(
        "predict",
        f"--model={trained[0]}",
        f"--output={tmp_path / 'out.csv'}",
        tmp_path / "text.jpg",
        tmp_path / "nothing",
    )
    check_refused(done, "none of 2 files could be read")
    assert "2 networks, one per fold: scores are their mean" in done.stdout
    assert [bool(row["error"]) for row in rows_of(tmp_path / "out.csv")] == [True, True]


def test_prepare_killed_and_started_again(tmp_path, draw_photograph):
    folder, out = tmp_path / "photographs", tmp_path / "out"
    (folder / "3").mkdir(parents=True)
    photographs = [cv2.imencode(".png", draw_photograph(n, 48, 60))[1].tobytes() for n in range(10)]
    for number in range(600):
        (folder / f"3/{number:04d}.png").write_bytes(photographs[number % 10])
    (folder / "3/0590.png").write_bytes(b"")
    arguments = (f"--data_dir={folder}", f"--output_dir={out}", "--image_size=128", "--workers=2")
    process = subprocess.Popen(
        command("prepare_data", *arguments), stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL
    )
    wait_for(lambda: (out / "shard-00000.json").exists() or process.poll() is not None)
    workers = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    process.kill()
    assert process.wait() == -signal.SIGKILL
    assert len(workers) >= 2
    wait_for(lambda: not any(Path(f"/proc/{worker}").exists() for worker in workers))
    assert not (out / "manifest.json").exists()
    before = (out / "shard-00000.npy").stat()
    (out / ".part-shard-00001-12345678.npy").write_bytes(b"half a shard")

    check_refused(
        run("prepare_data", *arguments[:2], "--image_size=256"), "prepared with image_size=128, expected 256"
    )
    done = run("prepare_data", *arguments)
    assert done.returncode == 0, done.stderr
    assert "left out: 3/0590.png: the file is empty" in done.stdout
    assert (
        "599 photographs at 128 px, 1 left out, field of view not found in 0" in done.stdout.splitlines()[-1]
    )
    after = (out / "shard-00000.npy").stat()
    assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
    assert len(os.listdir(out)) == 7  # three shards of two files, the manifest, no leftovers
    prepare_dataset(load_dataset(folder), tmp_path / "at_once", 128, workers=1)
    for name in sorted(path.name for path in out.glob("*.npy")):
        np.testing.assert_array_equal(np.load(out / name), np.load(tmp_path / "at_once" / name))
    assert len(PreparedDataset(out)) == 599


def wait_for(condition):
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def test_audit_tells_and_writes(tmp_path, dataset):
    done = run("audit_data", f"--data_dir={dataset[0]}", f"--output={tmp_path / 'audit.json'}")
    assert done.returncode == 0, done.stderr
    report = json.loads((tmp_path / "audit.json").read_text())
    assert {entry["image"] for entry in report["unreadable"]} == {f"odd/{name}" for name in dataset[1]}
    assert report["grades"][""][0] == 4
    assert f"unreadable files: {len(dataset[1])}" in done.stdout
    assert "0 no DR" in done.stdout
    assert "[ERROR" not in done.stderr and "libpng" not in done.stderr


@pytest.mark.parametrize("script", ["evaluate", "progression"])
def test_the_report_of_a_run_is_spared(script, trained):
    before = (trained[0] / "metrics.json").read_bytes()
    check_refused(
        run(script, f"--model={trained[0]}", f"--output_dir={trained[0]}"), "holds a run and its own report"
    )
    assert (trained[0] / "metrics.json").read_bytes() == before


@pytest.mark.parametrize("script", ["evaluate", "progression"])
def test_a_split_that_is_not_there(tmp_path, script, trained):
    run_dir, cache, _ = trained
    arguments = [f"--model={run_dir}", f"--cache_dir={cache}", f"--output_dir={tmp_path / 'out'}"]
    check_refused(run(script, *arguments, "--split=test"), "--split=test: no photograph has this split")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "number, status, name",
    [
        (signal.SIGTERM, 143, "SIGTERM"),
        pytest.param(signal.SIGINT, 130, "Ctrl-C", marks=pytest.mark.slow),  # the same way
    ],
)
def test_a_signal_keeps_the_grades_that_are_done(tmp_path, trained, draw_photograph, number, status, name):
    photographs, output = tmp_path / "photographs", tmp_path / "grades.csv"
    photographs.mkdir()
    cv2.imwrite(str(photographs / "0.png"), draw_photograph(0, 2000, 2000)[..., ::-1])
    for copy in range(1, 1500):
        os.link(photographs / "0.png", photographs / f"{copy}.png")
    arguments = [f"--model={trained[0]}", f"--output={output}", "--batch_size=4", photographs]
    process = subprocess.Popen(
        command("predict", *arguments), stderr=subprocess.PIPE, text=True, preexec_fn=hear_ctrl_c
    )
    while not list(tmp_path.glob(".part-*")):
        assert process.poll() is None
        time.sleep(0.1)
    part = next(tmp_path.glob(".part-*"))
    while part.exists() and part.stat().st_size == 0:
        time.sleep(0.1)  # rows are flushed some thousand bytes at a time
    process.send_signal(number)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == status and f"stopped by {name}" in errors.splitlines()[-1]
    rows = rows_of(output)
    assert 0 < len(rows) < 1500 and all(row["gradable"] for row in rows)
    assert f"{output}: " in errors and not list(tmp_path.glob(".part-*"))
