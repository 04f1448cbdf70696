"""Trains a network to grade diabetic retinopathy: P2's recipe, at one image size or several in turn.

  python scripts/train.py --flagfile=flags/net4.cfg --data_dir=FOLDER

Without --data_dir it trains on synthetic photographs. A killed run goes on when started again with the
same flags.
"""

import _installed  # noqa: F401  isort: skip
import dataclasses
import json
import os
import sys

from absl import flags

from dr_keras import cli_flags

PAPER_SIZES, TRANSFER_SIZES = (128, 256, 512, 768), (256, 384, 512, 640, 768)
PRETRAINED = ("efficientnet_lite0", "efficientnet_lite1", "efficientnet_lite2")
SIZES = {"net5": PAPER_SIZES, "net4": PAPER_SIZES, "ram_net5": (128, 256)}
SIZES |= dict.fromkeys(PRETRAINED, TRANSFER_SIZES)
ALEXNETS = ("alexnet", "caffenet", "alexnet_torchvision")
SIZES |= dict.fromkeys(ALEXNETS, (256,))
PUBLISHED = PRETRAINED + ALEXNETS
HEADS = {"net5": ("gap", "dense"), "net4": ("gap", "dense")}
HEADS |= dict.fromkeys(PRETRAINED, ("gap", "multiscale"))
HEADS |= dict.fromkeys(ALEXNETS, ("regression", "classification"))

cli_flags.define_data_flags()
cli_flags.define_cache_dir()
cli_flags.define_normalization()
cli_flags.define_batch_size()
cli_flags.define_seed()
cli_flags.define_thresholds()
flags.DEFINE_string("run_dir", None, "Folder of the run. Default: runs/ARCHITECTURE_SIZES_DATASET.")
flags.DEFINE_string("init_from", None, "Run folder or .keras file whose fitting layers are taken over.")
flags.DEFINE_enum("architecture", "net5", tuple(SIZES), "Network; ram_net5 has the finer maps of P2 4.5.1.")
flags.DEFINE_string(
    "trunk_weights", "none", "Published weights to start from: imagenet (EfficientNets), none, or a file."
)
flags.DEFINE_string(
    "freeze_through", None, "Layer up to which weights stay: computed once, in 8 orientations. Default: none."
)
flags.DEFINE_enum(
    "head", "gap", ("gap", "multiscale", "dense", "regression", "classification"),
    "gap: global average pooling, has maps; multiscale: of two layers of an EfficientNet, finer maps; dense: "
    "the paper's baseline; the last two are AlexNet's.",
)  # fmt: skip
flags.DEFINE_integer("hidden", None, "Units of AlexNet's first dense layer. Default: 256.", lower_bound=1)
flags.DEFINE_bool(
    "untied_biases",
    None,
    "One bias per channel and position, as in the paper, or one per channel. Default: as in the paper.",
)
flags.DEFINE_float("width", None, "Factor on the number of filters. Default: 1.", lower_bound=0.05)
flags.DEFINE_integer("image_size", None, "Side of the stored images in pixels, such as 512.")
flags.DEFINE_list(
    "image_sizes", None, "Several sizes: each stage starts from the one before and has its own folder."
)
cli_flags.numbers("epochs", (250,), "Per stage, or one number for all.", int, low=1)
flags.DEFINE_enum(
    "optimizer", "sgd", ("sgd", "adam", "ridge"),
    "sgd has Nesterov momentum; ridge: a linear head behind --freeze_through in closed form, no epochs.",
)  # fmt: skip
cli_flags.numbers("learning_rate", (0.003,), "Per stage, or one number for all.", low=0)
flags.DEFINE_enum(
    "schedule", "step", ("step", "cosine"), "step: x0.1 at --learning_rate_drops; cosine: to zero."
)
cli_flags.numbers("learning_rate_drops", (150, 220), "Epochs of --schedule=step.", int, low=0)
flags.DEFINE_float("momentum", 0.9, "Of sgd.", 0.0, 1.0)
flags.DEFINE_float("clip_norm", 10.0, "Largest norm of a step's gradient; 0: no limit, as in the paper.", 0.0)
flags.DEFINE_float("l2", 0.0005, "Factor on the sum of squared kernels.", lower_bound=0.0)
flags.DEFINE_enum(
    "loss", "mse", ("mse", "mae", "huber", "euclidean", "cross_entropy"),
    "On the grade 0-4; cross_entropy: of --head=classification.",
)  # fmt: skip
flags.DEFINE_enum(
    "augmentation", "own", ("own", "keras_cv"), "own: one composite warp and the PCA colour shift."
)
cli_flags.numbers("color_sigma", (0.5,), "SD of the colour shift, per stage or for all.", low=0)
flags.DEFINE_bool("resample", True, "Draw photographs by class weight; otherwise each once an epoch.")
flags.DEFINE_float("resample_decay", 0.975, "Per epoch, from balanced classes to --final_weights.", 0.0, 1.0)
cli_flags.numbers(
    "final_weights", (1, 2, 2, 2, 2), "Class weights that resampling ends with.", length=5, low=0.001
)
cli_flags.define_folds("Cross-validation by patient; 0: one training.")
flags.DEFINE_float(
    "validation_fraction", 0.1, "Share set aside to choose the best epoch by; ridge needs none, 0.", 0.0, 0.5
)
flags.DEFINE_float(
    "test_fraction", 0.0, "Share set aside before, of data without a test split or folds.", 0.0, 0.5
)
flags.DEFINE_list("caps", None, "Most photographs of each grade 0-4, five numbers. Default: all.")
flags.DEFINE_enum(
    "strategy", "auto", ("auto", "default", "mirrored", "multi_worker"),
    "auto: mirrored if there are several GPUs; multi_worker: the processes that TF_CONFIG names.",
)  # fmt: skip
flags.DEFINE_enum(
    "precision", "auto", ("auto", "float32", "mixed_bfloat16"), "auto: bfloat16 where the device has it."
)

