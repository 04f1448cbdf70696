"""The server under 64 callers at once, one request in ten of which means harm."""

import collections
import contextlib
import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time

import numpy as np
import pytest
from hostile_photographs import blank_png, mutated
from script_runs import SCRIPTS

# Longer: CALLERS_SECONDS=600 pytest -m slow --numprocesses=0 tests/serving/test_many_callers.py
SECONDS = int(os.environ.get("CALLERS_SECONDS", 60))
CALLERS = 64
GROWTH = 1.15  # of the server's memory, from a third of the time to its end


class Caller(threading.Thread):
    """Asks until the time is over; counts the answers by status, 0 for a connection without one."""

    def __init__(self, number, address, photographs, end):
        super().__init__(daemon=True)
        self.counts, self.wrong = collections.Counter(), []
        self._rng, self._address = np.random.default_rng(number), address
        self._photographs, self._end = photographs, end

    def run(self):
        while time.monotonic() < self._end:
            if self._rng.random() < 0.1:
                self._do_harm()
            else:
                number = int(self._rng.integers(len(self._photographs)))
                self._ask("POST", "/grade", self._photographs[number], number)

    def _ask(self, method, path, body=None, number=None, headers=()):
        connection = http.client.HTTPConnection(*self._address, timeout=120)
        with contextlib.closing(connection):
            try:
                connection.request(method, path, body, dict(headers))
                answer = connection.getresponse()
                content = answer.read()
            except (OSError, http.client.HTTPException):
                self.counts[0] += 1
                return
        self.counts[answer.status] += 1
        if number is not None and answer.status == 200 and json.loads(content)["grade"] is None:
            self.wrong.append(content[:200])

    def _do_harm(self):
        kind, model = int(self._rng.integers(9)), "/v1/models/tiny:predict"
        if kind == 0:
            self._ask("POST", "/grade", mutated(self._photographs, int(self._rng.integers(1 << 30))))
        elif kind == 1:
            self._ask("POST", "/grade", blank_png(12000, 12000))
        elif kind == 2:
            self._ask("POST", model, b'{"instances": ' + b"[" * 5000 + b"]" * 5000 + b"}")
        elif kind == 3:
            self._ask("POST", model, b'{"instances": [' + b'"",' * 200_000 + b'""]}')
        elif kind == 4:
            self._ask("POST", model, self._rng.bytes(2000))
        elif kind == 5:
            self._ask("GET", "/../../etc/passwd")
        elif kind == 6:
            self._ask("POST", "/grade", self._photographs[0], headers={"Origin": "http://elsewhere"})
        else:  # a request that is never finished
            with contextlib.suppress(OSError), socket.create_connection(self._address, timeout=10) as bare:
                bare.sendall(b"POST /grade HTTP/1.1\r\nHost: a\r\nContent-Length: 90000\r\n\r\n"[: 20 * kind])
                time.sleep(float(self._rng.uniform(0, 3)))


def resident(process):
    """MB that a process holds."""
    with open(f"/proc/{process.pid}/status") as file:
        return int(re.search(r"VmRSS:\s+(\d+)", file.read())[1]) / 1000


@pytest.mark.slow
@pytest.mark.timeout(SECONDS + 300)
def test_many_callers_of_whom_some_mean_harm(tiny_model, photographs, tmp_path):
    kept = tmp_path / "kept"
    command = [sys.executable, str(SCRIPTS / "serve.py"), f"--model={tiny_model}", "--name=tiny", "--port=0"]
    with open(tmp_path / "log", "wb") as log:
        process = subprocess.Popen(
            [*command, f"--save_dir={kept}"], stdout=subprocess.PIPE, stderr=log, text=True
        )
        with process:
            try:
                host, port = re.search(r"http://([\d.]+):(\d+)/", process.stdout.readline()).groups()
                end = time.monotonic() + SECONDS
                callers = [Caller(n, (host, int(port)), photographs, end) for n in range(CALLERS)]
                for caller in callers:
                    caller.start()
                time.sleep(SECONDS / 3)
                early = resident(process)
                for caller in callers:
                    caller.join(SECONDS + 150)
                late = resident(process)
                assert process.poll() is None and not any(caller.is_alive() for caller in callers)
            finally:
                process.send_signal(signal.SIGTERM)
    counts = sum((caller.counts for caller in callers), collections.Counter())
    print(f"{dict(counts)}, {early:.0f} MB, {late:.0f} MB at the end")
    assert process.returncode == 0 and b"Traceback" not in (tmp_path / "log").read_bytes()
    assert not [caller.wrong for caller in callers if caller.wrong]
    assert not [status for status in counts if status >= 500 and status not in (503, 504)], counts
    assert counts[200] > SECONDS and counts[400] and counts[403]
    assert late < GROWTH * early, (early, late)
    results = sorted(kept.glob("*.json"))
    assert len(results) == counts[200] and len(list(kept.iterdir())) == 2 * len(results)
    assert all(json.loads(path.read_text())["gradable"] in (True, False) for path in results)
    whole = sum(path.with_suffix(".jpg").read_bytes() in photographs for path in results)
    assert whole > 0.85 * len(results)  # the others came damaged
