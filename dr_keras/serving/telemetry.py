"""Monitoring: counts for Prometheus, and a log with a line of JSON for every request.

Neither contains anything of a photograph, its file name or its result.
"""

import datetime
import json
import logging
import sys
import traceback

import prometheus_client as prometheus

LOG = logging.getLogger("dr_keras.serving")
_SECONDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
_SIZES = (1, 2, 4, 8, 16, 32, 64)


class Metrics:
    """Prometheus metrics of one server, in a registry of its own.

    Attributes:
        requests: counter of answered requests, by route and status.
        seconds: histogram of the time to the answer, by route.
        batches: histogram of the number of rows in a batch.
    """

    def __init__(self):
        registry = self._registry = prometheus.CollectorRegistry()
        self.requests = prometheus.Counter(
            "dr_keras_requests", "Requests answered.", ["route", "status"], registry=registry
        )
        self.seconds = prometheus.Histogram(
            "dr_keras_request_seconds", "Time to the answer.", ["route"], buckets=_SECONDS, registry=registry
        )
        self.batches = prometheus.Histogram(
            "dr_keras_batch_size", "Rows in a batch.", buckets=_SIZES, registry=registry
        )
        self._queue = prometheus.Gauge("dr_keras_queue_length", "Rows that wait.", registry=registry)

    def watch(self, queue):
        """Makes the length of `queue` a metric; anything with `len` will do."""
        self._queue.set_function(lambda: len(queue))

    def text(self):
        """Returns the metrics in Prometheus' text format: (bytes, content type)."""
        return prometheus.generate_latest(self._registry), prometheus.CONTENT_TYPE_LATEST


def start_log():
    """Sends the log to stderr, each record a line of JSON."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines())
    for name in ("uvicorn", "dr_keras.serving"):
        logger = logging.getLogger(name)
        logger.handlers, logger.propagate = [handler], False
        logger.setLevel(logging.WARNING if name == "uvicorn" else logging.INFO)


class JsonLines(logging.Formatter):
    """Formats a record as JSON: time, level, event, and the fields given as `extra={"fields": {...}}`.

    An exception is logged by its class and its places in the code; its message may quote a request.
    """

    def format(self, record):
        """Returns the line."""
        time = datetime.datetime.fromtimestamp(record.created, datetime.timezone.utc)
        fields = {"time": time.isoformat(timespec="milliseconds"), "level": record.levelname.lower()}
        fields |= {"event": record.getMessage(), **getattr(record, "fields", {})}
        if record.exc_info:
            kind, _, trace = record.exc_info
            frames = traceback.extract_tb(trace)[-6:]
            fields["error"] = kind.__name__
            fields["at"] = [f"{frame.filename.rsplit('/', 1)[-1]}:{frame.lineno}" for frame in frames]
        return json.dumps(fields)
