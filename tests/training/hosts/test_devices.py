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
