"""Writing DICOM results beside what is graded and explained, in folders for their owner alone."""

import dataclasses
from pathlib import Path

from dr_keras.data import dicom
from dr_keras.dicom import pictures, structured_report
from dr_keras.dicom.original import Producer, read_original
from dr_keras.errors import InputError
from dr_keras.files import atomic_path, private_folder


def write_result(folder, kind, result):
    """Writes a DICOM result whole, for its owner alone; returns its path.

    A result that is there already is the same one, whatever its time says, and stays as it is.
    """
    path = Path(folder) / f"{kind}-{result.SOPInstanceUID}.dcm"
    if not path.exists():
        with atomic_path(path, 0o600) as temporary:
            result.save_as(temporary, enforce_file_format=True)
    return path


@dataclasses.dataclass
class DicomResults:
    """Writes a result for each photograph that came as DICOM, as they pass by.

    Args:
        folder: where they are written; made if it isn't there.
        graders: list of the `Grader`s that work on the photographs.
        flag: the flag that named the folder, for errors.

    Attributes:
        written: how many files were written or were there already.
        others: how many photographs weren't DICOM.
        refused: list of reasons why a DICOM file got no result.
    """

    folder: Path
    graders: list
    flag: str = "--dicom_output"
    written: int = 0
    others: int = 0
    refused: list = dataclasses.field(default_factory=list)

    def __post_init__(self):
        dicom.load_pydicom()
        self.folder = private_folder(self.folder, self.flag)
        self._producer = Producer.of_graders(self.graders)

    def graded(self, results):
        """Yields each `Graded` of an iterable after its Structured Report was written."""
        for result in results:
            original = self._original(result.image)
            if original is not None:
                self._write(graded_results(result, original, self._producer))
            yield result

    def explained(self, results, limit=None):
        """Yields each (path, `Explanation` or None, reason) after its pictures were written.

        A photograph that can't be graded has none: a map of it would mean nothing.
        """
        for path, explanation, reason in results:
            original = None if explanation is None or explanation.fault else self._original(path)
            if original is not None:
                self._write(explained_results(explanation, original, self._producer, limit))
            yield path, explanation, reason

    def __str__(self):
        """What was written, and what got no result, in one line."""
        line = f"{self.folder}: {self.written} DICOM results"
        if self.others:
            line += f"; {self.others} photographs aren't DICOM and have none"
        if self.refused:
            line += f"; {len(self.refused)} DICOM files have none, the first: {self.refused[0]}"
        return line

    def _original(self, path):
        """The `Original`, or None, counted, for a photograph that gets no result."""
        if not dicom.is_dicom_file(dicom.split_frame(path)[0]):
            self.others += 1
            return None
        try:
            return read_original(path)
        except InputError as error:
            self.refused.append(str(error))
            return None

    def _write(self, results):
        for kind, result in results:
            write_result(self.folder, kind, result)
            self.written += 1


def graded_results(graded, original, producer):
    """List of (kind, dataset) that a graded photograph has: its Structured Report."""
    report = structured_report.structured_report(graded, original, producer)
    return [(structured_report.KIND, report)]


def explained_results(explanation, original, producer, limit=None):
    """List of (kind, dataset) that an explained photograph has: its overlay, and its lesions if any."""
    found = [(pictures.OVERLAY, pictures.overlay_capture(explanation, original, producer, limit))]
    if explanation.findings is not None and original.header is not None:
        segmentation = pictures.lesion_segmentation(explanation, original, producer)
        found += [(pictures.LESION_KIND, segmentation)] if segmentation is not None else []
    return found
