"""A `map` over processes that leave nothing behind."""

import concurrent.futures
import contextlib
import functools
import multiprocessing
import os
import signal
import threading

import cv2

from dr_keras.errors import InputError

_WORTH_A_POOL = 64  # photographs; fewer are done before other processes have started
_CHUNK = 8


@contextlib.contextmanager
def process_map(num_items, workers=None):
    """Gives a `map` that keeps the order: over processes, or in this one for few items.

    Processes are spawned, since a fork would copy the locks of TensorFlow's threads: a program that calls
    this needs the usual `if __name__ == "__main__":`. They end with this one, even if it is killed.

    Args:
        num_items: how many items there will be.
        workers: number of processes; one per usable core if None. 1 stays in this process.

    Raises:
        InputError: if a process was killed from outside.
    """
    workers = workers or len(os.sched_getaffinity(0))
    if workers == 1 or num_items < _WORTH_A_POOL:
        yield map
        return
    context = multiprocessing.get_context("spawn")
    pool = concurrent.futures.ProcessPoolExecutor(workers, mp_context=context, initializer=_start_worker)
    try:
        yield functools.partial(pool.map, chunksize=_CHUNK)
    except concurrent.futures.process.BrokenProcessPool:
        raise InputError("a worker process was killed, for want of memory perhaps; try fewer --workers") from None
    finally:
        pool.shutdown(cancel_futures=True)


def _start_worker():
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent to handle
    cv2.setNumThreads(1)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent():
    multiprocessing.parent_process().join()
    os._exit(1)
