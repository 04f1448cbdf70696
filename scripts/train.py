"""Trains a network to grade diabetic retinopathy: P2's recipe, at one image size or several in turn.

  python scripts/train.py --flagfile=flags/net4.cfg --data_dir=FOLDER

Without --data_dir it trains on synthetic photographs. A killed run goes on when started again with the
same flags.
"""

import dataclasses
import json

from absl import flags

from dr_keras import cli_flags

ARCHITECTURES = ("net5", "net4", "ram_net5")

cli_flags.define_data_flags()
cli_flags.define_cache_dir()
cli_flags.define_batch_size()
cli_flags.define_seed()
cli_flags.define_thresholds()
flags.DEFINE_string("run_dir", None, "Folder of the run. Default: runs/ARCHITECTURE_SIZES_DATASET.")
flags.DEFINE_string("init_from", None, "Run folder or .keras file whose fitting layers are taken over.")
flags.DEFINE_enum("architecture", "net5", ARCHITECTURES, "Network; ram_net5 has the finer maps of P2 4.5.1.")
flags.DEFINE_enum(
    "head", "gap", ("gap", "dense"), "gap: global average pooling, has maps; dense: the paper's baseline."
)
flags.DEFINE_bool(
    "untied_biases", True, "One bias per channel and position, as in the paper, or one per channel."
)
flags.DEFINE_float("width", 1.0, "Factor on the number of filters.", lower_bound=0.05)
flags.DEFINE_integer("image_size", None, "Side of the stored images: 128, 256, 512 or 768 pixels.")
flags.DEFINE_list(
    "image_sizes", None, "Several sizes: each stage starts from the one before and has its own folder."
)
cli_flags.numbers("epochs", (250,), "Per stage, or one number for all.", int, low=1)
flags.DEFINE_enum("optimizer", "sgd", ("sgd", "adam"), "sgd has Nesterov momentum.")
cli_flags.numbers("learning_rate", (0.003,), "Per stage, or one number for all.", low=0)
flags.DEFINE_enum(
    "schedule", "step", ("step", "cosine"), "step: x0.1 at --learning_rate_drops; cosine: to zero."
)
cli_flags.numbers("learning_rate_drops", (150, 220), "Epochs of --schedule=step.", int, low=0)
flags.DEFINE_float("momentum", 0.9, "Of sgd.", 0.0, 1.0)
flags.DEFINE_float("clip_norm", 10.0, "Largest norm of a step's gradient; 0: no limit, as in the paper.", 0.0)
flags.DEFINE_float("l2", 0.0005, "Factor on the sum of squared kernels.", lower_bound=0.0)
flags.DEFINE_enum("loss", "mse", ("mse", "mae", "huber"), "On the grade 0-4.")
flags.DEFINE_enum(
    "augmentation", "own", ("own", "keras_cv"), "own: one composite warp and the PCA colour shift."
)
cli_flags.numbers("color_sigma", (0.5,), "SD of the colour shift, per stage or for all.", low=0)
flags.DEFINE_bool("resample", True, "Draw photographs by class weight; otherwise each once an epoch.")
flags.DEFINE_float("resample_decay", 0.975, "Per epoch, from balanced classes to --final_weights.", 0.0, 1.0)
cli_flags.numbers(
    "final_weights", (1, 2, 2, 2, 2), "Class weights that resampling ends with.", length=5, low=0.001
)
flags.DEFINE_integer("folds", 0, "Cross-validation by patient; 0: one training.", lower_bound=0)
flags.DEFINE_float("validation_fraction", 0.1, "Share set aside to choose the best epoch by.", 0.01, 0.5)
flags.DEFINE_enum(
    "strategy", "auto", ("auto", "default", "mirrored"), "auto: mirrored if there are several GPUs."
)
flags.DEFINE_enum(
    "precision", "auto", ("auto", "float32", "mixed_bfloat16"), "auto: bfloat16 where the device has it."
)

flags.register_validator("folds", lambda value: value != 1, message="expected 0, or 2 and more")


@flags.multi_flags_validator(
    ["image_size", "image_sizes"], message="expected one of the two, of 128, 256, 512, 768, increasing"
)
def _one_size_flag(values):
    sizes = list(map(str, values["image_sizes"] or [values["image_size"]]))
    known = list(map(str, cli_flags.IMAGE_SIZES))
    one_flag = (values["image_size"] is None) != (values["image_sizes"] is None)
    return one_flag and sizes == [size for size in known if size in sizes]


@flags.multi_flags_validator(["architecture", "head"], message="ram_net5 has --head=gap only")
def _ram_head(values):
    return values["architecture"] != "ram_net5" or values["head"] == "gap"


