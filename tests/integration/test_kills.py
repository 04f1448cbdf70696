"""Scripts killed at random moments and started again end with the files of one that was never killed."""

import csv
import os
import shutil
import subprocess
import time

import numpy as np
import pytest
from PIL import Image
from script_runs import command

from dr_keras.data.synthetic import draw_fundus

# A hundred kills: KILLS=11 pytest -m slow --numprocesses=0 tests/integration/test_kills.py
KILLS = int(os.environ.get("KILLS", 2))
SMALL = ("--image_sizes=128", "--width=0.1", "--epochs=2", "--batch_size=8", "--precision=float32")
MODEL = "--model=dr_grader_fast"
# What each leaves differs from run to run in these columns and files alone.
TIMES = ("images_per_second",)
LOGS = ("events.out.tfevents",)
SCRIPTS = {
    "prepare_data": ("--data_dir={data}", "--output_dir={out}/prepared", "--image_size=128"),
    "train": ("--data_dir={data}", "--run_dir={out}/run", "--cache_dir={out}/cache", *SMALL),
    "train folds": ("--data_dir={data}", "--run_dir={out}/run", "--cache_dir={out}/c", "--folds=2", *SMALL),
    "predict": (MODEL, "--output={out}/grades.csv", "{data}"),
    "explain": (MODEL, "--output_dir={out}/maps", "{data}"),
    "evaluate": (MODEL, "--data_dir={data}", "--output_dir={out}/report", "--cache_dir={out}/cache"),
    "screen": (MODEL, "--input={data}", "--output={out}/screened", "--shard_rows=4"),
    "export": (MODEL, "--format=tflite", "--data_dir={data}", "--output_dir={out}/m", "--cache_dir={out}/c"),
    "audit_data": ("--data_dir={data}", "--output={out}/audit.json"),
}  # fmt: skip


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("photographs")
    for number in range(20):
        path = folder / str(number % 5) / f"eye{number}.jpg"
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(draw_fundus(number, number % 5, 300).image).save(path, quality=95)
    return folder


def left_in(folder):
    """What a script left: a dict of relative path to content, without what differs in any two runs."""
    found = {}
    for path in sorted(folder.rglob("*")):
        name = str(path.relative_to(folder))
        if path.is_dir() or any(part in name for part in LOGS):
            continue
        content = path.read_bytes().replace(str(folder).encode(), b"OUT")
        if path.suffix == ".csv":
            with open(path, newline="") as file:
                content = [{k: v for k, v in row.items() if k not in TIMES} for row in csv.DictReader(file)]
        elif path.suffix == ".keras":
            content = None  # a zip archive, which holds the time; the scores beside it tell the weights
        elif path.suffix == ".html":
            content = len(content) > 10_000
        found[name] = content
    return found


@pytest.mark.slow
@pytest.mark.timeout(600 + 120 * KILLS)
@pytest.mark.parametrize("script", SCRIPTS)
def test_killed_and_started_again(script, data, tmp_path):
    def start(folder):
        arguments = [argument.format(data=data, out=folder) for argument in SCRIPTS[script]]
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE}
        return subprocess.Popen(command(script.split()[0], *arguments), **quiet)

    def finish(folder):
        process = start(folder)
        errors = process.communicate(timeout=300)[1].decode()
        assert process.returncode == 0, errors

    begun = time.monotonic()
    finish(tmp_path / "whole")
    seconds, rng = time.monotonic() - begun, np.random.default_rng(sum(script.encode()))
    expected = left_in(tmp_path / "whole")
    assert expected
    for number in range(KILLS):
        folder = tmp_path / f"killed{number}"
        process = start(folder)
        time.sleep(rng.uniform(0.3, 1.0) * seconds)
        process.kill()
        process.communicate()
        finish(folder)
        found = left_in(folder)
        assert list(found) == list(expected), number
        for name, content in expected.items():
            assert found[name] == content, (number, name)
        shutil.rmtree(folder)
