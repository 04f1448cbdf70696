"""A DICOM node: takes photographs by C-STORE, grades them, and sends the results on."""

import io
import logging
import threading

from dr_keras.data import dicom
from dr_keras.dicom import inbox as inboxes
from dr_keras.dicom import results
from dr_keras.dicom.original import Producer, read_original
from dr_keras.dicom.sending import send
from dr_keras.errors import InputError
from dr_keras.files import private_folder

LOG = logging.getLogger("dr_keras.dicom")
# Answers to C-STORE, PS3.4 annex B.2.3.
STORED, UNKNOWN_CLASS, NO_ROOM, NO_PHOTOGRAPH, UNREADABLE = 0x0000, 0x0122, 0xA700, 0xA900, 0xC000
_FIRST_WAIT, _LONGEST_WAIT = 1.0, 300.0  # seconds between two tries to send
_AT_ONCE = 16  # results over one association
_ASSOCIATIONS = 10


class Listener:
    """Listens until `stop`; a stopped or killed one goes on where it was when it is started again.

    Args:
        grader: `inference.Grader`.
        settings: `listener_settings.ListenerSettings`.
    """

    def __init__(self, grader, settings):
        dicom.load_pydicom()
        self._grader, self._settings = grader, settings
        self._producer = Producer.of_graders([grader])
        self._identity = f"{self._producer.sha256} {self._producer.rules} {self._producer.version}"
        self._inbox = inboxes.Inbox(settings.queue)
        self._output = settings.output and private_folder(settings.output, "--output")
        self._stopping = threading.Event()
        self._new, self._graded = threading.Event(), threading.Event()
        self._explain = None
        if settings.overlays:
            from dr_keras.inference.grader import explainer_of

            self._explain = explainer_of([grader])

    def start(self):
        """Starts to listen, to grade and to send; returns the port."""
        from pynetdicom import AE, AllStoragePresentationContexts, evt
        from pynetdicom.sop_class import Verification

        entity = self._entity = AE(ae_title=self._settings.ae_title)
        entity.require_calling_aet = list(self._settings.allowed_ae_titles)
        entity.maximum_associations = _ASSOCIATIONS
        entity.add_supported_context(Verification)
        syntaxes = _transfer_syntaxes()
        for context in AllStoragePresentationContexts:
            entity.add_supported_context(context.abstract_syntax, syntaxes)
        address = self._settings.host, self._settings.port
        try:
            handlers = [(evt.EVT_C_STORE, self._store)]
            server = entity.start_server(address, block=False, evt_handlers=handlers)
        except OSError as error:
            raise InputError(f"--host, --port: can't listen on {address} ({error.strerror})") from None
        self._threads = [threading.Thread(target=self._work)]
        if self._settings.destination:
            self._threads.append(threading.Thread(target=self._send_all))
        for thread in self._threads:
            thread.start()
        return server.socket.getsockname()[1]

    def stop(self):
        """Accepts nothing more, finishes the photograph under way, and returns; the rest stays on disk."""
        self._entity.shutdown()
        self._stopping.set()
        self._new.set()
        self._graded.set()
        for thread in self._threads:
            thread.join()
        self._inbox.close()

    def _store(self, event):
        """Answers a C-STORE: success only once the file is on disk."""
        try:
            data = event.encoded_dataset()
            kind = str(event.request.AffectedSOPClassUID)
            if kind not in dicom.PHOTOGRAPH_CLASSES:
                LOG.info("refused: %s", dicom.class_words(kind))
                return UNKNOWN_CLASS
            dataset = dicom.read_dataset(data, "received")
            if dataset.get("Manufacturer") == dicom.MAKER:
                LOG.info("refused: a picture that this project drew")
                return NO_PHOTOGRAPH
            if not all(
                dataset.get(name) for name in ("SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID")
            ):
                return UNREADABLE
            self._inbox.put(str(dataset.SOPInstanceUID), data, self._identity)
        except InputError:
            LOG.info("refused: damaged")
            return UNREADABLE
        except OSError as error:
            LOG.error("can't be kept: %s", error.strerror)
            return NO_ROOM
        self._new.set()
        return STORED

    def _work(self):
        """Grades what was received, one file after the other."""
        while not self._stopping.is_set():
            self._new.clear()
            for path in self._inbox.received():
                if self._stopping.is_set():
                    return
                try:
                    self._grade(path)
                except Exception as error:  # of any library; the file stays for the next start
                    LOG.error("%s: not graded (%s)", path.stem[:8], type(error).__name__)
            self._new.wait(30)

    def _grade(self, path):
        names = dicom.frame_names(str(path))
        instance = str(read_original(names[0]).dataset.SOPInstanceUID)
        if self._inbox.is_done(instance, self._identity):
            self._inbox.drop(path)
            return
        made = {}
        for name in names:
            for kind, result in self._results_of(name):
                if self._output:
                    results.write_result(self._output, kind, result)
                file = io.BytesIO()
                result.save_as(file, enforce_file_format=True)
                made[f"{kind}-{result.SOPInstanceUID}.dcm"] = file.getvalue()
        if self._output:
            inboxes.sync(self._output)
        self._inbox.hand_on(path, made if self._settings.destination else {}, instance, self._identity)
        LOG.info("%s: graded, %d results", path.stem[:8], len(made))
        self._graded.set()

    def _results_of(self, name):
        original, graded = read_original(name), self._grader.grade(name)
        found = results.graded_results(graded, original, self._producer)
        if self._explain and graded.gradable:
            for _, explanation, _ in self._explain([name]):
                if explanation is not None and not explanation.fault:
                    found += results.explained_results(explanation, original, self._producer)
        return found

    def _send_all(self):
        """Sends results; while the destination is down, after ever longer waits."""
        wait = _FIRST_WAIT
        while not self._stopping.is_set():
            self._graded.clear()
            paths = self._inbox.outgoing()
            reason = ""
            for start in range(0, len(paths), _AT_ONCE):
                if self._stopping.is_set():
                    return
                batch = paths[start : start + _AT_ONCE]
                reason = self._send(batch) or reason
                if reason:
                    break
            if reason:
                LOG.warning("%s; %d results wait, again in %.0f s", reason, len(self._inbox.outgoing()), wait)
                self._stopping.wait(wait)
                wait = min(2 * wait, _LONGEST_WAIT)
            else:
                wait = _FIRST_WAIT
                self._graded.wait(30)

    def _send(self, paths):
        try:
            return send(paths, self._settings.destination, self._settings.ae_title, self._inbox.drop)
        except Exception as error:  # of the network; the results stay
            return f"{self._settings.destination}: {type(error).__name__}"


def _transfer_syntaxes():
    from pydicom import uid

    plain = [uid.ExplicitVRLittleEndian, uid.ImplicitVRLittleEndian, uid.ExplicitVRBigEndian]
    plain += [uid.DeflatedExplicitVRLittleEndian, uid.RLELossless]
    jpeg = [uid.JPEGBaseline8Bit, uid.JPEGExtended12Bit, uid.JPEGLossless, uid.JPEGLosslessSV1]
    return plain + jpeg + [uid.JPEGLSLossless, uid.JPEGLSNearLossless, uid.JPEG2000Lossless, uid.JPEG2000]
