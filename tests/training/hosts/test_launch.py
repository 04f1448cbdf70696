"""`scripts/launch_workers.py` with processes that only tell what they were given."""

import os
import signal
import subprocess
import sys
import time

import pytest
from script_runs import check_refused, command, run

SHOW = """
import json, os
config = json.loads(os.environ["TF_CONFIG"])
print(config["task"]["index"], *config["cluster"]["worker"])
"""
CORES = """
import os
print(*os.sched_getaffinity(0))
"""
ONE_FAILS = """
import json, os, sys, time
index = json.loads(os.environ["TF_CONFIG"])["task"]["index"]
print("worker", index, "works", file=sys.stderr)
if index == 1:
    time.sleep(0.5)
    {end}
time.sleep(100)
"""
OWN_END = """
import signal, sys, time
signal.signal(signal.SIGTERM, lambda *_: sys.exit(130))
signal.signal(signal.SIGINT, lambda *_: sys.exit(131))
print("ready", flush=True)
time.sleep(100)
"""


def launch(code, number=2):
    return ("launch_workers", f"--workers={number}", "--", sys.executable, "-c", code)


def test_each_is_told_its_place():
    done = run(*launch(SHOW, 3))
    assert done.returncode == 0, done.stderr
    lines = sorted(line.split() for line in done.stdout.splitlines())
    assert [line[:2] for line in lines] == [[f"[{index}]", str(index)] for index in range(3)]
    (addresses,) = {tuple(line[2:]) for line in lines}
    assert len(set(addresses)) == 3 and all(address.startswith("127.0.0.1:") for address in addresses)


@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="a single core")
def test_each_has_cores_of_its_own():
    before = os.sched_getaffinity(0)
    lines = run(*launch(CORES)).stdout.splitlines()
    first, second = (set(map(int, line.split()[1:])) for line in lines)
    assert first and second and not first & second and first | second == before
    assert os.sched_getaffinity(0) == before


@pytest.mark.parametrize(
    "end, status", [("sys.exit(7)", 7), ("os.kill(os.getpid(), 9)", 137)], ids=["fails", "is killed"]
)
def test_the_first_that_fails_ends_the_others(end, status):
    started = time.monotonic()
    done = run(*launch(ONE_FAILS.format(end=end)))
    assert done.returncode == status and time.monotonic() - started < 60
    lines = done.stderr.splitlines()
    assert {"[0] worker 0 works", "[1] worker 1 works"} <= set(lines)
    assert f"worker 1 ended with status {status}; ending the others" in lines


@pytest.mark.parametrize("number, status", [(signal.SIGTERM, 130), (signal.SIGINT, 131)])
def test_signals_are_passed_on(number, status):
    process = subprocess.Popen(command(*launch(OWN_END)), text=True, stdout=subprocess.PIPE)
    assert sorted(process.stdout.readline() for _ in range(2)) == ["[0] ready\n", "[1] ready\n"]
    process.send_signal(number)
    assert process.wait(timeout=60) == status
    process.stdout.close()


def test_a_missing_command_is_one_line():
    check_refused(run("launch_workers", "--workers=2"), "expected a command after --")
    check_refused(run("launch_workers", "--", "no-such-program"), "no-such-program: no such command")