flags.register_validator(
    "caps",
    lambda value: value is None or (len(value) == 5 and all(cap.isdigit() for cap in value)),
    message="expected five whole numbers separated by commas",
)


@flags.multi_flags_validator(
    ["image_size", "image_sizes"],
    message="expected one of the two, of 128, 256, 384, 512, 640, 768, increasing",
)
def _one_size_flag(values):
    sizes = list(map(str, values["image_sizes"] or [values["image_size"]]))
    known = list(map(str, cli_flags.IMAGE_SIZES))
    one_flag = (values["image_size"] is None) != (values["image_sizes"] is None)
    return one_flag and sizes == [size for size in known if size in sizes]


@flags.multi_flags_validator(["architecture", "head"])
def _head_of_architecture(values):
    own = HEADS.get(values["architecture"], ("gap",))
    if values["head"] not in own:
        raise flags.ValidationError(f"{values['architecture']} has --head={' or '.join(own)} only")
    return True


@flags.multi_flags_validator(
    ["head", "loss", "freeze_through"],
    message="--head=classification needs --loss=cross_entropy and --freeze_through, other heads another loss",
)
def _classifier(values):
    classifier = values["head"] == "classification"
    fits = classifier == (values["loss"] == "cross_entropy")
    return fits and not (classifier and not values["freeze_through"])


@flags.multi_flags_validator(
    ["optimizer", "freeze_through", "validation_fraction"],
    message="--optimizer=ridge needs --freeze_through, other optimizers a --validation_fraction above 0",
)
def _ridge(values):
    if values["optimizer"] == "ridge":
        return bool(values["freeze_through"])
    return values["validation_fraction"] > 0


@flags.multi_flags_validator(
    ["strategy", "freeze_through"],
    message="--strategy=multi_worker isn't for --freeze_through, whose head takes seconds on one host",
)
def _worth_several_hosts(values):
    return values["strategy"] != "multi_worker" or not values["freeze_through"]


@flags.multi_flags_validator(["architecture", "hidden"], message="only AlexNets have --hidden")
def _hidden(values):
    return values["architecture"] in ALEXNETS or values["hidden"] is None


@flags.multi_flags_validator(["architecture", "image_size", "image_sizes"])
def _sizes_of_architecture(values):
    own = ", ".join(map(str, SIZES[values["architecture"]]))
    if not {str(size) for size in values["image_sizes"] or [values["image_size"]]} <= set(own.split(", ")):
        raise flags.ValidationError(f"{values['architecture']} has {own} px only")
    return True


