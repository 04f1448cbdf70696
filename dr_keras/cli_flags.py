"""Flags that several scripts share, and how a script starts and ends; no other module uses absl."""

import errno
import functools
import os
import re
import signal
import sys
import tempfile
import threading

from absl import app, flags, logging

from dr_keras import cli_flagfiles, cli_requirements
from dr_keras.errors import InputError
from dr_keras.files import printable
from dr_keras.shipped import GRADER, model_path, shipped_path

# What a script defines through this module is listed as its own, in --help and run.cfg.
flags.disclaim_key_flags()

LAYOUTS = ("auto", "synthetic", "idrid", "eyepacs", "aptos", "messidor2", "deepdrid", "ddr", "csv", "folders")
IMAGE_SIZES = (128, 256, 384, 512, 640, 768, 1024)
RUNNERS = (
    "DirectRunner",
    "FlinkRunner",
    "SparkRunner",
    "DataflowRunner",
    "DaskRunner",
    "PrismRunner",
    "PortableRunner",
)
NORMALIZATION = ("centre_square", "color", "local_mean", "clahe")

DATA_FLAGS = ("data_dir", "dataset", "columns", "synthetic_images")
_CSV_COLUMNS = ("image", "level", "patient", "eye", "split")

# Errors in writing a file or folder that a user can fix: a full disk, missing rights, a wrong name.
_WRITE_ERRORS = "ENOSPC EDQUOT EFBIG EACCES EPERM EROFS ENOTDIR EISDIR EEXIST ENAMETOOLONG ENOENT EIO".split()


flags.DEFINE_bool("tensorflow_log", False, "Show what TensorFlow logs.")


def define_data_flags(least_synthetic=10):
    """`DATA_FLAGS`; `least_synthetic` is the least --synthetic_images."""
    flags.DEFINE_string(
        "data_dir",
        None,
        "Folder of a dataset, or one made by prepare_data.py. Default: "
        "none needed, photographs are synthetic.",
    )
    flags.DEFINE_enum("dataset", "auto", LAYOUTS, "Layout of --data_dir; auto recognises it.")
    flags.DEFINE_list(
        "columns",
        None,
        f"What a CSV file calls its columns, of {', '.join(_CSV_COLUMNS)}: image=Photo,level=DR. Default: "
        "these names, and some others that are known.",
    )
    flags.register_validator("columns", _name_columns, f"expected NAME=HEADING of {', '.join(_CSV_COLUMNS)}")
    flags.DEFINE_integer(
        "synthetic_images", 2000, "How many synthetic photographs to draw.", lower_bound=least_synthetic
    )


def _name_columns(pairs):
    return all(pair.partition("=")[0] in _CSV_COLUMNS and pair.partition("=")[2] for pair in pairs or ())


def headings():
    """What --columns says: dict of column to heading."""
    return {name: heading for name, _, heading in (pair.partition("=") for pair in flags.FLAGS.columns or ())}


def define_cache_dir():
    """--cache_dir, in scripts that prepare photographs for themselves."""
    flags.DEFINE_string(
        "cache_dir", None, "Where photographs are kept once prepared. Default: ~/.cache/dr_keras."
    )


def define_normalization():
    """--normalization, in scripts that prepare photographs for a training; others take the run's."""
    flags.DEFINE_list(
        "normalization",
        None,
        f"Steps against the cameras' differences (P1 3.1), of {', '.join(NORMALIZATION)}; default none. What "
        "is trained with them keeps them.",
    )
    flags.register_validator(
        "normalization",
        lambda steps: set(steps or ()) <= set(NORMALIZATION),
        message=f"expected some of {', '.join(NORMALIZATION)}",
    )


def normalization():
    """The steps that --normalization names, in the order in which they are done."""
    return tuple(step for step in NORMALIZATION if step in (flags.FLAGS.normalization or ()))


def define_folds(what):
    """--folds."""
    flags.DEFINE_integer("folds", 0, what, lower_bound=0)
    flags.register_validator("folds", lambda value: value != 1, message="expected 0, or 2 and more")


