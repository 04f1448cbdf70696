"""The listener, over the network: echo, store, refusals, and no photograph lost or graded twice by a kill."""

import contextlib
import re
import signal
import stat
import subprocess
import threading
import time

import dicom_files as made
import numpy as np
import pydicom
import pytest
from mean_graders import save_mean_grader
from script_runs import check_refused, command, run

pytest.importorskip("pynetdicom", reason="needs pynetdicom: pip install 'dr-keras[dicom]'")
from pynetdicom import AE, evt  # noqa: E402
from pynetdicom.sop_class import ComprehensiveSRStorage, CTImageStorage, Verification  # noqa: E402

COUNT = 50


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    path = tmp_path_factory.mktemp("model") / "mean.keras"
    save_mean_grader(path, 0.02)
    return path


@contextlib.contextmanager
def listening(model, *flags):
    """Runs the script; yields the process and its port. Killed at the end, if it still runs."""
    arguments = [f"--model={model}", "--port=0", *flags]
    process = subprocess.Popen(
        command("dicom_listener", *arguments), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        line = process.stdout.readline()
        assert "listens on 127.0.0.1:" in line, process.communicate()[1]
        yield process, int(re.search(r":(\d+);", line)[1])
    finally:
        process.kill()
        process.wait()


class Archive:
    """A destination that remembers the SOP Instance UIDs it stored, each time."""

    def __init__(self):
        self.stored, entity = [], AE(ae_title="ARCHIVE")
        entity.add_supported_context(ComprehensiveSRStorage)
        self._entity = entity

    def start(self, port=0):
        def store(event):
            self.stored.append(event.dataset)
            return 0

        handlers = [(evt.EVT_C_STORE, store)]
        server = self._entity.start_server(("127.0.0.1", port), block=False, evt_handlers=handlers)
        return server.socket.getsockname()[1]

    def stop(self):
        self._entity.shutdown()


def connect(port, ae_title="CAMERA"):
    entity = AE(ae_title=ae_title)
    entity.acse_timeout = entity.dimse_timeout = entity.network_timeout = 20
    entity.add_requested_context(Verification)
    for kind in (made.PHOTOGRAPHY_8, made.SECONDARY_CAPTURE, CTImageStorage):
        entity.add_requested_context(kind, pydicom.uid.ExplicitVRLittleEndian)
    return entity.associate("127.0.0.1", port)


def wait_until(condition, seconds=90):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "not in time"
        time.sleep(0.05)


def send(port, datasets):
    """Sends until the listener is gone; returns how many it acknowledged."""
    association, count = connect(port), 0
    assert association.is_established
    for dataset in datasets:
        try:
            status = association.send_c_store(dataset)
        except (RuntimeError, ValueError):
            break
        if status.get("Status") != 0:
            break
        count += 1
    association.release() if association.is_established else association.abort()
    return count


def test_echo_store_and_refusals(tmp_path, model, fundus):
    flags = [f"--queue={tmp_path}/queue", f"--output={tmp_path}/results", "--allowed_ae_titles=CAMERA,OTHER"]
    with listening(model, *flags) as (process, port):
        assert connect(port, "STRANGER").is_rejected
        association = connect(port)
        assert association.send_c_echo().Status == 0
        eye, black = made.dataset_of(fundus(0)), made.dataset_of(np.zeros((64, 64, 3), np.uint8))
        grey = made.dataset_of(fundus(0), SamplesPerPixel=1, PhotometricInterpretation="MONOCHROME2")
        for dataset in (eye, black, grey, eye):
            assert association.send_c_store(dataset).Status == 0
        ct = made.dataset_of(fundus(0), SOPClassUID=CTImageStorage)
        assert association.send_c_store(ct).Status == 0x0122
        ours = made.dataset_of(fundus(0), SOPClassUID=made.SECONDARY_CAPTURE, Manufacturer="dr_keras")
        assert association.send_c_store(ours).Status == 0xA900
        nameless = made.dataset_of(fundus(0), StudyInstanceUID=None)
        assert association.send_c_store(nameless).Status == 0xC000
        association.release()
        wait_until(lambda: not list((tmp_path / "queue/received").iterdir()))
        process.send_signal(signal.SIGTERM)
        log = process.communicate(timeout=30)
    assert process.returncode == 0, log
    reports = [pydicom.dcmread(path) for path in (tmp_path / "results").iterdir()]
    assert len(reports) == 3 and {report.PatientID for report in reports} == {"MRN-4711"}
    assert not [word for word in made.IDENTIFYING for text in log if word in text]
    assert log[1].count("graded, 1 results") == 3 and log[1].count("refused: ") == 2
    for path in (tmp_path / "queue").rglob("*"):
        assert stat.S_IMODE(path.stat().st_mode) == (0o700 if path.is_dir() else 0o600)


def test_a_kill_loses_and_repeats_nothing(tmp_path, model, fundus):
    """SIGKILL in the middle of sending, with the archive down at first; restarted, the rest is sent."""
    pictures = [fundus(seed)[::2, ::2].copy() for seed in range(5)]
    datasets = [made.dataset_of(pictures[number % 5]) for number in range(COUNT)]
    archive = Archive()
    archive_port = archive.start()
    flags = [f"--queue={tmp_path}/queue", f"--destination=ARCHIVE@127.0.0.1:{archive_port}"]
    with listening(model, *flags) as (process, port):
        acknowledged = []
        sender = threading.Thread(target=lambda: acknowledged.append(send(port, datasets)))
        sender.start()
        wait_until(lambda: len(archive.stored) >= 5)
        process.kill()
        sender.join()
    archive.stop()  # down when the listener comes back
    on_disk = len(list((tmp_path / "queue/done").glob("[!.]*")))
    with listening(model, *flags) as (process, port):
        assert send(port, datasets[acknowledged[0] :]) == COUNT - acknowledged[0]
        assert send(port, datasets[:3]) == 3  # again; they aren't graded again
        wait_until(lambda: len(list((tmp_path / "queue/done").glob("[!.]*"))) == COUNT)
        archive.start(archive_port)
        wait_until(lambda: not list((tmp_path / "queue/outgoing").glob("[!.]*")))
        process.send_signal(signal.SIGTERM)
        _, log = process.communicate(timeout=30)
    archive.stop()
    assert process.returncode == 0 and on_disk >= 5
    assert log.count("graded, 1 results") <= COUNT - on_disk and "can't be reached" in log
    assert not list((tmp_path / "queue/received").glob("[!.]*"))
    found = {report.SOPInstanceUID: report for report in archive.stored}
    originals = {
        each.CurrentRequestedProcedureEvidenceSequence[0]
        .ReferencedSeriesSequence[0]
        .ReferencedSOPSequence[0]
        .ReferencedSOPInstanceUID
        for each in found.values()
    }
    assert len(found) == COUNT and originals == {each.SOPInstanceUID for each in datasets}
    assert len(archive.stored) <= COUNT + 1  # the one under way at the kill, as the same instance


@pytest.mark.parametrize(
    "flags, expected",
    [
        (["--destination=ARCHIVE:104", "--queue=q"], "--destination=ARCHIVE:104: expected AE@host:port"),
        (
            ["--queue=q", "--output=o", "--host=0.0.0.0"],
            "--host=0.0.0.0: others can reach it; expected --allowed",
        ),
        (["--queue=q"], "expected --destination or --output"),
    ],
)
def test_settings_that_cannot_be_used(tmp_path, model, flags, expected):
    check_refused(run("dicom_listener", f"--model={model}", *flags, cwd=tmp_path), expected)
    assert not list(tmp_path.iterdir())


def test_one_listener_for_a_queue(tmp_path):
    from dr_keras.dicom.inbox import Inbox
    from dr_keras.errors import InputError

    first = Inbox(tmp_path / "queue")
    with pytest.raises(InputError, match="another listener uses it"):
        Inbox(tmp_path / "queue")
    first.put("1.2", b"data", "model")
    first.put("1.2", b"data", "model")
    (path,) = first.received()
    first.hand_on(path, {"report.dcm": b"result"}, "1.2", "model")
    assert first.received() == [] and len(first.outgoing()) == 1
    first.put("1.2", b"data", "model")
    assert first.received() == []
    first.put("1.2", b"data", "another model")
    assert len(first.received()) == 1
    first.close()
    Inbox(tmp_path / "queue").close()
