"""Trains a network to grade diabetic retinopathy: P2's recipe, at one image size or several in turn.

  python scripts/train.py --flagfile=flags/net4.cfg --data_dir=FOLDER

Without --data_dir it trains on synthetic photographs. A stopped or killed run goes on when it is started
again with the same flags.
"""

import _installed  # noqa: F401  isort: skip
import contextlib
import json
import os
import sys

from absl import flags

from dr_keras import cli_flags

cli_flags.define_data_flags()
cli_flags.define_cache_dir()
cli_flags.define_normalization()
cli_flags.define_training_flags()
flags.DEFINE_string(
    "masks_dir", None, "For lesion_net: folder of photographs with lesion masks. Default: --data_dir."
)
flags.DEFINE_string("run_dir", None, "Folder of the run. Default: runs/ARCHITECTURE_SIZES_DATASET.")
flags.DEFINE_string(
    "init_from",
    None,
    "Run folder, .keras file or shipped grader whose layers are taken over where name and shape are alike. A "
    "lesion network takes over the segmentation and only fits the score to the grades, without masks.",
)

FLAGS = flags.FLAGS


def main(argv):
    cli_flags.refuse_arguments(argv)
    configs, plan, hosts = cli_flags.training_configs()
    cli_flags.check_data([config.image_size for config in configs])
    masked = _masked_photographs(configs[0])
    cli_flags.require_tensorflow()
    chief = hosts.is_chief
    from dr_keras.evaluation import agreement
    from dr_keras.explain.lesion_images import LesionImages
    from dr_keras.explain.map_images import MapImages
    from dr_keras.report import figures, metrics_report
    from dr_keras.training import interrupt, progress, protocol, run_folder, runs, tensorboard
    from dr_keras.training.hosts import workers

    run_dir = FLAGS.run_dir or _default_run_dir(configs)

    def callbacks(running):
        if running.config.head == "lesions":
            return [LesionImages.of_fit(running)]
        maps = [MapImages.of_fit(running)] if running.config.head in ("gap", "multiscale") else []
        return [tensorboard.TensorBoard(running, figures.confusion_image), *maps]

    bar = progress.ProgressBar(configs, plan.folds)
    with interrupt.StopRequest() as stop, contextlib.closing(bar):
        hooks = protocol.Hooks(
            report=metrics_report.report_writer(configs[0].thresholds, configs[0].seed),
            callbacks=callbacks,
            on_step=bar,
            should_stop=stop,
            progress=cli_flags.progress("features of the frozen backbone"),
        )
        flagfile = cli_flags.flagfile_text("train.py", leave_out=("run_dir", "cache_dir"))
        try:
            last = runs.train(
                configs, cli_flags.open_prepared, run_dir, plan, hosts, hooks, FLAGS.init_from, flagfile,
                masked,
            )  # fmt: skip
        except protocol.Interrupted:
            bar.close()
            if chief:
                print(f"stopped; saved in {run_dir}. The same command goes on from there.")
            raise SystemExit(130) from None
        except workers.WorkerLost as lost:
            bar.close()
            print(f"error: {lost}", file=sys.stderr, flush=True)
            os._exit(1)  # the usual end waits for the process that is gone
    if not chief:
        return
    metrics = json.loads((last / run_folder.METRICS).read_text())
    alone = "validation" if plan.validation_fraction else "patients left out"
    judged = "out of fold" if plan.folds else alone
    print(f"{last}: {judged}: {agreement.summary(metrics)}")


def _masked_photographs(config):
    from dr_keras.data import lesion_masks
    from dr_keras.data.layouts import masked

    if config.head != "lesions":
        if FLAGS.masks_dir:
            raise cli_flags.InputError(f"--masks_dir={FLAGS.masks_dir}: is for --head=lesions")
        return ()
    if FLAGS.init_from:
        if FLAGS.masks_dir:
            raise cli_flags.InputError(
                f"--masks_dir={FLAGS.masks_dir}: --init_from brings a segmentation; drop one of the two"
            )
        return ()
    if FLAGS.masks_dir or FLAGS.data_dir:
        return masked.find_masked_photographs(FLAGS.masks_dir or FLAGS.data_dir)
    return lesion_masks.masked_synthetic_photographs(max(5, FLAGS.synthetic_images // 4))


def _default_run_dir(configs):
    sizes = "-".join(str(config.image_size) for config in configs)
    name = FLAGS.data_dir.rstrip("/").rsplit("/", 1)[-1] if FLAGS.data_dir else "synthetic"
    return f"runs/{FLAGS.architecture}_{sizes}_{name}"


if __name__ == "__main__":
    cli_flags.run(main)