def define_model_flag(required=False):
    """--model, to read; unless it is `required`, the grader that comes with the project is the default."""
    flags.DEFINE_string("model", None, _model_help(required), required=required)


def define_models_flag():
    """--model, to read, once or several times; the default is the grader that comes with the project."""
    flags.DEFINE_multi_string("model", None, _model_help(False) + " May be given again.")


def _model_help(required):
    remark = "" if required else " Default: the grader that comes with the project."
    return (
        "Model: a run folder, a .keras, .tflite or .onnx file, or the folder of a SavedModel, which is a "
        "program and can read and write files: run one only from whom you trust." + remark
    )


def define_engine():
    """--engine."""
    flags.DEFINE_enum(
        "engine",
        cli_requirements.AUTO,
        cli_requirements.ENGINES,
        "What runs a Keras model, with the same scores. OpenVINO starts sooner, TensorFlow grades many "
        "photographs faster; auto takes TensorFlow where it is installed.",
    )


def load_engine(model):
    """Loads what --engine names, or another format of a model needs; `InputError` where it can't be had."""
    from dr_keras.inference import formats

    kind, engine = formats.format_of(model), flags.FLAGS.engine
    if kind == formats.KERAS:
        cli_requirements.choose_backend(engine, flags.FLAGS.tensorflow_log)
        return
    if engine == cli_requirements.OPENVINO:
        raise InputError(
            f"--engine={engine}: {model} has an engine of its own; expected a run folder or a .keras file"
        )
    if kind == formats.SAVED_MODEL:
        require_tensorflow()


def find_models():
    """Returns the paths that --model names; `InputError` unless each holds a model and they differ."""
    from dr_keras.inference import formats

    named = flags.FLAGS.model or [str(shipped_path(*GRADER))]
    paths = [str(model_path(path)) for path in ([named] if isinstance(named, str) else named)]
    for path in paths:
        formats.check_model(path)
    if len(set(paths)) < len(paths):
        raise InputError(f"--model={paths[-1]}: named twice; expected different models")
    return paths


def find_model():
    """Returns the path that --model names once; see `find_models`."""
    return find_models()[0]


def define_output_dir(what):
    """--output_dir, to write."""
    flags.DEFINE_string(
        "output_dir", None, f"Folder to write, made if it isn't there: {what}.", required=True
    )
    _check_writable("output_dir")


def define_output(what, suffix, required=True):
    """--output, to write; a name with another suffix may be that of a photograph, which must not be lost."""
    flags.DEFINE_string("output", None, f"File to write: {what}.", required=required)
    flags.register_validator(
        "output",
        lambda path: path is None or path.lower().endswith(suffix) and not os.path.isdir(path),
        message=f"expected the name of a file that ends in {suffix}",
    )
    _check_writable("output")


def _check_writable(name):
    """Refuses a file or folder to write, before any work is done, where none can be written."""

    def check(path):
        there = os.path.abspath(path or ".")
        while not os.path.lexists(there):
            there = os.path.dirname(there)
        if there != os.path.abspath(path or ".") and not os.path.isdir(there):
            raise flags.ValidationError(f"can't be written, since {there} is a file")
        if not os.access(there, os.W_OK):
            raise flags.ValidationError(f"can't be written: no right to write to {there}")
        if os.path.isdir(there):
            try:
                tempfile.TemporaryFile(dir=there).close()
            except OSError as error:  # a folder of the system's, a full disk
                raise flags.ValidationError(f"can't be written to {there}: {error.strerror}") from None
        return True

    flags.register_validator(name, check)


def define_dicom_output(what):
    """--dicom_output."""
    flags.DEFINE_string(
        "dicom_output",
        None,
        f"Folder to write, for its owner alone, since DICOM names the patient: {what}. The extra dicom.",
    )


def define_token_file(whose):
    """--token_file."""
    flags.DEFINE_string("token_file", None, f"File whose first line is the bearer token {whose}.")


def read_token():
    """Returns the token in --token_file, or None without one; `InputError` if there is none in the file."""
    path = flags.FLAGS.token_file
    if path is None:
        return None
    try:
        with open(path, encoding="ascii") as file:
            token = file.readline().strip()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"--token_file={path}: can't be read ({error})") from None
    if not token:
        raise InputError(f"--token_file={path}: expected a token in its first line")
    return token


