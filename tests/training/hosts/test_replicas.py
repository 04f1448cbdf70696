"""One device against two: same global batch, same seed, same weights."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.fixture(scope="module", params=["sgd", pytest.param("adam", marks=pytest.mark.slow)])
def result(request, tmp_path_factory):
    script = Path(__file__).with_name("two_replicas.py")
    folder = tmp_path_factory.mktemp("replicas")
    paths = os.pathsep.join(map(str, (script.parents[2], script.parents[3])))
    environment = os.environ | {"PYTHONPATH": paths, "CUDA_VISIBLE_DEVICES": "-1"}
    run = subprocess.run(
        [sys.executable, str(script), str(folder), request.param],
        env=environment,
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stderr
    return json.loads(run.stdout.splitlines()[-1])


def test_there_are_two_replicas(result):
    assert result["replicas"] == [1, 2]


def test_same_weights_and_figures(result):
    assert result["moved"] > 1e-3  # what is compared has been trained
    assert result["weights"] < 1e-5
    assert result["history"] < 1e-4  # losses near 5, learning rates, kappa
    assert result["saved"] == 0


def test_the_two_were_stopped_in_mid_epoch(result):
    assert result["started at"] == [1, 1]


def test_batch_has_to_divide(result):
    assert result["odd batch"] == "--batch_size=7: expected a multiple of the 2 devices"
