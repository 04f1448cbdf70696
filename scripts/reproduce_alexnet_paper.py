"""The transferred AlexNet's paper in one run: networks, figures 6 to 11, its numbers and ours, lesion check.

  python scripts/reproduce_alexnet_paper.py --data_dir=FOLDER --output_dir=alexnet_paper

Without --data_dir the photographs are synthetic. Writes index.html, results.json, every figure, and the run
folders `regressor` and `classifier`, which the other scripts take as --model. Started again with the same
flags it keeps the trained networks. With --folds, each photograph is judged by the network it was held out
from; a backbone that saw none of them: `--trunk_weights=none --init_from=RUN` of `distil.py --folds`.
Research use only.
"""

import _installed  # noqa: F401  isort: skip
from absl import flags

from dr_keras import cli_flags
from dr_keras.shipped import ALEXNET_TRUNK, shipped_path

cli_flags.define_data_flags()
cli_flags.define_cache_dir()
cli_flags.define_normalization()
cli_flags.define_output_dir("index.html, results.json, figures, runs")
cli_flags.define_seed()
flags.DEFINE_string(
    "trunk_weights",
    str(shipped_path(*ALEXNET_TRUNK)),
    "File with the frozen backbone's weights; none: those of --init_from, or else random ones.",
)
flags.DEFINE_string("init_from", None, "Run with a backbone for each fold.")
cli_flags.define_folds("Folds of a cross-validation; 0: the dataset's test part, or a tenth, is held out.")
flags.DEFINE_integer("epochs", 200, "Epochs of the two heads.", lower_bound=1)
flags.DEFINE_float("threshold", 0.2, "Least drop of the score for an abnormal patch, where a grade is 0.25.")
flags.DEFINE_integer("clusters", 20, "Number of clusters, the k of k-means.", lower_bound=2)

FLAGS = flags.FLAGS


def main(argv):
    cli_flags.refuse_arguments(argv)
    cli_flags.check_data([256])
    cli_flags.require_tensorflow()
    from dr_keras.papers.alexnet import alexnet_page, alexnet_runs, reproduction
    from dr_keras.report import metrics_report
    from dr_keras.training import build, interrupt, protocol
    from dr_keras.training.hosts import devices

    if FLAGS.trunk_weights != "none":
        build.find_trunk("alexnet", FLAGS.trunk_weights)
    recipe = alexnet_runs.Recipe(
        FLAGS.trunk_weights,
        FLAGS.init_from,
        FLAGS.folds,
        FLAGS.epochs,
        FLAGS.seed,
        devices.choose_precision("auto"),
    )
    data_flags = {name: FLAGS[name].value for name in cli_flags.DATA_FLAGS}
    data_flags["columns"] = ",".join(FLAGS.columns or ()) or None
    data_flags["normalization"] = ",".join(cli_flags.normalization()) or None
    with interrupt.StopRequest() as stop:
        hooks = protocol.Hooks(
            report=metrics_report.report_writer(seed=FLAGS.seed),
            should_stop=stop,
            progress=cli_flags.progress("features of the frozen trunk"),
        )
        try:
            alexnet_runs.train(
                recipe,
                FLAGS.output_dir,
                cli_flags.open_prepared,
                data_flags,
                devices.choose_strategy("auto"),
                hooks,
            )
        except protocol.Interrupted:
            print(f"stopped; the work so far is in {FLAGS.output_dir}. The same command goes on from there.")
            raise SystemExit(130) from None
    results = reproduction.reproduce(
        FLAGS.output_dir, FLAGS.data_dir, cli_flags.open_prepared, FLAGS.seed, FLAGS.threshold,
        FLAGS.clusters, cli_flags.progress,
    )  # fmt: skip
    print("\n".join(alexnet_page.lines(results)))
    print(f"{FLAGS.output_dir}/index.html: open it in any browser")


if __name__ == "__main__":
    cli_flags.run(main)
