"""Runs a Beam pipeline on a chosen engine, shows its progress, and reports failures in one line."""

import collections
import contextlib
import dataclasses
import json
import logging
import os
import re
import shlex
import sys
import threading

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.portability.api import beam_provision_api_pb2
from apache_beam.runners.portability.fn_api_runner import fn_runner
from apache_beam.runners.portability.portable_runner import JobServiceHandle
from apache_beam.transforms.environments import SubprocessSDKEnvironment

from dr_keras.beam import worker
from dr_keras.errors import InputError

EMBEDDED = "DirectRunner"
_FULL_NAMES = {"DaskRunner": "apache_beam.runners.dask.dask_runner.DaskRunner"}  # Beam needs its path
_POLL_SECONDS = 0.5
_TOLD = re.compile(r"<told>(\{\".*?\})</told>")  # doesn't match this module's own code in a traceback


@dataclasses.dataclass(frozen=True)
class Engine:
    """The engine that runs a pipeline.

    Attributes:
        runner: Beam's name of the engine.
        workers: number of processes of the embedded engine, 1 for this process alone; None for one a core.
        arguments: tuple of Beam's own flags, of the form "--flink_master=HOST:PORT".
    """

    runner: str = EMBEDDED
    workers: int | None = None
    arguments: tuple = ()


def run(build, engine, folder, awaited, progress=None):
    """Runs a pipeline to its end.

    Args:
        build: called with the `beam.Pipeline`; adds the transforms.
        engine: `Engine`.
        folder: the folder that the pipeline writes to.
        awaited: dict of each file name that it will write there to the number of photographs in that file.
        progress: wraps an iteration over all these photographs as `tqdm.tqdm` does, called with `total`.

    Raises:
        InputError: if a worker raised one (see `telling`), the pipeline was stopped, or files of `awaited`
            are missing.
        OSError: if a worker couldn't write.
    """
    options, runner = _options_and_runner(engine)
    quiet = _quiet() if engine.runner == EMBEDDED else contextlib.nullcontext()
    with quiet, _bar(folder, awaited, progress), _lost_workers() as lost:
        running = _Running(lambda: _run_pipeline(build, options, runner))
        while running.is_alive():
            running.join(_POLL_SECONDS)
            if lost:  # Beam would wait for the lost worker for ever
                raise InputError(
                    "a worker process was killed, for want of memory perhaps; try fewer --workers"
                )
    if running.error is not None:
        _raise_told(running.error)
        raise running.error
    state = running.result
    if state not in (None, "DONE"):
        raise InputError(f"--runner={engine.runner}: the pipeline ended as {state}; its log says why")
    absent = sorted(awaited.keys() - set(os.listdir(folder)))
    if absent:
        raise InputError(
            f"--runner={engine.runner}: the pipeline ended, but {folder} lacks {len(absent)} of "
            f"{len(awaited)} files, such as {absent[0]}; expected all workers to see it under this name"
        )


@contextlib.contextmanager
def telling():
    """In a worker, passes errors that a user can fix (`InputError`, `OSError`) on to `run`, on any engine."""
    try:
        yield
    except OSError as error:
        if error.errno is None:
            raise
        told = {"errno": error.errno, "file": str(error.filename)}
    except InputError as error:
        told = {"line": str(error)}
    else:
        return
    raise RuntimeError(f"<told>{json.dumps(told)}</told>")


class _Running(threading.Thread):
    """Runs a function in a thread that doesn't delay exit; afterwards it has the `result` or the `error`."""

    def __init__(self, function):
        super().__init__(daemon=True)
        self._function, self.result, self.error = function, None, None
        self.start()

    def run(self):
        try:
            self.result = self._function()
        except BaseException as error:
            self.error = error


def _run_pipeline(build, options, runner):
    pipeline = beam.Pipeline(runner, options)
    build(pipeline)
    return pipeline.run().wait_until_finish()


def _options_and_runner(engine):
    if engine.runner != EMBEDDED:
        name = _FULL_NAMES.get(engine.runner, engine.runner)
        return PipelineOptions([f"--runner={name}", *engine.arguments]), None
    # Beam's own DirectRunner would first download another runner and try that one.
    workers = engine.workers or len(os.sched_getaffinity(0))
    options = PipelineOptions([f"--direct_num_workers={workers}", *engine.arguments])
    encoded = JobServiceHandle.encode_pipeline_options(options.get_all_options())
    information = beam_provision_api_pb2.ProvisionInfo(pipeline_options=encoded)
    environment = None
    if workers > 1:
        environment = SubprocessSDKEnvironment.from_command_string(
            f"exec {shlex.quote(sys.executable)} -m {worker.__name__} {os.getpid()} 2> /dev/null"
        )
    return options, fn_runner.FnApiRunner(
        environment, provision_info=fn_runner.ExtendedProvisionInfo(information)
    )


def _raise_told(error):
    found = _TOLD.search(str(error))
    if not found:
        return
    told = json.loads(found[1])
    if "line" in told:
        raise InputError(told["line"]) from None
    raise OSError(told["errno"], os.strerror(told["errno"]), told["file"]) from None


@contextlib.contextmanager
def _quiet():
    """Silences Beam's log: the embedded engine also raises its errors, and `run` reports them once."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        yield
    finally:
        logging.disable(before)


@contextlib.contextmanager
def _lost_workers():
    """Yields a list to which an error is added when a thread of Beam finds that its worker process ended."""
    lost, before = [], threading.excepthook

    def hook(arguments):
        if "Worker subprocess exited" in str(arguments.exc_value):
            lost.append(arguments.exc_value)

    threading.excepthook = hook
    try:
        yield lost
    finally:
        threading.excepthook = before


@contextlib.contextmanager
def _bar(folder, awaited, progress):
    """While the block runs, shows how many photographs are in the awaited files that exist in `folder`."""
    if progress is None:
        yield
        return
    over = threading.Event()

    def finished():
        missing, ended = dict(awaited), False
        while not ended:
            ended = over.wait(_POLL_SECONDS)
            there = missing.keys() & set(os.listdir(folder))
            yield from range(sum(missing.pop(name) for name in there))

    bar = progress(finished(), total=sum(awaited.values()))
    thread = threading.Thread(target=collections.deque, args=(bar, 0), daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
