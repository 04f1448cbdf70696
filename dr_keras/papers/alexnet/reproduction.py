"""The reproduction of P1's results from trained networks: figures 6 to 11, the lesion check, and one page."""

from pathlib import Path

import numpy as np

from dr_keras import files
from dr_keras.data import layouts, lesion_masks
from dr_keras.data.layouts import masked
from dr_keras.errors import InputError
from dr_keras.evaluation import model_evaluation
from dr_keras.evaluation.maps import map_evaluation
from dr_keras.explain import overlay
from dr_keras.grades import DEFAULT_THRESHOLDS, NUM_GRADES
from dr_keras.inference.examples import example_of, explain_examples
from dr_keras.papers.alexnet import (
    alexnet_page,
    alexnet_runs,
    lesion_check,
    patch_clusters,
    patch_report,
    patch_search,
)
from dr_keras.papers.alexnet.patches import share_threshold
from dr_keras.report import progression
from dr_keras.report.figures import curves, scores, style
from dr_keras.report.figures.sheets import sheet_figure
from dr_keras.training import run_folder

LAYER = "pool5"
_SHOWN = 20  # photographs in figure 11
_PER_GRADE, _PANEL = 2, 360  # photographs of each grade in figure 9, and the pixels of each
_UNSEEN_EYES, _MASKED_EYES = 1, 100  # seed, unlike training's, and number of synthetic photographs with masks


def reproduce(output_dir, data_dir, open_prepared, seed=0, threshold=0.2, clusters=20, progress=None):
    """Makes P1's figures and numbers of the two networks that `alexnet_runs.train` left in a folder.

    Args:
        output_dir: folder; `index.html`, `results.json`, the figures, and `report`, `patches`, `clusters`.
        data_dir: folder of the photographs, for lesion masks; None for synthetic ones.
        open_prepared: as for `model_evaluation.evaluate_model`.
        seed: seed of everything drawn at random.
        threshold: of the drop that makes a patch abnormal, in the unit interval (P1: 0.2).
        clusters: k of k-means.
        progress: called with a description, returns what wraps an iteration, as `cli_flags.progress`.

    Returns:
        dict, as written to `results.json`.
    """
    output_dir, bar = Path(output_dir), progress or (lambda description: None)
    done, probabilities, results = alexnet_runs.compare(output_dir, open_prepared, seed, bar("grading"))
    results["subset"] = np.bincount(_used(done), minlength=NUM_GRADES).tolist()
    ranges = {"range separation": results["range_separation"]["cuts"], "fixed": DEFAULT_THRESHOLDS}
    given = done.scored.labels, done.scored.scores
    figures = {
        "ranges": scores.threshold_ranges_figure(*given, ranges),
        "rocs": curves.both_grade_rocs_figure(*given, probabilities, results["one_against_all"]),
        "saliency": _saliency(done, bar("occluding")),
    }
    every = model_evaluation.evaluate_model(done.path, open_prepared, "all", progress=bar("grading"))
    figures["progression"] = progression.progression_figure(
        progression.progression(every.prepared, every.scores, _SHOWN, "even", seed)
    )
    for name, figure in figures.items():
        style.write_png(output_dir / f"{name}.png", figure)
    results["patches"], threshold = _patches(output_dir, every, threshold, clusters, seed, bar("occluding"))
    results["lesion_check"] = _lesions(done, data_dir, threshold, seed, bar("masks"))
    files.write_json(output_dir / "results.json", results)
    alexnet_page.write_page(output_dir, results, done)
    return results


def _used(done):
    """Grades of the balanced subset: the photographs used for training, validation or evaluation."""
    known = np.stack(
        [run_folder.splits_of(path.parent / run_folder.SPLIT, done.prepared.records)
         for path in done.model.model_files]
    )  # fmt: skip
    return done.prepared.grades[
        ~np.isin(known, ("", run_folder.UNKNOWN)).all(axis=0) & (done.prepared.grades >= 0)
    ]


def _saliency(done, progress):
    """Figure 9: occlusion maps of 6x6 cells, for the photographs of each grade with the highest scores."""
    examples, captions = [], {}
    for grade in range(NUM_GRADES - 1, -1, -1):
        own = np.flatnonzero(done.scored.labels == grade)
        for position in own[np.argsort(-done.scored.scores[own], kind="stable")][:_PER_GRADE]:
            example = example_of([done.prepared], [done.scores], [position])
            examples.append(example)
            captions[example.path] = f"true grade {grade}, score {done.scored.scores[position]:.2f}"
    explained = explain_examples(
        [done.model], examples, "occlusion", progress, layer=LAYER, window=1, max_side=_PANEL
    )
    found = {path: explanation for path, explanation, _ in explained if explanation is not None}
    cells = []
    for example in examples:
        if example.path in found:
            pictures = overlay.panels(found[example.path], overlay.LIMITS["occlusion"] / 2)
            cells.append((np.concatenate(pictures, axis=1), captions[example.path]))
    return sheet_figure(cells, _PER_GRADE, 10.0)


def _patches(output_dir, every, threshold, clusters, seed, progress):
    """Figure 10. Returns the results and the threshold in use, which is lowered if there are few patches."""
    search = patch_search.search(every, threshold, progress=progress)
    found = {"threshold": threshold, "patches": len(search.patches), "summary": search.summary()}
    if len(search.patches) < 2 * clusters:
        lower = share_threshold(search.drops)
        search = search.above(lower)
        found |= {"used_threshold": lower, "used_patches": len(search.patches)}
        found["summary"] += f"; above {lower:.3g}: {search.summary()}"
        threshold = lower
    search.write(output_dir / "patches")
    grades = every.scored.labels[[patch.position for patch in search.patches]]
    found["of_grade"] = np.bincount(grades, minlength=NUM_GRADES).tolist()
    table = patch_clusters.read_patches(output_dir / "patches")
    clustered = patch_report.write_clusters(
        output_dir / "clusters", table, every.model.networks[0], LAYER, clusters, seed
    )
    return found | {"clusters": clustered}, threshold


def _lesions(done, data_dir, threshold, seed, progress):
    """Returns the results of the lesion check, or the reason why it was left out."""
    try:
        if data_dir:
            photographs = masked.find_masked_photographs(data_dir)
            graded = layouts.load_dataset(data_dir, "idrid").records
        else:
            photographs = lesion_masks.masked_synthetic_photographs(_MASKED_EYES, _UNSEEN_EYES)
            graded = []
    except InputError as error:
        return {"left_out": str(error)}
    unseen, copies = map_evaluation.find_unseen_networks([done.model], photographs, graded)
    if not unseen:
        return {"left_out": "the networks were trained on all photographs that have masks"}
    found = lesion_check.check_lesions(done.model, unseen, threshold, seed=seed, progress=progress)
    return found | {"masked": len(photographs), "copies_of_graded": copies, "threshold": threshold}
