"""`scripts/train.py` killed at any moment and started again ends as a run that was never killed."""

import csv
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from dr_keras.models.grader_model import load_model

ROOT = Path(__file__).resolve().parents[2]
FLAGS = ("--image_size=128", "--width=0.1", "--synthetic_images=48", "--epochs=2", "--precision=float32",
         "--batch_size=8", "--validation_fraction=0.2")  # fmt: skip
SECONDS = 240


class Runs:
    """Starts the script with the same flags, in folders of its own."""

    def __init__(self, folder):
        self.folder = folder

    def start(self, name, *flags):
        command = [sys.executable, "scripts/train.py", *FLAGS, f"--run_dir={self.folder / name}", *flags]
        command.append(f"--cache_dir={self.folder / 'cache'}")
        environment = os.environ | {"PYTHONUNBUFFERED": "1", "CUDA_VISIBLE_DEVICES": "-1"}
        return subprocess.Popen(
            command, cwd=ROOT, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )

    def finish(self, name, *flags):
        process = self.start(name, *flags)
        output, errors = process.communicate(timeout=SECONDS)
        return process.returncode, output, errors


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    return Runs(tmp_path_factory.mktemp("runs"))


@pytest.fixture(scope="module")
def whole(runs):
    """Folder of a run never killed."""
    code, output, errors = runs.finish("whole")
    assert code == 0, errors
    return runs.folder / "whole"


@pytest.fixture(
    scope="module", params=[False, pytest.param(True, marks=pytest.mark.slow)], ids=["", "stopped"]
)
def killed(request, runs, whole):
    """A run killed by SIGKILL, perhaps stopped by SIGTERM then, and run to its end: its folder."""
    name = "stopped" if request.param else "killed"
    folder = runs.folder / name
    process = runs.start(name)
    deadline = time.monotonic() + SECONDS
    while not (folder / "state.npz").exists():
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.002)
    process.kill()
    process.communicate()
    assert process.returncode == -signal.SIGKILL and not (folder / "metrics.json").exists()
    if request.param:
        stop_and_check(runs.start(name), folder)
    code, _, errors = runs.finish(name)
    assert code == 0, errors
    return folder


def stop_and_check(process, folder):
    """Stops a run as soon as training is under way; it must say how to go on."""
    lines = []
    for line in process.stdout:
        lines.append(line.strip())
        if "goes on from epoch" in line:
            process.send_signal(signal.SIGTERM)
    process.communicate(timeout=SECONDS)
    assert process.returncode == 130
    assert lines[-1] == f"stopped; saved in {folder}. The same command goes on from there."
    assert any(line.startswith(f"{folder}: goes on from epoch ") for line in lines)
    assert '"step": 1' in str(dict(np.load(folder / "state.npz"))["progress"])  # in mid-epoch


def test_it_ends_with_the_same_weights(killed, whole):
    for name in ("last.keras", "model.keras", "best_loss.keras"):
        weights = [load_model(folder / name).get_weights() for folder in (killed, whole)]
        for a, b in zip(*weights, strict=True):
            np.testing.assert_allclose(a, b, rtol=0, atol=1e-6)


def test_and_with_the_same_history_and_figures(killed, whole):
    histories = []
    for folder in (killed, whole):
        with open(folder / "history.csv", newline="") as file:
            histories.append([{**row, "images_per_second": None} for row in csv.DictReader(file)])
    assert len(histories[0]) == 2 and histories[0] == histories[1]
    for name in ("metrics.json", "predictions.csv", "split.csv", "run.cfg"):
        assert (killed / name).read_text() == (whole / name).read_text(), name


def test_nothing_half_written_is_left(killed, whole):
    names = [sorted(path.name for path in folder.iterdir()) for folder in (killed, whole)]
    assert names[0] == names[1] and "state.npz" not in names[0]
    assert not [name for name in names[0] if name.startswith(".")]


@pytest.mark.slow
def test_other_flags_are_refused_by_name(runs, whole):
    before = {path: path.stat().st_mtime_ns for path in whole.rglob("*")}
    code, _, errors = runs.finish("whole", "--epochs=4", "--noresample")
    assert code == 2
    (line,) = [line for line in errors.splitlines() if line.startswith("error:")]
    assert f"--run_dir={whole}: belongs to other flags" in line
    assert "--epochs: 2 there, 4 now" in line and "resample" in line and "width" not in line
    assert "Traceback" not in errors
    assert {path: path.stat().st_mtime_ns for path in whole.rglob("*")} == before


def test_the_runs_own_flags_rerun_it(whole):
    text = (whole / "run.cfg").read_text()
    assert text.startswith("# python scripts/train.py --flagfile=")
    assert {"--image_size=128", "--width=0.1", "--epochs=2", "--seed=0", "--resample"} <= set(
        text.splitlines()
    )
    assert "run_dir" not in text and "cache_dir" not in text