def define_workers():
    """--workers."""
    flags.DEFINE_integer("workers", None, "Processes. Default: one per core.", lower_bound=1)


def define_runner(default, remark):
    """--runner, in scripts that run as an Apache Beam pipeline."""
    flags.DEFINE_enum(
        "runner",
        default,
        RUNNERS,
        "Engine of the Apache Beam pipeline; DirectRunner is this machine, with --workers. Beam's own flags "
        f"come last, after --. {remark}",
    )


def define_batch_size(default=32):
    """--batch_size."""
    flags.DEFINE_integer("batch_size", default, "Photographs in a (global) batch.", lower_bound=1)


def define_seed(remark=""):
    """--seed."""
    flags.DEFINE_integer("seed", 0, "Seed of everything that is drawn at random." + remark, lower_bound=0)


def define_split():
    """--split."""
    flags.DEFINE_enum(
        "split",
        "auto",
        ("auto", "all", "train", "validation", "test", "held_out"),
        "Which photographs: splits are those of the run's split.csv or, for other datasets, the dataset's "
        "own. auto: photographs that the model was never trained on, that is those held out by the folds, "
        "else the test split, else the validation split, else all.",
    )


def numbers(name, default, help_text, kind=float, length=None, low=None, high=None, increasing=False):
    """Defines a flag of comma-separated numbers, checked for length, range and order; default: a tuple."""
    from dr_keras.training.options import Option

    allowed = Option(help_text, kind, low=low, high=high, length=length or 0, increasing=increasing)
    flags.DEFINE_list(name, default and ",".join(map(str, default)), help_text)

    def check(values):
        if values is None and default is None:
            return True
        try:
            allowed.check(name, tuple(map(kind, values)))
        except ValueError:  # no numbers, or, as an `InputError`, others than those allowed
            return False
        return len(values) > 0

    count = {4: "four", 5: "five"}.get(length, str(length or ""))
    noun = " ".join(filter(None, [count, "increasing" * increasing, "whole" * (kind is int), "numbers"]))
    message = f"expected {noun} separated by commas" + (f", from {low}" if low is not None else "")
    flags.register_validator(name, check, message=message + (f" to {high}" if high is not None else ""))


def define_thresholds(default=(0.5, 1.5, 2.5, 3.5)):
    """--thresholds; with None as the default a model's own are taken."""
    remark = " Default: the model's own." if default is None else ""
    help_text = "Thresholds that turn a score into a grade, increasing." + remark
    numbers("thresholds", default, help_text, length=4, increasing=True)


def parsed(name, kind=float):
    """Values of a flag defined by `numbers`, as a tuple; None where it has neither value nor default."""
    values = flags.FLAGS[name].value
    return None if values is None else tuple(kind(value) for value in values)


def define_training_flags():
    """The flags of `training.config`'s dataclasses, and --image_size or --image_sizes."""
    from dr_keras.training import config

    names = ["image_size", "image_sizes"]
    for _, name, default, option in config.flag_options():
        names.append(name)
        _define_option(name, default, option)
    flags.DEFINE_integer("image_size", None, "Side of the stored images in pixels, such as 512.")
    flags.DEFINE_list(
        "image_sizes",
        None,
        "Several increasing sizes: each is a stage that starts from the one before and has its own folder.",
    )

    @flags.multi_flags_validator(names)
    def _go_together(values):
        try:
            _training_configs(values)
        except InputError as error:  # no `ValidationError`, whose message would list the values of all flags
            raise flags.IllegalFlagValueError(str(error)) from None
        return True


def training_configs():
    """Returns what the training flags say: (list of `TrainingConfig`, `SplitPlan`, `HostConfig`)."""
    return _training_configs(flags.FLAGS.flag_values_dict())


