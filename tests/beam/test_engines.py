"""Both pipelines on other engines than the embedded one: Dask's workers, and Beam's job service over gRPC."""

import os
import signal
import subprocess
import sys
import threading
import time

import pytest
import written

beam = pytest.importorskip("apache_beam", reason="the extra beam isn't installed")

from dr_keras.beam import engine, prepare_on_beam, screening  # noqa: E402
from dr_keras.beam.inputs import find_photographs  # noqa: E402
from dr_keras.errors import InputError  # noqa: E402


@pytest.fixture(scope="module")
def dask():
    """A scheduler and two worker processes on loopback."""
    distributed = pytest.importorskip("distributed", reason="the extra dask isn't installed")
    with distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster:
        yield cluster
        distributed.Client.current().close()  # which Beam's runner leaves open


@pytest.fixture(scope="module")
def job_service(tmp_path_factory):
    """Address of Beam's job service in a process of its own."""
    port_file = tmp_path_factory.mktemp("service") / "port"
    service = "apache_beam.runners.portability.local_job_service_main"
    process = subprocess.Popen([sys.executable, "-m", service, "-p", "0", f"--port_file={port_file}"])
    try:
        while not (port_file.exists() and port_file.read_text()):
            assert process.poll() is None
            time.sleep(0.1)
        yield f"127.0.0.1:{port_file.read_text()}"
    finally:
        process.terminate()
        process.wait()


@pytest.fixture(params=["Dask", "portable"])
def elsewhere(request):
    if request.param == "Dask":
        return on_dask(request.getfixturevalue("dask"))
    service = request.getfixturevalue("job_service")
    arguments = (f"--job_endpoint={service}", "--environment_type=LOOPBACK")
    return engine.Engine("PortableRunner", arguments=arguments)


def on_dask(cluster):
    arguments = (f"--dask_client_address={cluster.scheduler_address}", "--dask_partition_size=1")
    return engine.Engine("DaskRunner", arguments=arguments)


def test_preparation_writes_the_same_bytes(tmp_path, dataset, prepared_without_beam, elsewhere):
    prepare_on_beam.prepare_dataset(dataset, tmp_path, 32, elsewhere, steps=("color",))
    assert written.contents(tmp_path) == prepared_without_beam


def test_screening_writes_the_same_bytes(tmp_path, photographs, how, elsewhere):
    for folder, where in (("here", engine.Engine(workers=1)), ("there", elsewhere)):
        screening.screen(find_photographs(photographs), tmp_path / folder, how, where, shard_rows=5)
    assert len(written.stamps(tmp_path / "here")) == 6
    assert written.contents(tmp_path / "there") == written.contents(tmp_path / "here")


def test_what_a_worker_tells_is_one_line(tmp_path, photographs, how, elsewhere):
    grading = screening.Grading(str(tmp_path / "model.keras"), how.thresholds)
    (tmp_path / "model.keras").write_bytes(b"no model")
    with pytest.raises(InputError, match="model.keras: ") as raised:
        screening.screen(find_photographs(photographs), tmp_path / "out", grading, elsewhere)
    assert "\n" not in str(raised.value)
    assert not written.stamps(tmp_path / "out")


def test_an_engine_that_loses_work_is_named(tmp_path):
    message = "--runner=DirectRunner: the pipeline ended, but .* lacks 1 of 2 files, such as b.csv; expected"
    (tmp_path / "a.csv").touch()
    with pytest.raises(InputError, match=message):
        where = engine.Engine(workers=1)
        engine.run(lambda start: start | beam.Create([1]), where, tmp_path, {"a.csv": 1, "b.csv": 1})


@pytest.mark.slow
def test_a_killed_worker_of_dask_loses_and_doubles_nothing(tmp_path, long_list, how, dask):
    victim, seen = next(iter(dask.workers.values())).pid, {}

    def kill():
        while len(seen) < 5:
            time.sleep(0.01)
            seen.update(written.stamps(tmp_path / "out"))
        os.kill(victim, signal.SIGKILL)

    thread = threading.Thread(target=kill)
    (tmp_path / "out").mkdir()
    thread.start()
    screening.screen(find_photographs(long_list), tmp_path / "out", how, on_dask(dask), shard_rows=1)
    thread.join()
    with pytest.raises(ProcessLookupError):
        os.kill(victim, 0)
    written.check_each_once(tmp_path / "out", long_list.read_text().split(), seen)
