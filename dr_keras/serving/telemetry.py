"""What the server tells of itself: counts for Prometheus, and a line of JSON for every request.

Neither has anything of a photograph, its name or its result in it.
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
    """Counts of one server, each in a registry of its own.

    Attributes:
        requests: by route and status; `seconds`: by route.
        batches: rows of each batch.
        photographs: by what became of them: graded, no_retina, or refused.
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
        """Reports the length of `queue`."""
        self._queue.set_function(lambda: len(queue))

    def text(self):
        """What Prometheus reads: (bytes, content type)."""
        return prometheus.generate_latest(self._registry), prometheus.CONTENT_TYPE_LATEST


def start_log():
    """Sends the log to stderr, a line of JSON each."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines())
    for name in ("uvicorn", "dr_keras.serving"):
        logger = logging.getLogger(name)
        logger.handlers, logger.propagate = [handler], False
        logger.setLevel(logging.WARNING if name == "uvicorn" else logging.INFO)


class JsonLines(logging.Formatter):
    """A record as JSON: time, level, event, and the fields given as `extra={"fields": {...}}`.

    Of an exception it has the kind and the places in the code, since its words may quote a request.
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
