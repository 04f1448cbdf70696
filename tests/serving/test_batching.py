import asyncio
import threading
import time

import pytest

from dr_keras.serving.batching import Batcher
from dr_keras.serving.refusal import Refused


class Work:
    """Doubles rows; notes the batches; waits while the gate is shut."""

    def __init__(self):
        self.batches, self.gate = [], threading.Event()
        self.gate.set()

    def __call__(self, key, rows):
        self.gate.wait(20)
        self.batches.append((key, list(rows)))
        if key == "broken":
            raise ZeroDivisionError
        return [2 * row for row in rows]


def run(scenario, **options):
    """Runs a coroutine function of (batcher, work) with a batcher; returns its work."""

    async def main():
        work = Work()
        batcher = Batcher(work, **options)
        await scenario(batcher, work)
        work.gate.set()
        await batcher.close()
        return work

    return asyncio.run(asyncio.wait_for(main(), 30))


async def blocked(batcher, work):
    """Shuts the gate behind a first batch of one row, so that what follows has to wait."""
    work.gate.clear()
    first = asyncio.create_task(batcher.submit("a", [0]))
    while not batcher._waiting:
        await asyncio.sleep(0)
    while len(batcher):
        await asyncio.sleep(0.001)
    return first


def test_callers_share_batches_of_their_key_and_get_their_own_rows():
    async def scenario(batcher, work):
        first = await blocked(batcher, work)
        calls = [batcher.submit("a", [1, 2]), batcher.submit("b", [3]), batcher.submit("a", [4, 5, 6])]
        calls = [asyncio.create_task(call) for call in calls]
        await asyncio.sleep(0)
        work.gate.set()
        assert await asyncio.gather(first, *calls) == [[0], [2, 4], [6], [8, 10, 12]]

    work = run(scenario, max_batch=4)
    assert work.batches == [("a", [0]), ("a", [1, 2, 4, 5]), ("b", [3]), ("a", [6])]


def test_first_row_waits_for_others():
    async def scenario(batcher, work):
        calls = [asyncio.create_task(batcher.submit("a", [1]))]
        await asyncio.sleep(0.02)
        calls.append(asyncio.create_task(batcher.submit("a", [2])))
        await asyncio.gather(*calls)

    assert run(scenario, max_wait=5, max_batch=2).batches == [("a", [1, 2])]
    assert run(scenario, max_wait=0).batches == [("a", [1]), ("a", [2])]


def test_full_queue_refuses_and_then_serves_again():
    async def scenario(batcher, work):
        first = await blocked(batcher, work)
        second = asyncio.create_task(batcher.submit("a", [1, 2, 3]))
        await asyncio.sleep(0)
        with pytest.raises(Refused, match="queue is full") as error:
            await batcher.submit("a", [4, 5])
        assert error.value.status == 503 and error.value.retry_after == 1
        with pytest.raises(Refused, match="5 photographs in a request, expected at most 4") as error:
            await batcher.submit("a", [0] * 5)
        assert error.value.status == 413
        work.gate.set()
        assert await first == [0] and await second == [2, 4, 6]
        assert await batcher.submit("a", [4, 5]) == [8, 10]

    run(scenario, max_queue=4)


def test_costly_rows_go_apart():
    async def scenario(batcher, work):
        first = await blocked(batcher, work)
        call = asyncio.create_task(batcher.submit("a", [1, 2, 3, 4], [6, 5, 4, 99]))
        await asyncio.sleep(0)
        work.gate.set()
        await asyncio.gather(first, call)

    assert run(scenario, max_cost=10).batches[1:] == [("a", [1, 3]), ("a", [2]), ("a", [4])]


def test_error_reaches_its_callers_only():
    async def scenario(batcher, work):
        with pytest.raises(ZeroDivisionError):
            await batcher.submit("broken", [1, 2])
        assert await batcher.submit("a", [1]) == [2]

    run(scenario)


def test_nothing_that_goes_wrong_ends_the_worker():
    """A function that returns too few results, and an observer that fails."""

    async def main():
        fails = []

        def observe(count):
            if fails:
                raise fails.pop()

        batcher = Batcher(lambda key, rows: rows[: 1 if key == "short" else None], observe=observe)
        with pytest.raises(ValueError, match="shorter"):
            await batcher.submit("short", [1, 2])
        fails.append(ZeroDivisionError())
        with pytest.raises(ZeroDivisionError):
            await batcher.submit("a", [1])
        assert await batcher.submit("a", [3]) == [3]
        await batcher.close()

    asyncio.run(asyncio.wait_for(main(), 10))


def test_rows_that_were_given_up_are_not_run():
    async def scenario(batcher, work):
        first = await blocked(batcher, work)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(batcher.submit("a", [1, 2]), 0.01)
        work.gate.set()
        await first
        assert await batcher.submit("a", [3]) == [6]

    assert run(scenario).batches == [("a", [0]), ("a", [3])]


def test_close_finishes_what_waits_and_takes_no_more():
    async def scenario(batcher, work):
        first = await blocked(batcher, work)
        second = asyncio.create_task(batcher.submit("a", [1]))
        await asyncio.sleep(0)
        closing = asyncio.create_task(batcher.close())
        await asyncio.sleep(0)
        with pytest.raises(Refused, match="shutting down"):
            await batcher.submit("a", [2])
        work.gate.set()
        await closing
        assert await first == [0] and await second == [2]

    run(scenario)


def test_who_would_wait_too_long_is_turned_away_at_once():
    """Rows take 0.05 s each: no more are taken than are done in 0.2 s, and one more."""

    def slow(key, rows):
        time.sleep(0.05 * len(rows))
        return rows

    async def main():
        batcher = Batcher(slow, max_batch=2, max_wait=0.0, max_delay=0.2)
        await batcher.submit("a", [0, 0])
        answers = await asyncio.gather(*(batcher.submit("a", [k]) for k in range(20)), return_exceptions=True)
        refused = [answer for answer in answers if isinstance(answer, Refused)]
        assert 1 <= 20 - len(refused) <= 5 and {answer.status for answer in refused} == {503}
        assert await batcher.submit("a", [7]) == [7]
        await batcher.close()

    asyncio.run(asyncio.wait_for(main(), 30))
