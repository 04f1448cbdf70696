"""What this machine computes on and how: devices, strategies, precision, determinism, feeding."""

import contextlib
import os
from pathlib import Path

import keras
import tensorflow as tf

from dr_keras.errors import InputError
from dr_keras.training.hosts.cluster import VARIABLE, read_cluster

_BFLOAT16_FLAGS = {"avx512_bf16", "amx_bf16"}  # in /proc/cpuinfo: the CPU multiplies bfloat16 natively
_FIRST_BFLOAT16_GPU = (8, 0)  # CUDA compute capability of Ampere


def choose_strategy(name):
    """Returns the `tf.distribute.Strategy`: "auto" is mirrored if there is more than one GPU.

    Args:
        name: one of `config.STRATEGIES`. "mirrored" takes all GPUs, or else all logical CPU devices;
            "multi_worker" those of all processes that `TF_CONFIG` names, and waits for them. It has to
            be the first thing that TensorFlow is asked for.

    Raises:
        InputError: if `TF_CONFIG` is wrong or its address can't be listened on.
    """
    if name == "multi_worker":
        return _multi_worker()
    gpus = tf.config.list_logical_devices("GPU")
    devices = [device.name for device in gpus or tf.config.list_logical_devices("CPU")]
    if name == "mirrored" or (name == "auto" and len(gpus) > 1):
        return tf.distribute.MirroredStrategy(devices)
    return tf.distribute.get_strategy()


def _multi_worker():
    cluster = read_cluster(os.environ)
    tf.get_logger().setLevel("WARNING")  # the strategy logs every collective operation
    try:
        return tf.distribute.MultiWorkerMirroredStrategy()
    except tf.errors.OpError as error:
        address, reason = cluster.addresses[cluster.index], " ".join(str(error.message).split())
        raise InputError(f"{VARIABLE}: worker {cluster.index} can't join from {address} ({reason})") from None


def set_numerics(deterministic=False):
    """Says how this process computes, before it builds anything.

    By default GPUs may add in any order and multiply float32 as TF32 (10 bits of mantissa), which is faster.
    Deterministic, the same operations on the same GPU give the same bits, and float32 is float32; a random
    operation without a seed is then an error. There is no way back within the process. CPUs have no TF32, and
    results that repeat in any case.
    """
    tf.config.experimental.enable_tensor_float_32_execution(not deterministic)
    if deterministic:
        tf.config.experimental.enable_op_determinism()


def device_iterator(strategy, batches):
    """Iterates over batches that are already on their devices when they are asked for.

    Args:
        strategy: `tf.distribute.Strategy`.
        batches: called with a `tf.distribute.InputContext`; returns the `tf.data.Dataset` of its batches.
    """
    dataset = strategy.distribute_datasets_from_function(batches)
    gpus = tf.config.list_logical_devices("GPU")
    if gpus and isinstance(dataset, tf.data.Dataset):  # a strategy of several devices copies ahead by itself
        dataset = dataset.apply(tf.data.experimental.prefetch_to_device(gpus[0].name))
    return iter(dataset)


def choose_precision(name):
    """Returns a Keras dtype policy: "auto" is mixed_bfloat16 where the device computes in it."""
    if name != "auto":
        return name
    return "mixed_bfloat16" if _has_bfloat16() else "float32"


def _has_bfloat16():
    gpus = tf.config.list_physical_devices("GPU")
    if gpus:
        details = [tf.config.experimental.get_device_details(gpu) for gpu in gpus]
        return all(detail.get("compute_capability", (0, 0)) >= _FIRST_BFLOAT16_GPU for detail in details)
    with contextlib.suppress(OSError):
        return bool(_BFLOAT16_FLAGS & set(Path("/proc/cpuinfo").read_text().split()))
    return False


@contextlib.contextmanager
def precision_scope(policy):
    """Builds Keras layers under a dtype policy, and puts the caller's back."""
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(policy)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)


def check_batch_size(batch_size, strategy):
    """Raises `InputError` unless the global batch divides evenly over the replicas."""
    if batch_size % strategy.num_replicas_in_sync:
        raise InputError(
            f"--batch_size={batch_size}: expected a multiple of the {strategy.num_replicas_in_sync} devices"
        )
