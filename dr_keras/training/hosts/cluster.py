"""Reads `TF_CONFIG`: which processes train together, and which of them this one is."""

import dataclasses
import json
import re

from dr_keras.errors import InputError

VARIABLE = "TF_CONFIG"
EXAMPLE = '{"cluster": {"worker": ["host0:2222", "host1:2222"]}, "task": {"type": "worker", "index": 0}}'
_JOBS = ("chief", "worker")  # in this order; without a chief, worker 0 acts as one
_ADDRESS = re.compile(r"\S+:\d{1,5}")


@dataclasses.dataclass(frozen=True)
class Cluster:
    """The processes of a training.

    Attributes:
        addresses: `host:port` of each, the chief's first.
        index: which of them this process is.
    """

    addresses: tuple
    index: int

    @property
    def is_chief(self):
        """Whether this process is the one that writes the run folder."""
        return self.index == 0

    def tf_config(self):
        """Text for `TF_CONFIG`, as TensorFlow documents it."""
        task = {"type": "worker", "index": self.index}
        return json.dumps({"cluster": {"worker": list(self.addresses)}, "task": task})


def read_cluster(environment):
    """Reads `TF_CONFIG` as TensorFlow documents it: jobs `worker` and, if wanted, `chief`.

    Args:
        environment: a mapping such as `os.environ`.

    Returns:
        `Cluster`.

    Raises:
        InputError: if the variable is missing, isn't JSON, or names no place in its own cluster.
    """
    if not environment.get(VARIABLE):
        raise InputError(f"{VARIABLE} isn't set: --strategy=multi_worker expects it, such as {EXAMPLE}")
    try:
        config = json.loads(environment[VARIABLE])
    except ValueError as error:
        raise InputError(f"{VARIABLE}: not valid JSON ({error}); expected {EXAMPLE}") from None
    try:
        jobs, task = dict(config["cluster"]), (config["task"]["type"], int(config["task"]["index"]))
        tasks = [(job, index) for job in _JOBS for index in range(len(jobs.get(job, ())))]
        addresses = tuple(str(address) for job in _JOBS for address in jobs.get(job, ()))
    except (KeyError, TypeError, ValueError):
        raise InputError(f"{VARIABLE}: expected a cluster and a task, such as {EXAMPLE}") from None
    strangers = [address for address in addresses if not _ADDRESS.fullmatch(address)]
    if strangers or len(set(addresses)) < len(addresses):
        raise InputError(
            f"{VARIABLE}: expected a different host:port for each process. Received: {', '.join(addresses)}"
        )
    if task not in tasks:
        counts = " and ".join(f"{len(jobs[job])} of type {job}" for job in _JOBS if job in jobs)
        raise InputError(
            f"{VARIABLE}: this process is {task[0]} {task[1]}, but the cluster has {counts or 'no worker'}; "
            "indices start at 0"
        )
    return Cluster(addresses, tasks.index(task))
