"""Grades photographs, and says why where one can't be graded.

  python scripts/predict.py IMAGE_OR_FOLDER ...
  python scripts/predict.py --model=RUN --output=grades.csv IMAGE_OR_FOLDER ...

  python scripts/predict.py --dicom_output=FOLDER --fhir_output=FOLDER DICOM_OR_FOLDER ...

Prints a line for each photograph or, with --output, writes a CSV row for each: image, score, grade,
grade_name, referable, error, gradable, reason and, of a calibrated model, referable_probability, lowest_grade
and highest_grade, beyond which lies a probability of 0.1 each way at most.

Folders are searched for photographs, subfolders too; each frame of a DICOM file is one. --dicom_output writes
a DICOM Structured Report for each photograph that came as DICOM, --fhir_output a FHIR report for each patient
(docs/dicom.md). A file that can't be read has a row with the error.
`gradable` is 0 for a photograph too bad to be graded, with the reason (no visible retina, too dark, too
bright, cut off, too small, strongly compressed, grey, filtered, out of focus): it gets no grade, and its
score means nothing. The score of a run with folds is the mean over its networks. Ctrl-C and SIGTERM keep the
rows that are done. The exit status is 0, or 2 if no photograph could be read. Research use only: no output
may guide the care of a patient.
"""

import _installed  # noqa: F401  isort: skip
from absl import flags

from dr_keras import cli_flags

cli_flags.define_model_flag()
cli_flags.define_output("the grades as CSV. Default: a line for each is printed", ".csv", required=False)
cli_flags.define_thresholds(default=None)
cli_flags.define_batch_size()
cli_flags.define_engine()
cli_flags.define_dicom_output("a Structured Report for each photograph that came as DICOM")
flags.DEFINE_string(
    "fhir_output", None, "Folder to write, for its owner alone: a FHIR R4 DiagnosticReport for each patient."
)

FLAGS = flags.FLAGS


def main(argv):
    from dr_keras.data.layouts import photograph_files

    if len(argv) < 2:
        raise cli_flags.InputError("expected photographs, or folders of them, after the flags")
    paths = photograph_files.list_photographs(argv[1:])
    model = cli_flags.find_model()
    if FLAGS.dicom_output:
        cli_flags.require_packages("dicom", "pydicom", "highdicom")
    cli_flags.load_engine(model)
    from dr_keras.inference import graded, grader

    loaded = grader.load_grader(model, cli_flags.parsed("thresholds"))
    if loaded.num_networks > 1:
        print(f"{model}: {loaded.num_networks} networks, one per fold: scores are their mean")
    results, dicom_results, reports = loaded.grade_each(paths, FLAGS.batch_size), None, None
    if FLAGS.dicom_output:
        from dr_keras.dicom.results import DicomResults

        dicom_results = DicomResults(FLAGS.dicom_output, [loaded])
        results = dicom_results.graded(results)
    if FLAGS.fhir_output:
        from dr_keras.dicom.fhir import FhirReports

        reports = FhirReports(FLAGS.fhir_output, loaded)
        results = reports.graded(results)
    if FLAGS.output:
        results = cli_flags.progress("grading")(results, total=len(paths))
        counts = graded.write_grades(FLAGS.output, results)
    else:
        counts = graded.print_grades(results)
    if dicom_results:
        print(dicom_results)
    if reports:
        print(f"{FLAGS.fhir_output}: {reports.write()} FHIR reports")
    cli_flags.say_graded(counts, FLAGS.output)


if __name__ == "__main__":
    cli_flags.run(main)
