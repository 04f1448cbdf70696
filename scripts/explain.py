"""Explains a model's scores: a signed attribution map over each photograph, raw values, contact sheets.

  python scripts/explain.py --model=RUN [--model=RUN ...] --output_dir=FOLDER IMAGE_OR_FOLDER ...
  python scripts/explain.py --model=RUN [--model=RUN ...] --output_dir=FOLDER --data_dir=FOLDER

The maps of several models are averaged, such as RAM networks for images of 128 and 256 pixels. The second
form takes photographs with true grades from a dataset, half rightly graded and half the most under-graded;
photographs of a run with folds are explained by the network that wasn't trained on them. Every photograph has
a row in maps.csv, which says why where one can't be read or graded. Ctrl-C and SIGTERM keep what is done.
--dicom_output writes the pictures of what came as DICOM as DICOM, too (docs/dicom.md). Research use only: no
output may guide the care of a patient.
"""

import _installed  # noqa: F401  isort: skip
from absl import flags

from dr_keras import cli_flags

cli_flags.define_models_flag()
cli_flags.define_data_flags()
cli_flags.define_cache_dir()
cli_flags.define_split()
cli_flags.define_output_dir(
    "a PNG and an .npz for each photograph, contact sheets, maps.csv; of lesions lesions.csv"
)
cli_flags.define_thresholds(default=None)
cli_flags.define_seed()
cli_flags.define_batch_size(8)
flags.DEFINE_enum(
    "method", None, ("lesions", "ram", "gradcam", "occlusion"),
    "lesions: outlines of lesions by kind, of a lesion network; ram: needs global average pooling before "
    "the score; gradcam: networks whose activations have positions; occlusion: any network, by how much the "
    "score falls when a window is hidden (slow). Default: lesions, ram or gradcam, the first that the models "
    "have.",
)  # fmt: skip
flags.DEFINE_string(
    "layer", None, "Layer to explain. Default for gradcam: the last activation; for occlusion: the input."
)
flags.DEFINE_integer("window", None, "occlusion: side of the window, in cells of --layer.", lower_bound=1)
flags.DEFINE_integer("stride", None, "occlusion: step between windows, in cells of --layer.", lower_bound=1)
flags.DEFINE_float(
    "scale",
    None,
    "Absolute value in grade units at which the colour scale ends. Default: 12; for occlusion: 1.",
    lower_bound=0.01,
)
flags.DEFINE_integer("max_side", 1024, "Longest side of the pictures, in pixels.", lower_bound=64)
cli_flags.define_dicom_output(
    "a Secondary Capture of the overlay for each photograph that came as DICOM, and of lesion networks a "
    "Segmentation"
)
flags.DEFINE_integer("per_grade", 4, "With --data_dir: photographs of each true grade.", lower_bound=1)

_OPTIONS = {"layer": ("gradcam", "occlusion"), "window": ("occlusion",), "stride": ("occlusion",)}


@flags.multi_flags_validator(
    ["method", *_OPTIONS],
    message="--layer isn't for --method=ram; --window and --stride are for --method=occlusion",
)
def _options_fit(values):
    return all(values[name] is None or values["method"] in methods for name, methods in _OPTIONS.items())


FLAGS = flags.FLAGS
_WHO = {
    False: "scores and maps are their mean",
    True: "each photograph is explained by those that weren't trained on it",
}


def main(argv):
    from dr_keras.data.layouts import photograph_files
    from dr_keras.training import run_folder

    of_dataset = cli_flags.data_named()
    if of_dataset == (len(argv) > 1):
        raise cli_flags.InputError(
            "expected photographs, or folders of them, after the flags, or else --data_dir"
        )
    paths = cli_flags.find_models()
    if FLAGS.dicom_output:
        cli_flags.require_packages("dicom", "pydicom", "highdicom")
    run_folder.check_report_dir(FLAGS.output_dir)
    if of_dataset:
        cli_flags.check_data()
    cli_flags.require_tensorflow()
    from dr_keras.explain import explainer, overlay, writing
    from dr_keras.inference import examples, grader

    models = [grader.load_grader(path, cli_flags.parsed("thresholds")) for path in paths]
    for path, model in zip(paths, models, strict=True):
        if model.num_networks > 1:
            print(f"{path}: {model.num_networks} networks, one per fold: {_WHO[of_dataset]}")
    thresholds, bar = models[0].rules.thresholds, cli_flags.progress("explaining")
    options = {"layer": FLAGS.layer, "window": FLAGS.window, "stride": FLAGS.stride}
    options = {name: value for name, value in options.items() if value is not None}
    method = FLAGS.method or explainer.best_method([each for model in models for each in model.networks])
    options |= {"method": method, "max_side": FLAGS.max_side, "batch_size": FLAGS.batch_size}
    if of_dataset:
        found = examples.find_examples(
            models, cli_flags.open_prepared, FLAGS.per_grade, FLAGS.split, thresholds, FLAGS.seed,
            progress=cli_flags.progress("grading"),
        )  # fmt: skip
        labels = {example.path: example.label for example in found}
        photographs = list(labels)
        results = examples.explain_examples(models, found, progress=bar, **options)
    else:
        photographs, labels = photograph_files.list_photographs(argv[1:]), {}
        results = grader.explainer_of(models, **options)(photographs, bar)
    names, model_names = writing.distinct_names(photographs), writing.distinct_names(paths).values()
    limit = FLAGS.scale or overlay.LIMITS[method]
    dicom_results = None
    if FLAGS.dicom_output:
        from dr_keras.dicom.results import DicomResults

        dicom_results = DicomResults(FLAGS.dicom_output, models)
        results = dicom_results.explained(results, limit)
    counts = writing.write_explanations(
        FLAGS.output_dir, results, names, model_names, labels, limit, thresholds
    )
    cli_flags.say_graded(counts, f"{FLAGS.output_dir}/{writing.TABLE}", "explained")
    if dicom_results:
        print(dicom_results)


if __name__ == "__main__":
    cli_flags.run(main)
