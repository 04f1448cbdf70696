"""Evaluates attribution maps against experts' lesion masks, in comparison with maps that need no model.

  python scripts/evaluate_maps.py --model=RUN [--model=RUN ...] --data_dir=IDRID --output_dir=FOLDER
  python scripts/evaluate_maps.py --model=RUN --output_dir=FOLDER

The masks are those of IDRiD's segmentation part, or of another dataset named by --masks_dir. Photographs that
are copies of graded ones are recognised by their pixels, and each is explained only by networks that weren't
trained on it. Of a lesion network it also says how many lesions are found, and what is marked on healthy
eyes. Without --data_dir the photographs and masks are synthetic, of other eyes than those that train.py
draws.
"""

import _installed  # noqa: F401  isort: skip
from absl import flags

from dr_keras import cli_flags

cli_flags.define_models_flag()
flags.DEFINE_string(
    "data_dir", None, "IDRiD's folder, with its segmentation part. Default: synthetic photographs."
)
flags.DEFINE_string(
    "masks_dir",
    None,
    "Folder of photographs with lesion masks, of eyes of --data_dir or others. Default: --data_dir.",
)
flags.DEFINE_integer(
    "synthetic_images", 100, "Without --data_dir: number of synthetic photographs.", lower_bound=5
)
cli_flags.define_output_dir(
    "maps.json, maps.png, examples.png, faithfulness.json; of lesion networks lesions.json"
)
flags.DEFINE_multi_enum(
    "method", None, ("lesions", "ram", "gradcam", "occlusion"),
    "Method of the maps; may be repeated. Default: lesions, ram or gradcam, the first that all models have.",
)  # fmt: skip
flags.DEFINE_integer(
    "faithfulness",
    20,
    "Photographs for the faithfulness tests, which delete, insert and impute parts of them; 0: none.",
    lower_bound=0,
)
cli_flags.define_batch_size(8)
cli_flags.define_seed()
FLAGS = flags.FLAGS
_UNSEEN_EYES = 1  # train.py draws the eyes of seed 0
_MASKED_SIDE, _DRAWN_SIDE = 1024, 512  # longest side, in pixels, at which maps and masks are compared


def main(argv):
    from dr_keras import files
    from dr_keras.data import layouts, lesion_masks
    from dr_keras.data.layouts import masked
    from dr_keras.training import run_folder

    cli_flags.refuse_arguments(argv)
    paths = cli_flags.find_models()
    run_folder.check_report_dir(FLAGS.output_dir)
    if FLAGS.data_dir:
        photographs = masked.find_masked_photographs(FLAGS.masks_dir or FLAGS.data_dir)
        graded = layouts.load_dataset(FLAGS.data_dir, "idrid").records
    else:
        photographs = lesion_masks.masked_synthetic_photographs(FLAGS.synthetic_images, _UNSEEN_EYES)
        graded = []
    cli_flags.require_tensorflow()
    from dr_keras.evaluation.maps import (
        faithfulness_study,
        lesion_detection,
        map_evaluation,
        method_comparison,
    )
    from dr_keras.explain.explainer import best_method
    from dr_keras.explain.lesion_maps import has_lesions
    from dr_keras.inference.grader import load_grader
    from dr_keras.report import map_figures

    models = [load_grader(path) for path in paths]
    methods = FLAGS.method or [best_method([each for model in models for each in model.networks])]
    unseen, copies = map_evaluation.find_unseen_networks(models, photographs, graded)
    print(
        f"{len(photographs)} photographs with masks, {copies} of them also among the graded ones; "
        f"{len(unseen)} explained by networks that never saw them"
    )
    if not unseen:
        raise cli_flags.InputError(
            f"--model={paths[0]}: trained on all of these photographs; expected a run with --folds"
        )
    max_side = _MASKED_SIDE if FLAGS.data_dir else _DRAWN_SIDE
    result = map_evaluation.evaluate_maps(
        models, unseen, methods, max_side, FLAGS.batch_size, FLAGS.seed,
        cli_flags.progress("explaining"),
    )  # fmt: skip
    map_figures.write_maps(FLAGS.output_dir, result, models, unseen)
    print("\n".join(method_comparison.table(result)))
    for number, model in enumerate(models):
        if all(has_lesions(network) for network in model.networks):
            own = [(one.photograph, one.networks[number]) for one in unseen]
            result = lesion_detection.evaluate_detection(
                model.networks,
                own,
                map_evaluation.unseen_healthy(model, graded),
                cli_flags.progress("detecting"),
            )
            name = "lesions.json" if len(models) == 1 else f"lesions_{number + 1}.json"
            files.write_json(f"{FLAGS.output_dir}/{name}", result)
            print("\n".join(["", *lesion_detection.table(result), ""]))
    if FLAGS.faithfulness:
        result = faithfulness_study.evaluate_faithfulness(
            models, unseen, methods, FLAGS.faithfulness, FLAGS.seed, cli_flags.progress("deleting")
        )
        files.write_json(f"{FLAGS.output_dir}/faithfulness.json", result)
        print("\n".join(["", *faithfulness_study.table(result)]))


if __name__ == "__main__":
    cli_flags.run(main)
