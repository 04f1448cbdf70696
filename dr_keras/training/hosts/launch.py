"""Starts several processes on one machine that train together, to try out a training on several hosts."""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time

from dr_keras.errors import InputError
from dr_keras.training.hosts.cluster import VARIABLE, Cluster

_POLL = 0.1  # seconds
_GRACE = 30  # seconds from the request to end to the kill


def run_workers(command, number):
    """Runs a command in several processes, each with its `TF_CONFIG` on free loopback ports.

    Each gets its own share of the cores; otherwise each would start a thread for every core, and they would
    wait for one another.

    What they print is passed on line by line, with the process' number before it. The first that fails
    ends the others; Ctrl-C and SIGTERM are passed on to all.

    Args:
        command: list of str.
        number: number of processes.

    Returns:
        0, or the exit status of the first that failed; 128 and more for one that a signal ended.

    Raises:
        InputError: if there is no such command.
    """
    if shutil.which(command[0]) is None:
        raise InputError(
            f"{command[0]}: no such command; expected one after --, such as python scripts/train.py"
        )
    addresses = tuple(f"127.0.0.1:{port}" for port in free_ports(number))
    processes = [
        _start(command, Cluster(addresses, index), cores) for index, cores in enumerate(share_cores(number))
    ]
    forwarders = [
        threading.Thread(target=_forward, args=(source, f"[{index}] ", sink))
        for index, process in enumerate(processes)
        for source, sink in ((process.stdout, sys.stdout), (process.stderr, sys.stderr))
    ]
    handlers = {
        name: signal.signal(name, lambda number, frame: _send(processes, number))
        for name in (signal.SIGINT, signal.SIGTERM)
    }
    try:
        for thread in forwarders:
            thread.start()
        status = _first_failure(processes)
        _end(processes)
        for thread in forwarders:
            thread.join()
    finally:
        _kill(processes)
        for name, handler in handlers.items():
            signal.signal(name, handler)
    return status


def free_ports(number):
    """List of free ports of the loopback address."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(number)]
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


def share_cores(number):
    """Sets of cores, one for each process; shared where there are more processes than cores."""
    cores = sorted(os.sched_getaffinity(0))
    return [set(cores[index::number] or cores) for index in range(number)]


def _start(command, cluster, cores):
    """Starts a process in its own session, so that Ctrl-C on the terminal reaches it once, through us."""
    environment = os.environ | {VARIABLE: cluster.tf_config(), "PYTHONUNBUFFERED": "1"}
    with on_cores(cores):
        return subprocess.Popen(
            command, env=environment, text=True, errors="replace", start_new_session=True,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip


@contextlib.contextmanager
def on_cores(cores):
    """Processes that are started in the block run on these cores only."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def _forward(source, prefix, sink):
    for line in source:
        if line.strip():  # a bar that is redrawn begins its line with a return
            sink.write(f"{prefix}{line.rstrip()}\n")
            sink.flush()


def _first_failure(processes):
    """Waits until all have ended well, or one hasn't. Returns its status as a shell gives it."""
    running = dict(enumerate(processes))
    while running:
        time.sleep(_POLL)
        for index, process in list(running.items()):
            if process.poll() is not None:
                del running[index]
            if process.returncode:
                status = process.returncode if process.returncode > 0 else 128 - process.returncode
                if running:
                    print(f"worker {index} ended with status {status}; ending the others", file=sys.stderr)
                return status
    return 0


def _send(processes, number):
    for process in processes:
        if process.poll() is None:
            process.send_signal(number)


def _end(processes):
    _send(processes, signal.SIGTERM)
    deadline = time.monotonic() + _GRACE
    while time.monotonic() < deadline and any(process.poll() is None for process in processes):
        time.sleep(_POLL)
    _kill(processes)


def _kill(processes):
    """Kills the processes that still run, with their own children."""
    for process in processes:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