def _training_configs(values):
    from dr_keras.training import config
    from dr_keras.training.options import options

    given = {name: values[name] for name in ("image_size", "image_sizes") if values[name] is not None}
    sizes = list(map(str, values["image_sizes"] or [values["image_size"]]))
    known = list(map(str, IMAGE_SIZES))
    if len(given) != 1 or sizes != [size for size in known if size in sizes]:
        named = " ".join(flags.FLAGS[name].serialize() for name in given) + ": " * bool(given)
        raise InputError(
            f"{named}expected --image_size or --image_sizes, one of the two, of {', '.join(known)}, "
            "increasing"
        )

    def fields(cls):
        return {
            name: _value(values[name], option)
            for name, _, option in options(cls)
            if option.flag and values[name] is not None
        }

    stages = config.stage_configs(map(int, sizes), **fields(config.TrainingConfig))
    plan, hosts = config.SplitPlan(**fields(config.SplitPlan)), config.HostConfig(**fields(config.HostConfig))
    config.check_together(stages, plan, hosts)
    return stages, plan, hosts


def _define_option(name, default, option):
    """Defines the flag of one field: of a list where there may be several numbers."""
    limits = {"low": option.low, "high": option.high}
    if option.per_stage:
        text = option.help + " One number for all stages, or one for each."
        numbers(name, (default,), text, option.kind, **limits)
    elif option.length is not None:
        numbers(
            name, default, option.help, option.kind, option.length, **limits, increasing=option.increasing
        )
    elif option.choices:
        flags.DEFINE_enum(name, default, option.choices, option.help)
    elif option.kind is str:
        flags.DEFINE_string(name, default, option.help)
    elif option.kind is bool:
        flags.DEFINE_bool(name, default, option.help)
    else:
        define = flags.DEFINE_integer if option.kind is int else flags.DEFINE_float
        define(name, default, option.help, option.low, option.high)


def _value(value, option):
    """A flag's value as its field takes it: a tuple of numbers where the flag is a list."""
    return tuple(map(option.kind, value)) if isinstance(value, list) else value


def take_from_run(names, run_flags):
    """Gives flags that weren't named on the command line the values of a run's `run.cfg`."""
    for name in names:
        if name in run_flags:
            flags.FLAGS.set_default(name, run_flags[name])


def data_named():
    """Whether the command line names photographs by a data flag."""
    return any(flags.FLAGS[name].present for name in DATA_FLAGS)


def take_data_from_run(run_flags):
    """Gives the data flags the values of a run's `run.cfg`, unless one was named on the command line."""
    if not data_named():
        take_from_run(DATA_FLAGS, run_flags)


def say_graded(counts, output, verb="read"):
    """Prints how many photographs were graded; `InputError` if none could be.

    Args:
        counts: `counts.Counts`.
        output: the table that was written, or None.
        verb: what couldn't be done with any, where none is counted.
    """
    if counts.unreadable == counts.total:
        where, why = (f"{output}: ", "its rows say why") if output else ("", "each line above says why")
        which = "the one file couldn't" if counts.total == 1 else f"none of {counts.total} files could"
        raise InputError(f"{where}{which} be {verb}; {why}")
    print(f"{output}: {counts}" if output else counts)


def refuse_arguments(argv):
    """Raises `InputError` for arguments that are no flags, in a script that takes none."""
    if len(argv) > 1:
        raise InputError(f"{argv[1]}: not a flag; expected --name=value")


def check_data(image_sizes=()):
    """Finds what the data flags name, before anything slow or lasting is done; see `cache.check_data`."""
    from dr_keras.data import cache

    known = flags.FLAGS.data_dir, flags.FLAGS.dataset, flags.FLAGS.synthetic_images
    cache.check_data(*known, image_sizes, headings())


def find_dataset():
    """Finds the photographs that the data flags name: `FundusDataset`."""
    from dr_keras.data import cache

    known = flags.FLAGS.data_dir, flags.FLAGS.dataset, flags.FLAGS.synthetic_images
    return cache.find_dataset(*known, headings())


