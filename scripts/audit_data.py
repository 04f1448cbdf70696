"""Reports what a dataset holds and what is wrong with it: unreadable files, copies, leaks across splits.

python scripts/audit_data.py --data_dir=FOLDER --output=audit.json
"""

import _installed  # noqa: F401  isort: skip
from absl import flags

from dr_keras import cli_flags

cli_flags.define_data_flags()
cli_flags.define_output("the report as JSON", ".json", required=False)
cli_flags.define_workers()

FLAGS = flags.FLAGS


def main(argv):
    cli_flags.refuse_arguments(argv)
    from dr_keras import files
    from dr_keras.data import audit, cache
    from dr_keras.data.shards import PreparedDataset

    if cache.is_prepared(FLAGS.data_dir):
        report = audit.audit_prepared(PreparedDataset(FLAGS.data_dir))
    else:
        dataset = cli_flags.find_dataset()
        report = audit.audit_dataset(dataset, FLAGS.workers, cli_flags.progress("reading photographs"))
    print(audit.format_audit(report))
    if FLAGS.output:
        files.write_json(FLAGS.output, report)


if __name__ == "__main__":
    cli_flags.run(main)
