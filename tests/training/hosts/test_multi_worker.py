"""Two processes that train together against one: same global batch, same seed, same weights and metrics."""

import csv
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
import two_workers
from prepared_folders import noise_images, write_prepared
from script_runs import check_refused, command, run

from dr_keras.errors import InputError
from dr_keras.models.grader_model import load_model
from dr_keras.training.hosts import launch, workers
from dr_keras.training.hosts.cluster import Cluster, read_cluster

HOSTS = ("host0:2222", "host1:2222")
FLAGS = ("--image_size=128", "--width=0.1", "--synthetic_images=48", "--epochs=3", "--precision=float32",
         "--batch_size=8", "--validation_fraction=0.2")  # fmt: skip


def start(arguments, number=2):
    """Starts a command in so many processes, each with its `TF_CONFIG`."""
    addresses = tuple(f"127.0.0.1:{port}" for port in launch.free_ports(number))
    for index, cores in enumerate(launch.share_cores(number)):
        environment = os.environ | {
            "CUDA_VISIBLE_DEVICES": "-1",
            "TF_CONFIG": Cluster(addresses, index).tf_config(),
        }
        environment["PYTHONPATH"] = str(Path(__file__).parents[3])
        with launch.on_cores(cores):
            process = subprocess.Popen(
                arguments, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
            )
        yield process


def finish(processes):
    """Waits for all; returns (status, output, errors) of each."""
    try:
        said = [process.communicate(timeout=280) for process in processes]
    finally:
        for process in processes:
            process.kill()
    return [(process.returncode, *lines) for process, lines in zip(processes, said, strict=True)]


def assert_same_training(first, second):
    """Weights to 1e-5 and the same history but for the speed. Returns the history."""
    for name in ("last.keras", "model.keras", "best_loss.keras"):
        weights = [load_model(folder / name).get_weights() for folder in (first, second)]
        for a, b in zip(*weights, strict=True):
            np.testing.assert_allclose(a, b, rtol=0, atol=1e-5)
    histories, figures = [], []
    for folder in (first, second):
        with open(folder / "history.csv", newline="") as file:
            histories.append([{**row, "images_per_second": 0} for row in csv.DictReader(file)])
        figures.append([[float(value) for value in row.values()] for row in histories[-1]])
    np.testing.assert_allclose(*figures, rtol=1e-5, atol=1e-5)
    return histories[0]


# Two processes


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("workers")
    grades = (list(range(5)) * 7)[:32]
    write_prepared(folder / "prepared", noise_images(32, 128), grades, splits=two_workers.SPLITS)
    return folder


@pytest.fixture(scope="module")
def found(folder):
    """What each of the two found."""
    ended = finish(list(start([sys.executable, two_workers.__file__, str(folder)])))
    assert [status for status, _, _ in ended] == [0, 0], ended
    return [json.loads(output.splitlines()[-1]) for _, output, _ in ended]


def test_each_knows_its_place_and_what_the_others_say(found):
    assert [one["place"] for one in found] == [[0, 2], [1, 2]]
    assert [one["replicas"] for one in found] == [2, 2]
    assert [one["total"] for one in found] == [[3.0, 1.0]] * 2
    assert [one["from chief"] for one in found] == ["odd length"] * 2


def test_mistakes_are_named_on_both(found):
    assert {one["odd batch"] for one in found} == {"--batch_size=7: expected a multiple of the 2 devices"}
    expected = "TF_CONFIG: worker 1 has other flags than worker 0; expected the same on all"
    assert {one["other flags"] for one in found} == {expected}


def test_all_learn_of_a_stop_after_the_same_step(found):
    """The second is asked at step 5; where exchanges are rare, step 20, which ends the epoch, has one."""
    assert [one["stops at once"] for one in found] == [5, 5]
    assert [one["stops with the epoch"] for one in found] == [20, 20]


def test_all_stop_after_the_same_step(found):
    assert [one["stopped after"] for one in found] == [4, 4] and found[0]["state"] == 1


def test_same_weights_and_figures_as_one_process(found, folder):
    """Though stopped in mid-epoch, with the state in the chief's folder only."""
    prepared = two_workers.PreparedDataset(folder / "prepared")
    two_workers.train(prepared, folder / "one", tf.distribute.get_strategy())
    before, after = assert_same_training(folder / "run-0", folder / "one")
    assert float(before["val_loss"]) - float(after["val_loss"]) > 0.05  # what is compared has been trained
    assert float(before["val_quadratic_weighted_kappa"]) != 0
    one, two = (json.loads((folder / name / "metrics.json").read_text()) for name in ("one", "run-0"))
    assert one["names"] == two["names"] == [f"{index:03d}.png" for index in range(25, 32)]
    np.testing.assert_allclose(two["scores"], one["scores"], rtol=0, atol=1e-5)
    assert np.ptp(one["scores"]) > 1e-3  # what is compared tells the photographs apart


