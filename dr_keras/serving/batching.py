"""Gathers rows of several requests into one batch for the model."""

import asyncio
import collections
import concurrent.futures
import dataclasses
from typing import Any

from dr_keras.serving.refusal import Refused

_MOST_PACES = 64  # keys for which the seconds that a row took are remembered


@dataclasses.dataclass
class _Waiting:
    key: Any
    row: Any
    cost: float
    arrived: float
    result: asyncio.Future


class Batcher:
    """A queue in front of a function that works on one batch at a time, in a thread of its own.

    Args:
        function: (key, rows) -> a result for each row; all rows of a batch have the same key.
        max_batch: largest number of rows in a batch.
        max_wait: seconds that the first row of a batch waits for others, at most.
        max_queue: largest number of rows that wait.
        max_cost: largest sum of the rows' costs in a batch; a row that costs more goes alone.
        max_delay: longest time in the queue, in seconds, as estimated from the last batches.
        observe: called with the number of rows of every batch, unless None.
    """

    def __init__(
        self,
        function,
        max_batch=16,
        max_wait=0.005,
        max_queue=64,
        max_cost=float("inf"),
        max_delay=float("inf"),
        observe=None,
    ):
        self._function, self._observe = function, observe or (lambda count: None)
        self._max_batch, self._max_wait = max_batch, max_wait
        self._max_queue, self._max_cost = max_queue, max_cost
        self._max_delay, self._pace = max_delay, collections.defaultdict(float)
        self._waiting = collections.deque()
        self._changed, self._closing = asyncio.Event(), False
        self._thread = concurrent.futures.ThreadPoolExecutor(1)
        self._worker = asyncio.create_task(self._work())

    def __len__(self):
        """Number of rows that wait."""
        return len(self._waiting)

    async def submit(self, key, rows, costs=None):
        """Waits for the results of rows.

        Args:
            key: hashable; rows share a batch only if their keys are equal.
            rows: list of one row or more.
            costs: list of a number for each row; all are 0 if None.

        Returns:
            List of results.

        Raises:
            Refused: 413 for more rows than the queue holds, 503 while it is full or closing.
        """
        if len(rows) > self._max_queue:
            raise Refused(413, f"{len(rows)} photographs in a request, expected at most {self._max_queue}")
        if self._closing:
            raise Refused(503, "the server is shutting down", retry_after=5)
        if len(self._waiting) + len(rows) > self._max_queue:
            raise Refused(503, f"the queue is full ({self._max_queue} photographs); try again", retry_after=1)
        delay = sum(self._pace[item.key] for item in self._waiting)
        if delay > self._max_delay:
            raise Refused(503, f"the queue is full ({delay:.1f} seconds long); try again", retry_after=1)
        loop = asyncio.get_running_loop()
        items = [
            _Waiting(key, row, cost, loop.time(), loop.create_future())
            for row, cost in zip(rows, costs or [0] * len(rows), strict=True)
        ]
        self._waiting.extend(items)
        self._changed.set()
        return await asyncio.gather(*(item.result for item in items))

    async def close(self):
        """Finishes the rows that wait, and ends the thread."""
        self._closing = True
        self._changed.set()
        await self._worker
        self._thread.shutdown()

    async def _work(self):
        while await self._is_due():
            batch = self._take()
            try:
                results = await self._run(batch) if batch else ()
                for item, result in zip(batch, results, strict=True):
                    if not item.result.done():
                        item.result.set_result(result)
            except Exception as error:  # for those who wait for the batch; this only worker goes on
                for item in batch:
                    if not item.result.done():
                        item.result.set_exception(error)

    async def _run(self, batch):
        """Returns the function's results on a batch."""
        loop, rows = asyncio.get_running_loop(), [item.row for item in batch]
        self._observe(len(batch))
        start = loop.time()
        try:
            return await loop.run_in_executor(self._thread, self._function, batch[0].key, rows)
        finally:
            if len(self._pace) > _MOST_PACES:
                self._pace.clear()
            self._pace[batch[0].key] = (loop.time() - start) / len(batch)

    async def _is_due(self):
        """Waits until a batch should start; returns False once the queue is closed and empty."""
        loop = asyncio.get_running_loop()
        while not self._closing:
            wait = None
            if self._waiting:
                wait = self._waiting[0].arrived + self._max_wait - loop.time()
                alike = sum(item.key == self._waiting[0].key for item in self._waiting)
                if wait <= 0 or alike >= self._max_batch:
                    return True
            self._changed.clear()
            try:
                await asyncio.wait_for(self._changed.wait(), wait)
            except TimeoutError:
                return True
        return bool(self._waiting)

    def _take(self):
        """Removes the next batch: the first row, and those of its key for which there is room."""
        batch, left, cost = [], collections.deque(), 0
        for item in self._waiting:
            if item.result.done():  # given up by its caller
                continue
            fits = not batch or (
                item.key == batch[0].key
                and len(batch) < self._max_batch
                and cost + item.cost <= self._max_cost
            )
            (batch if fits else left).append(item)
            cost += item.cost * fits
        self._waiting = left
        return batch
