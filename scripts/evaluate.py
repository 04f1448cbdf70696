"""Compares a model's grades with true ones: metrics.json, predictions.csv and a confusion matrix.

  python scripts/evaluate.py --model=RUN --data_dir=FOLDER --output_dir=REPORT

A run with folds grades each of its own photographs by the network that it was held out from. Without
any of --data_dir, --dataset, --synthetic_images, the photographs are those that the run was trained with.
"""

from absl import flags

from dr_keras import cli_flags

_DATA_FLAGS = ("data_dir", "dataset", "synthetic_images")

cli_flags.define_model_flag()
cli_flags.define_data_flags()
cli_flags.define_cache_dir()
cli_flags.define_split()
cli_flags.define_output_dir("metrics.json, predictions.csv and confusion_matrix.png")
cli_flags.define_thresholds(" Default: those of the run.")
cli_flags.define_seed(" Default: that of the run.")
cli_flags.define_batch_size()

FLAGS = flags.FLAGS


def main(argv):
    cli_flags.refuse_arguments(argv)
    from dr_keras.training import run_folder

    run_folder.find_models(FLAGS.model)
    run_folder.check_report_dir(FLAGS.output_dir)
    of_run = run_folder.read_flags(FLAGS.model)
    cli_flags.take_from_run(("thresholds", "seed"), of_run)
    if not any(FLAGS[name].present for name in _DATA_FLAGS):
        cli_flags.take_from_run(_DATA_FLAGS, of_run)
    cli_flags.check_data()
    cli_flags.require_tensorflow()
    from dr_keras.evaluation import grading, report

    model = grading.GradingModel(FLAGS.model)
    prepared = cli_flags.open_prepared(model.image_size)
    for image, reason in prepared.unreadable:
        print(f"left out: {image}: {reason}")
    scored = grading.score_split(
        model, prepared, FLAGS.split, FLAGS.batch_size, cli_flags.progress("grading")
    )
    print(_description(scored, len(model.graders)))
    records = [prepared.records[index] for index in scored.indices]
    metrics = report.write_report(
        FLAGS.output_dir,
        [record.image for record in records],
        prepared.grades[scored.indices],
        scored.scores,
        cli_flags.parsed("thresholds"),
        [record.patient for record in records],
        FLAGS.seed,
    )
    print(f"{FLAGS.output_dir}: {report.summary(metrics)}")


def _description(scored, num_networks):
    photographs = f"{len(scored.indices)} photographs, split {scored.split}"
    if scored.ungraded:
        photographs += f" ({scored.ungraded} without a grade left out)"
    if not scored.is_run_data:
        photographs += "; none is in the model's split.csv, so all count as new to it"
    if num_networks == 1:
        return photographs
    how = "those that weren't trained on it" if scored.is_run_data else "all, averaged"
    return f"{photographs}; {num_networks} networks, one per fold: each photograph is graded by {how}"


if __name__ == "__main__":
    cli_flags.run(main)