def test_only_the_chief_writes(found, folder):
    assert sorted(path.name for path in folder.iterdir() if path.name.startswith("run")) == ["run-0"]


def test_parts_are_the_whole():
    assert workers.share(tf.distribute.get_strategy(), 7) == slice(0, 7)


# A process killed


@pytest.mark.slow
@pytest.mark.parametrize("victim", [0, 1], ids=["chief", "worker"])
def test_a_killed_worker_stops_the_other_and_the_training_goes_on(tmp_path, victim):
    flags = (*FLAGS, "--strategy=multi_worker", f"--cache_dir={tmp_path / 'cache'}")
    undisturbed = finish(list(start(command("train", *flags, f"--run_dir={tmp_path / 'one'}"))))
    assert [status for status, _, _ in undisturbed] == [0, 0], undisturbed
    together = command("train", *flags, f"--run_dir={tmp_path / 'two'}")
    processes = list(start(together))
    while not (tmp_path / "two" / "state.npz").exists():
        assert all(process.poll() is None for process in processes), finish(processes)
        time.sleep(0.01)
    processes[victim].kill()
    killed = time.monotonic()
    survivor = processes[1 - victim]
    _, errors = survivor.communicate(timeout=60)
    assert time.monotonic() - killed < 60 and survivor.returncode == 1
    assert processes[victim].wait() == -signal.SIGKILL
    assert f"error: worker {victim} (127.0.0.1:" in errors.splitlines()[-1]
    assert sum(line.startswith("error: ") for line in errors.splitlines()) == 1 and "Traceback" not in errors

    (status, output, errors), (other, silence, _) = finish(list(start(together)))
    assert (status, other) == (0, 0), errors
    assert f"{tmp_path / 'two'}: goes on from epoch " in output and silence == ""
    assert_same_training(tmp_path / "two", tmp_path / "one")
    one, two = (json.loads((tmp_path / name / "metrics.json").read_text()) for name in ("one", "two"))
    assert one == two


# TF_CONFIG


def test_what_is_written_is_read():
    for index in (0, 1):
        cluster = Cluster(HOSTS, index)
        assert read_cluster({"TF_CONFIG": cluster.tf_config()}) == cluster
        assert cluster.is_chief == (index == 0)


def test_a_chief_of_its_own_type_comes_first():
    config = {"cluster": {"worker": HOSTS, "chief": ["host9:1"]}, "task": {"type": "worker", "index": 1}}
    assert read_cluster({"TF_CONFIG": json.dumps(config)}) == Cluster(("host9:1", *HOSTS), 2)
    config["task"] = {"type": "chief", "index": 0}
    assert read_cluster({"TF_CONFIG": json.dumps(config)}).is_chief


def config_of(index=0, hosts=HOSTS, job="worker"):
    return json.dumps({"cluster": {"worker": list(hosts)}, "task": {"type": job, "index": index}})


@pytest.mark.parametrize(
    "text, message",
    [
        (None, "TF_CONFIG isn't set: --strategy=multi_worker expects it"),
        ("{worker", "TF_CONFIG: not valid JSON .*; expected {\"cluster\""),
        ('["host0:2222"]', "TF_CONFIG: expected a cluster and a task, such as"),
        ('{"cluster": {"worker": ["host0:2222"]}}', "TF_CONFIG: expected a cluster and a task, such as"),
        (config_of(2), "this process is worker 2, but the cluster has 2 of type worker; indices start at 0"),
        (config_of(-1), "this process is worker -1, but the cluster has 2 of type worker"),
        (config_of(job="ps"), "this process is ps 0, but the cluster has 2 of type worker"),
        (config_of(hosts=("host0", "host1:2222")), "a different host:port for each process. Received: host0"),
        (config_of(hosts=("host0:1", "host0:1")), "a different host:port for each process"),
    ],
)  # fmt: skip
def test_wrong_tf_config_is_one_line(text, message):
    with pytest.raises(InputError, match=message) as raised:
        read_cluster({} if text is None else {"TF_CONFIG": text})
    assert "\n" not in str(raised.value)


def test_the_script_says_so_before_it_writes(tmp_path):
    environment = os.environ | {"TF_CONFIG": config_of(2)}
    flags = (*FLAGS, "--strategy=multi_worker", f"--run_dir={tmp_path / 'run'}")
    check_refused(run("train", *flags, env=environment), "TF_CONFIG: this process is worker 2")
    assert list(tmp_path.iterdir()) == []