def open_prepared(image_size, steps=None):
    """Opens the photographs that the data flags name, prepared into the cache on first use.

    They are normalised by `steps`; None takes --normalization, in scripts that have it.
    """
    from dr_keras.data import cache

    if steps is None:
        steps = normalization() if "normalization" in flags.FLAGS else ()
    return cache.open_prepared(
        flags.FLAGS.data_dir,
        flags.FLAGS.dataset,
        image_size,
        flags.FLAGS.synthetic_images,
        flags.FLAGS.cache_dir,
        progress(f"preparing at {image_size} px"),
        steps,
        functools.partial(print, file=sys.stderr),
        headings=headings(),
    )


def progress(description):
    """Wrapper of an iterator, called with `total`, that shows a bar: what the library takes as `progress`.

    On a terminal it is redrawn in place; elsewhere (a log file) a line is written every 20 seconds.
    """
    import tqdm

    seconds = 0.2 if sys.stderr.isatty() else 20
    return lambda items, total: tqdm.tqdm(
        items, total=total, desc=description, disable=not total, mininterval=seconds, maxinterval=seconds
    )


def flagfile_text(script, leave_out=()):
    """The flags of this run as the text of a flagfile that reruns it."""
    own = flags.FLAGS.get_key_flags_for_module(sys.argv[0])
    lines = {
        flag.name: flag.serialize() for flag in own if flag.value is not None and flag.name not in leave_out
    }
    return (
        f"# python scripts/{script} --flagfile=THIS_FILE\n"
        + "\n".join(lines[name] for name in sorted(lines))
        + "\n"
    )


class Terminated(KeyboardInterrupt):
    """SIGTERM, which keeps what Ctrl-C keeps."""


def _on_sigterm(number, frame):
    raise Terminated


def run(main):
    """Runs a script's `main(argv)`: a user's mistake ends in one line on stderr and status 2."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    sys.stdout.reconfigure(errors="backslashreplace")  # names of files that aren't UTF-8 are printed, too
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, _on_sigterm)

    def guarded(argv):
        status = 2
        try:
            return main(argv)
        except (InputError, flags.Error) as error:
            line = str(error)
        except KeyboardInterrupt as interrupt:
            by, status = ("SIGTERM", 143) if isinstance(interrupt, Terminated) else ("Ctrl-C", 130)
            line = f"stopped by {by}{f'; {interrupt}' if str(interrupt) else ''}"
        except OSError as error:
            if errno.errorcode.get(error.errno) not in _WRITE_ERRORS:
                raise
            line = f"{error.filename or 'writing'}: {error.strerror}; nothing half-written was left behind"
        # Out here the exception is gone, and with it what it kept alive: a progress bar, say.
        fail(line, status)

    app.run(guarded, flags_parser=_parse_flags)


def fail(line, status=2):
    """Ends the program with one line on stderr."""
    sys.stdout.flush()
    print(f"error: {printable(line)}", file=sys.stderr)
    sys.exit(status)


def _parse_flags(argv):
    try:
        left = flags.FLAGS([argv[0], *cli_flagfiles.expanded(argv[1:])])
        if flags.FLAGS["verbosity"].using_default_value and not flags.FLAGS.tensorflow_log:
            flags.FLAGS.verbosity = logging.WARNING  # `app.run` would choose INFO
        return left
    except SystemExit:  # with status 1, once absl has printed the help that was asked for
        sys.exit(0)
    except InputError as error:
        fail(str(error))
    except flags.Error as error:
        fail(f"{_plain(str(error))} (--help lists the flags)")


def _plain(message):
    """One of absl's messages on a flag, on one line and as a user would write the flag."""
    line = " ".join(message.removeprefix("ERROR:: ").split()).removeprefix("flag ")
    line = re.sub(
        r"^--(\w+)=None: Flag --\1 must have a value other than None\.$", r"--\1: must be given", line
    )
    line = re.sub(r"=\['(.*)'\]:", lambda found: "=" + found[1].replace("', '", ",") + ":", line)
    line = re.sub(r"invalid literal for int\(\).*", "expected a whole number", line)
    return re.sub(r"could not convert string to float.*", "expected a number", line)


def require_tensorflow():
    """Loads TensorFlow, its log hidden unless --tensorflow_log; `InputError` where it isn't installed."""
    cli_requirements.load_tensorflow(flags.FLAGS.tensorflow_log)


require_packages = cli_requirements.require_packages