@flags.multi_flags_validator(
    ["architecture", "untied_biases", "width"],
    message="the EfficientNets and AlexNets have neither --untied_biases nor --width",
)
def _published_form(values):
    free = values["architecture"] not in PUBLISHED
    return free or (values["untied_biases"] is None and values["width"] is None)


@flags.multi_flags_validator(
    ["architecture", "trunk_weights"],
    message=f"only {', '.join(PUBLISHED)} have published weights; expected --trunk_weights=none",
)
def _has_published_weights(values):
    return values["architecture"] in PUBLISHED or values["trunk_weights"] == "none"


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
    from dr_keras.training.hosts import cluster

    chief = FLAGS.strategy != "multi_worker" or cluster.read_cluster(os.environ).is_chief
    from dr_keras.training import build, run_folder

    if FLAGS.trunk_weights != "none":
        build.find_trunk(FLAGS.architecture, FLAGS.trunk_weights)
    run_dir = FLAGS.run_dir or _default_run_dir()
    flagfile = cli_flags.flagfile_text("train.py", leave_out=("run_dir", "cache_dir"))
    if chief:
        run_folder.claim_run_dir(run_dir, flagfile)
    from dr_keras.evaluation import agreement
    from dr_keras.explain.tensorboard import MapImages
    from dr_keras.report import figures, metrics_report
    from dr_keras.training import fit, interrupt, progress, stages, tensorboard
    from dr_keras.training.hosts import devices, workers

    strategy = devices.choose_strategy(FLAGS.strategy)
    devices.check_batch_size(FLAGS.batch_size, strategy)
    configs = _configs(devices.choose_precision(FLAGS.precision))
    if chief:
        print(f"{run_dir}: precision {configs[0].precision}, {strategy.num_replicas_in_sync} device(s)")
    bar = progress.ProgressBar()
    caps = tuple(map(int, FLAGS.caps or ()))
    plan = stages.SplitPlan(FLAGS.folds, FLAGS.validation_fraction, FLAGS.seed, FLAGS.test_fraction, caps)

    def callbacks(running):
        maps = [MapImages.of_fit(running)] if FLAGS.head in ("gap", "multiscale") else []
        return [tensorboard.TensorBoard(running, figures.confusion_image), *maps]

    with interrupt.StopRequest() as stop:
        hooks = fit.Hooks(
            report=metrics_report.report_writer(cli_flags.parsed("thresholds"), FLAGS.seed),
            callbacks=callbacks,
            on_step=bar,
            should_stop=stop,
            progress=cli_flags.progress("features of the frozen trunk"),
        )
        try:
            with workers.losses_named(strategy):
                workers.check_alike(strategy, "flags or precision", flagfile + str(configs))
                last = stages.train_stages(
                    configs, cli_flags.open_prepared, run_dir, plan, strategy, hooks, FLAGS.init_from
                )
        except fit.Interrupted:
            bar.close()
            if chief:
                print(f"stopped; saved in {run_dir}. The same command goes on from there.")
            raise SystemExit(130) from None
        except workers.WorkerLost as lost:
            bar.close()
            print(f"error: {lost}", file=sys.stderr, flush=True)
            os._exit(1)  # the usual end waits for the process that is gone
        finally:
            bar.close()
    if not chief:
        return
    metrics = json.loads((last / run_folder.METRICS).read_text())
    judged = "out of fold" if FLAGS.folds else "validation" if FLAGS.validation_fraction else "leave one out"
    print(f"{last}: {judged}: {agreement.summary(metrics)}")


def _configs(precision):
    from dr_keras.data.augmentation import AugmentationConfig
    from dr_keras.data.sampling import SamplingConfig
    from dr_keras.training.config import TrainingConfig

    sizes = [int(size) for size in FLAGS.image_sizes or [FLAGS.image_size]]
    stage = {
        name: _spread(cli_flags.parsed(name), len(sizes))
        for name in ("epochs", "learning_rate", "color_sigma")
    }
    same = ("architecture", "head", "untied_biases", "width", "hidden", "trunk_weights", "freeze_through")
    same += ("batch_size", "optimizer", "schedule", "momentum", "clip_norm", "l2", "loss", "seed")
    config = TrainingConfig(
        **{name: FLAGS[name].value for name in same if FLAGS[name].value is not None},
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
