"""Grades photographs without number, on this machine or on a cluster, into numbered shards of a table.

  python scripts/screen.py --input=FOLDER --output=GRADES
  python scripts/screen.py --input='eyes/*/*.jpg' --output=GRADES --table=parquet --workers=8
  python scripts/screen.py --input=list.txt --output=GRADES --runner=FlinkRunner -- --flink_master=HOST:8081

`--input` is a folder, a pattern or a text file with a path a line; `--model` as for predict.py, whose
grades these are. Columns: image, score, grade, referable, gradable, reason, model (SHA-256 of its file);
`gradable` is 0 for a photograph too bad to be graded. What can't be read is listed in `unreadable.csv` with
the reason. A killed run goes on when started again with the same flags and grades no finished shard twice.
It is an Apache Beam pipeline: Beam's own flags come last, after --.
Research use only: no output may guide the care of a patient.
"""

from absl import flags

from dr_keras import cli_flags

cli_flags.define_model_flag(shipped=True)
flags.DEFINE_string(
    "input", None, "Photographs: a folder, a pattern, or a .txt with a path a line.", required=True
)
flags.DEFINE_string(
    "output", None, "Folder to write, made if it isn't there: shards of grades.", required=True
)
flags.DEFINE_enum("table", "csv", ("csv", "parquet"), "Form of the shards.")
flags.DEFINE_integer(
    "shard_rows",
    256,
    "Photographs in a shard; at most this many are graded again after a kill.",
    lower_bound=1,
)
cli_flags.define_thresholds(" Default: those of the run.")
cli_flags.define_batch_size()
cli_flags.define_workers()
cli_flags.define_runner("DirectRunner", "")

FLAGS = flags.FLAGS


def main(argv):
    from dr_keras.export import exported

    cli_flags.require_packages("beam", "apache_beam")
    cli_flags.take_from_run(["thresholds"], exported.read_flags(FLAGS.model))
    cli_flags.require_tensorflow()
    from dr_keras.beam import engine, screening
    from dr_keras.beam.inputs import find_photographs

    grading = screening.Grading(FLAGS.model, cli_flags.parsed("thresholds"), FLAGS.batch_size)
    where = engine.Engine(FLAGS.runner, FLAGS.workers, tuple(argv[1:]))
    photographs = find_photographs(FLAGS.input)
    bar = cli_flags.progress("screening")
    manifest = screening.screen(photographs, FLAGS.output, grading, where, FLAGS.table, FLAGS.shard_rows, bar)
    cli_flags.say_graded(manifest["unreadable"], manifest["photographs"])


if __name__ == "__main__":
    cli_flags.run(main)
