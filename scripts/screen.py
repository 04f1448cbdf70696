"""Grades any number of photographs, on this machine or on a cluster, into numbered shards of a table.

  python scripts/screen.py --input=FOLDER --output=GRADES
  python scripts/screen.py --input='eyes/*/*.jpg' --output=GRADES --table=parquet --workers=8
  python scripts/screen.py --input=list.txt --output=GRADES --runner=FlinkRunner -- --flink_master=HOST:8081

`--input` is a folder, a pattern or a text file with one path per line. `--model` is as for predict.py, and
the grades are the same. The columns are image, score, grade, referable, gradable, reason and model (the
SHA-256 of its file); `gradable` is 0 for a photograph too bad to be graded. Files that can't be read are
listed in `unreadable.csv` with the reason. A killed run continues when started again with the same flags, and
grades no finished shard twice. It is an Apache Beam pipeline, whose own flags come last, after --.
Research use only: no output may guide the care of a patient.
"""

import _installed  # noqa: F401  isort: skip
from absl import flags

from dr_keras import cli_flags

cli_flags.define_model_flag()
flags.DEFINE_string(
    "input", None, "Photographs: a folder, a pattern, or a .txt file with one path per line.", required=True
)
flags.DEFINE_string(
    "output", None, "Folder for the shards of grades, made if it doesn't exist.", required=True
)
flags.DEFINE_enum("table", "csv", ("csv", "parquet"), "File format of the shards.")
flags.DEFINE_integer(
    "shard_rows",
    256,
    "Photographs in a shard, which is graded again if a run is killed before it is finished.",
    lower_bound=1,
)
cli_flags.define_thresholds(default=None)
cli_flags.define_batch_size()
cli_flags.define_engine()
cli_flags.define_workers()
cli_flags.define_runner("DirectRunner", "")

FLAGS = flags.FLAGS


def main(argv):
    cli_flags.require_packages("beam", "apache_beam")
    model = cli_flags.find_model()
    cli_flags.load_engine(model)
    from dr_keras.beam import engine, screening
    from dr_keras.beam.inputs import find_photographs

    grading = screening.Grading(model, cli_flags.parsed("thresholds"), FLAGS.batch_size)
    where = engine.Engine(FLAGS.runner, FLAGS.workers, tuple(argv[1:]))
    photographs = find_photographs(FLAGS.input)
    bar = cli_flags.progress("screening")
    manifest = screening.screen(photographs, FLAGS.output, grading, where, FLAGS.table, FLAGS.shard_rows, bar)
    total, unreadable = manifest["photographs"], manifest["unreadable"]
    if unreadable == total:
        raise cli_flags.InputError(f"{FLAGS.output}: none of {total} files could be read; see unreadable.csv")
    print(f"{FLAGS.output}: {total - unreadable} photographs in the shards, {unreadable} unreadable")


if __name__ == "__main__":
    cli_flags.run(main)
