"""Turns SIGTERM and Ctrl-C into a request to stop that a loop can ask for."""

import signal
import sys


class StopRequest:
    """Context in which SIGINT and SIGTERM only set a flag; calling it tells whether one was received.

    A second signal has its usual effect, so that a stuck program can still be stopped.
    """

    def __init__(self):
        self._requested = False
        self._previous = {}

    def __enter__(self):
        for number in (signal.SIGINT, signal.SIGTERM):
            self._previous[number] = signal.signal(number, self._on_signal)
        return self

    def __exit__(self, *exc_info):
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def __call__(self):
        return self._requested

    def _on_signal(self, number, frame):
        self._requested = True
        print("stopping after this step; once more ends at once", file=sys.stderr, flush=True)
        signal.signal(number, self._previous[number])
