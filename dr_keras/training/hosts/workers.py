"""What the processes that train together tell one another; one process alone talks to nobody.

Everything here is called by all of them, in the same order.
"""

import contextlib
import functools
import hashlib
import re

import numpy as np
import tensorflow as tf

from dr_keras.errors import InputError
from dr_keras.training.hosts.cluster import VARIABLE

_JOBS = ("chief", "worker")
_LOSS = (
    tf.errors.UnavailableError,
    tf.errors.AbortedError,
    tf.errors.CancelledError,
    tf.errors.DeadlineExceededError,
)


class WorkerLost(Exception):
    """Another process of the training ended or can't be reached."""


def place(strategy):
    """(index, number) of this process among those that train together; the chief is 0."""
    resolver = strategy.cluster_resolver
    jobs = resolver.cluster_spec().as_dict() if resolver else {}
    tasks = [(job, index) for job in _JOBS for index in range(len(jobs.get(job, ())))]
    return (tasks.index((resolver.task_type, resolver.task_id)), len(tasks)) if tasks else (0, 1)


def is_chief(strategy):
    """Whether this process is the one that writes the run folder."""
    return place(strategy)[0] == 0


def total(strategy, array):
    """Sum of an array over the processes: each gives its own, of the same shape; all get the sum.

    Args:
        strategy: `tf.distribute.Strategy`.
        array: float64 or int64.
    """
    number = place(strategy)[1]
    if number == 1:
        return array
    replicas = strategy.num_replicas_in_sync // number  # of this process: the first speaks for it
    values = strategy.experimental_distribute_values_from_function(
        lambda context: tf.constant(array * (context.replica_id_in_sync_group % replicas == 0))
    )
    return strategy.experimental_local_results(_adder(strategy)(values))[0].numpy()


@functools.cache
def _adder(strategy):
    """Compiled once: `strategy.reduce` outside a compiled function is traced at each call, some 20 ms."""

    def add(value):
        context = tf.distribute.get_replica_context()
        return context.all_reduce(tf.distribute.ReduceOp.SUM, tf.identity(value))

    return tf.function(lambda values: strategy.run(add, (values,)), reduce_retracing=True)


def from_chief(strategy, data=b""):
    """The chief's bytes, on every process. Nobody goes on before all have come here."""
    index, number = place(strategy)
    if number == 1:
        return data
    data = data if index == 0 else b""
    length = int(total(strategy, np.array([len(data)]))[0])
    words = np.zeros(length // 8 + 1, np.int64)
    words.view(np.uint8)[: len(data)] = np.frombuffer(data, np.uint8)
    return total(strategy, words).tobytes()[:length]


def chief_first(strategy, function):
    """Returns `function()`: the chief calls it first, then the others, which may find what it wrote."""
    if is_chief(strategy):
        result = function()
        from_chief(strategy)
        return result
    from_chief(strategy)
    return function()


def share(strategy, count):
    """slice of `count` things that is this process' part."""
    index, number = place(strategy)
    return slice(count * index // number, count * (index + 1) // number)


def check_alike(strategy, what, text):
    """Raises `InputError`, on every process, unless all have the same `text` (flags, photographs)."""
    index, number = place(strategy)
    if number == 1:
        return
    digests = np.zeros(number, np.int64)
    digests[index] = int.from_bytes(hashlib.sha256(text.encode()).digest()[:7], "big")
    digests = total(strategy, digests)
    strangers = [str(other) for other in range(number) if digests[other] != digests[0]]
    if strangers:
        raise InputError(
            f"{VARIABLE}: worker {', '.join(strangers)} has other {what} than worker 0; "
            "expected the same on all"
        )


@contextlib.contextmanager
def losses_named(strategy):
    """Turns TensorFlow's report of a process that is gone into a `WorkerLost` of one line."""
    try:
        yield
    except _LOSS as error:
        if place(strategy)[1] == 1:
            raise
        raise WorkerLost(_loss_line(strategy, str(error))) from None


def _loss_line(strategy, message):
    resolver, who = strategy.cluster_resolver, "another worker"
    for job, index in re.findall(r"/job:(\w+)(?:/replica:\d+)?/task:(\d+)", message):
        if (job, int(index)) != (resolver.task_type, resolver.task_id):
            who = f"{job} {index} ({resolver.cluster_spec().task_address(job, int(index))})"
            break
    return f"{who} is gone; all started again with the same flags, the training goes on from its last epoch"
