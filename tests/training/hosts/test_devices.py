import os
import subprocess
import sys
from pathlib import Path

import keras
import pytest
import tensorflow as tf

from dr_keras.training.hosts import devices


def test_strategies():
    assert type(devices.choose_strategy("default")) is type(tf.distribute.get_strategy())
    mirrored = devices.choose_strategy("mirrored")
    assert isinstance(mirrored, tf.distribute.MirroredStrategy)
    processors = tf.config.list_logical_devices("GPU") or tf.config.list_logical_devices("CPU")
    assert mirrored.num_replicas_in_sync == len(processors)
    several = len(tf.config.list_logical_devices("GPU")) > 1
    assert isinstance(devices.choose_strategy("auto"), tf.distribute.MirroredStrategy) == several


def test_precision_is_taken_as_named():
    assert devices.choose_precision("float32") == "float32"
    assert devices.choose_precision("mixed_bfloat16") == "mixed_bfloat16"


@pytest.mark.skipif(bool(tf.config.list_physical_devices("GPU")), reason="the GPU decides")
def test_automatic_precision_is_the_processors():
    information = Path("/proc/cpuinfo")
    words = information.read_text() if information.is_file() else ""
    expected = "mixed_bfloat16" if " avx512_bf16" in words or " amx_bf16" in words else "float32"
    assert devices.choose_precision("auto") == expected


def test_precision_scope_restores_the_callers():
    before = keras.config.dtype_policy().name
    with devices.precision_scope("mixed_bfloat16"):
        assert keras.layers.Dense(1).compute_dtype == "bfloat16"
    assert keras.config.dtype_policy().name == before
    with pytest.raises(RuntimeError), devices.precision_scope("mixed_bfloat16"):
        raise RuntimeError
    assert keras.config.dtype_policy().name == before


def test_any_batch_size_suits_one_device():
    devices.check_batch_size(7, tf.distribute.get_strategy())  # for two, see test_replicas.py


# Determinism and TF32, in a process of its own, since there is no way back

NUMERICS = """
import tensorflow as tf
from dr_keras.training.hosts import devices
for deterministic in (False, True):
    devices.set_numerics(deterministic)
    print(tf.config.experimental.tensor_float_32_execution_enabled())
    try:
        tf.random.normal([1])
        print("drawn")
    except RuntimeError:
        print("refused")
"""


def test_determinism_and_tf32_are_set_together():
    done = subprocess.run([sys.executable, "-c", NUMERICS], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["True", "drawn", "False", "refused"]


# Feeding


def numbers(context):
    return tf.data.Dataset.range(3).map(lambda number: {"image": tf.fill([2, 2], number)})


def test_batches_come_in_order():
    strategy = tf.distribute.get_strategy()
    found = [int(batch["image"][0, 0]) for batch in devices.device_iterator(strategy, numbers)]
    assert found == [0, 1, 2]


@pytest.mark.gpu
@pytest.mark.skipif(not tf.config.list_physical_devices("GPU"), reason="needs a GPU")
def test_batches_are_on_the_gpu_when_they_come():
    batch = next(devices.device_iterator(tf.distribute.get_strategy(), numbers))
    assert "GPU" in batch["image"].device


PATHS = {"PYTHONPATH": os.pathsep.join(map(str, (Path(__file__).parents[2], Path(__file__).parents[3])))}
TRAIN_TWICE = """
import hashlib, sys, tempfile
from pathlib import Path
import numpy as np
from prepared_folders import noise_images, write_prepared
from dr_keras.training import HostConfig, Hooks, TrainingConfig, train
prepared = write_prepared(Path(sys.argv[1]) / "prepared", noise_images(32, 128), (list(range(5)) * 7)[:32])
config = TrainingConfig(image_size=128, width=0.5, epochs=2, batch_size=8)
for name in ("a", "b"):
    run_dir, hosts = Path(sys.argv[1]) / name, HostConfig(deterministic=True)
    folder = train([config], lambda size: prepared, run_dir, hosts=hosts, hooks=Hooks(say=lambda line: None))
    from dr_keras.models.grader_model import load_model
    weights = load_model(folder / "last.keras").get_weights()
    print(hashlib.sha256(b"".join(value.tobytes() for value in weights)).hexdigest())
"""


@pytest.mark.gpu
@pytest.mark.skipif(not tf.config.list_physical_devices("GPU"), reason="needs a GPU")
def test_deterministic_trainings_on_a_gpu_are_equal_to_the_last_bit(tmp_path):
    command = [sys.executable, "-c", TRAIN_TWICE, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=os.environ | PATHS)
    first, second = done.stdout.split()
    assert first == second
