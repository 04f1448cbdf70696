"""The AlexNet paper in one command: everything is there, and a second run keeps the networks."""

import json

import pytest
from html_pages import Page
from script_runs import check_refused, run


def test_a_missing_trunk_is_named_before_anything_is_done(tmp_path):
    trunk, output = tmp_path / "trunk.weights.h5", tmp_path / "paper"
    done = run(
        "reproduce_alexnet_paper",
        f"--trunk_weights={trunk}",
        f"--output_dir={output}",
        "--synthetic_images=10",
    )
    check_refused(done, f"--trunk_weights={trunk}: no such file")
    assert not output.exists()


@pytest.mark.slow
def test_one_command_makes_the_paper(tmp_path):
    arguments = ("--trunk_weights=none", "--synthetic_images=40", "--epochs=2", "--clusters=4")
    folders = (f"--cache_dir={tmp_path / 'cache'}", f"--output_dir={tmp_path / 'paper'}")
    done = run("reproduce_alexnet_paper", *arguments, *folders)
    assert done.returncode == 0, done.stderr
    assert "classifier: proliferative called normal" in done.stdout
    folder = tmp_path / "paper"
    results = json.loads((folder / "results.json").read_text())
    assert sum(results["subset"]) == 40 and results["n"] == 4
    assert results["stage_errors"]["classifier"]["n"] == 4
    assert results["lesion_check"]["photographs"] == 80  # of 100 drawn, those of grades 1 to 4
    assert results["patches"]["clusters"]["k"] == 4
    page = Page((folder / "index.html").read_text())
    assert not page.open and not page.wrong and len(page.pictures()) == 9
    assert (folder / "clusters" / "patches.html").exists() and (folder / "report" / "report.html").exists()
    models = [folder / name / "model.keras" for name in ("regressor", "classifier")]
    trained, table = (
        [path.stat().st_mtime_ns for path in models],
        (folder / "patches/patches.csv").read_bytes(),
    )
    assert run("reproduce_alexnet_paper", *arguments, *folders).returncode == 0
    assert [path.stat().st_mtime_ns for path in models] == trained
    assert (folder / "patches/patches.csv").read_bytes() == table
    check_refused(
        run("reproduce_alexnet_paper", *arguments[1:], "--trunk_weights=none", "--seed=1", *folders), "seed"
    )
