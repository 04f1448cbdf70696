"""Exchanges between processes that train together; a process alone exchanges nothing.

All processes must call these functions, in the same order.
"""

import contextlib
import functools
import hashlib
import re
import time

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
    replicas = strategy.num_replicas_in_sync // number  # of this process; the first one alone contributes
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


class SharedStop:
    """Whether any of the processes was asked to stop; all of them learn it after the same step.

    One process alone just asks. Several would have to wait for one another, and for their devices, to find
    out; they do so about once in `seconds`, and at an epoch's last step. Each measures its own time, but the
    number of steps to the next time follows from the sum over all, and is therefore the same.

    Args:
        strategy: `tf.distribute.Strategy`.
        should_stop: called without arguments after every step.
        seconds: between two exchanges; 0: after every step.
    """

    def __init__(self, strategy, should_stop, seconds=1.0):
        self._strategy, self._should_stop, self._seconds = strategy, should_stop, seconds
        self._asked, self._steps, self._interval = False, 0, 1
        self._start = time.monotonic()

    def __call__(self, last_step):
        """Counts a step; `last_step`: whether it ends an epoch. Returns whether to stop now."""
        self._asked = self._asked or bool(self._should_stop())
        number = place(self._strategy)[1]
        if number == 1:
            return self._asked
        self._steps += 1
        if self._steps < self._interval and not last_step:
            return False
        took = time.monotonic() - self._start
        asked, took = total(self._strategy, np.array([float(self._asked), took]))
        self._interval = steps_between(self._steps, took / number, self._seconds)
        self._steps, self._start = 0, time.monotonic()
        return asked > 0


def steps_between(steps, took, seconds, most=100):
    """Steps that last about so many seconds, if `steps` took `took` seconds: from 1 to `most`."""
    return int(min(max(steps * seconds / max(took, 1e-6), 1), most))


def from_chief(strategy, data=b""):
    """Returns the chief's bytes, on every process; no process goes on before all have called it."""
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
    """Returns the slice of `count` items that is this process' part."""
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
