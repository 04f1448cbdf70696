"""SIGTERM and Ctrl-C as a polite request."""

import signal
import sys


class StopRequest:
    """Context in which SIGINT and SIGTERM only set a flag; called, it says whether one came.

    A second signal gets the usual treatment, so that a stuck program can still be stopped.
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