@flags.multi_flags_validator(
    ["architecture", "image_size", "image_sizes"], message="ram_net5 has 128 and 256 px only"
)
def _ram_sizes(values):
    sizes = {str(size) for size in values["image_sizes"] or [values["image_size"]]}
    return values["architecture"] != "ram_net5" or sizes <= {"128", "256"}


@flags.multi_flags_validator(
    ["image_size", "image_sizes", "epochs", "learning_rate", "color_sigma"],
    message="--epochs, --learning_rate, --color_sigma: one number, or one per stage",
)
def _per_stage(values):
    stages = len(values["image_sizes"] or [None])
    return all(len(values[name]) in (1, stages) for name in ("epochs", "learning_rate", "color_sigma"))


FLAGS = flags.FLAGS


def main(argv):
    cli_flags.refuse_arguments(argv)
    cli_flags.check_data([int(size) for size in FLAGS.image_sizes or [FLAGS.image_size]])
    cli_flags.require_tensorflow()
    from dr_keras.training import run_folder

    run_dir = FLAGS.run_dir or _default_run_dir()
    run_folder.claim_run_dir(run_dir, cli_flags.flagfile_text("train.py", leave_out=("run_dir", "cache_dir")))
    from dr_keras.evaluation import figures, report
    from dr_keras.explain.tensorboard import MapImages
    from dr_keras.training import devices, fit, interrupt, progress, stages, tensorboard

    strategy = devices.choose_strategy(FLAGS.strategy)
    devices.check_batch_size(FLAGS.batch_size, strategy)
    configs = _configs(devices.choose_precision(FLAGS.precision))
    print(f"{run_dir}: precision {configs[0].precision}, {strategy.num_replicas_in_sync} device(s)")
    bar = progress.ProgressBar()
    plan = stages.SplitPlan(FLAGS.folds, FLAGS.validation_fraction, FLAGS.seed)

    def callbacks(running):
        maps = [MapImages.of_fit(running)] if FLAGS.head == "gap" else []
        return [tensorboard.TensorBoard(running, figures.confusion_image), *maps]

    with interrupt.StopRequest() as stop:
        hooks = fit.Hooks(
            report=report.report_writer(cli_flags.parsed("thresholds"), FLAGS.seed),
            callbacks=callbacks,
            on_step=bar,
            should_stop=stop,
        )
        try:
            last = stages.train_stages(
                configs, cli_flags.open_prepared, run_dir, plan, strategy, hooks, FLAGS.init_from
            )
        except fit.Interrupted:
            bar.close()
            print(f"stopped; saved in {run_dir}. The same command goes on from there.")
            raise SystemExit(130) from None
        finally:
            bar.close()
    metrics = json.loads((last / run_folder.METRICS).read_text())
    judged = "out of fold" if FLAGS.folds else "validation"
    print(f"{last}: {judged}: {report.summary(metrics)}")


def _configs(precision):
    from dr_keras.data.augmentation import AugmentationConfig
    from dr_keras.data.sampling import SamplingConfig
    from dr_keras.training.config import TrainingConfig

    sizes = [int(size) for size in FLAGS.image_sizes or [FLAGS.image_size]]
    stage = {
        name: _spread(cli_flags.parsed(name), len(sizes))
        for name in ("epochs", "learning_rate", "color_sigma")
    }
    same = ("architecture", "head", "untied_biases", "width", "batch_size", "optimizer", "schedule")
    same += ("momentum", "clip_norm", "l2", "loss", "seed")
    config = TrainingConfig(
        **{name: FLAGS[name].value for name in same},
        learning_rate_drops=cli_flags.parsed("learning_rate_drops", int),
        thresholds=cli_flags.parsed("thresholds"),
        sampling=SamplingConfig(FLAGS.resample, FLAGS.resample_decay, cli_flags.parsed("final_weights")),
        precision=precision,
    )
    for index, size in enumerate(sizes):
        own = AugmentationConfig(color_sigma=stage["color_sigma"][index])
        sizes[index] = dataclasses.replace(
            config,
            image_size=size,
            epochs=int(stage["epochs"][index]),
            learning_rate=stage["learning_rate"][index],
            augmentation=own if FLAGS.augmentation == "own" else FLAGS.augmentation,
        )
    return sizes


def _spread(values, count):
    return values if len(values) == count else values * count


def _default_run_dir():
    sizes = "-".join(map(str, FLAGS.image_sizes or [FLAGS.image_size]))
    name = FLAGS.data_dir.rstrip("/").rsplit("/", 1)[-1] if FLAGS.data_dir else "synthetic"
    return f"runs/{FLAGS.architecture}_{sizes}_{name}"


if __name__ == "__main__":
    cli_flags.run(main)
