"""A map over all cores for work on photographs."""

import collections
import concurrent.futures
import multiprocessing
import os
import signal
import threading

import cv2

from dr_keras.errors import InputError

_FEW = 128  # items; fewer are done before processes have started


def map_in_order(function, items, workers=None, progress=None):
    """Yields `function(item)` in order, worked out over several processes.

    Processes are spawned, since a fork would copy the locks of TensorFlow's threads: a program that
    calls this needs the usual `if __name__ == "__main__":`, and `function` must be importable. They end
    with this process, even if it is killed.

    Args:
        function: of one item.
        items: a sequence.
        workers: number of processes; all usable cores if None. One, or few items, stay in this one.
        progress: wraps the iteration as `tqdm.tqdm` does, called with `total`; nothing if None.

    Yields:
        The results.

    Raises:
        InputError: if a process was killed from outside.
    """
    wrap = progress or (lambda results, total: results)
    workers = workers or len(os.sched_getaffinity(0))
    if workers == 1 or len(items) < _FEW:
        yield from wrap(map(function, items), total=len(items))
        return
    context = multiprocessing.get_context("spawn")
    pool = concurrent.futures.ProcessPoolExecutor(workers, mp_context=context, initializer=_start_worker)
    try:
        yield from wrap(pool.map(function, items, chunksize=8), total=len(items))
    except concurrent.futures.process.BrokenProcessPool:
        raise InputError(
            "a worker process was killed, for want of memory perhaps; try fewer --workers"
        ) from None
    finally:
        pool.shutdown(cancel_futures=True)


def batches_ahead(function, items, batch_size):
    """Yields `function(item)` in batches, the next of which is worked out by threads while one is in use.

    Args:
        function: of one item.
        items: a sequence.
        batch_size: items in a batch; the last may have fewer.

    Yields:
        Lists of (item, result), in order.
    """
    pool, ahead = concurrent.futures.ThreadPoolExecutor(), collections.deque()
    try:
        for start in range(0, len(items), batch_size):
            batch = items[start : start + batch_size]
            ahead.append([(item, pool.submit(function, item)) for item in batch])
            if len(ahead) > 1:
                yield [(item, future.result()) for item, future in ahead.popleft()]
        while ahead:
            yield [(item, future.result()) for item, future in ahead.popleft()]
    finally:
        pool.shutdown(cancel_futures=True)  # after Ctrl-C nothing more is begun


def _start_worker():
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent to handle
    cv2.setNumThreads(1)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent():
    multiprocessing.parent_process().join()
    os._exit(1)
