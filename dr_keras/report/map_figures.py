"""What an evaluation of maps looks like: the areas as a chart, and photographs with masks and maps."""

from pathlib import Path

import cv2
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from dr_keras import files
from dr_keras.data.lesion_masks import read_masks
from dr_keras.evaluation.maps.method_comparison import FUSED, is_baseline, lesions_of
from dr_keras.explain import overlay
from dr_keras.explain.writing import write_png
from dr_keras.inference.grader import explainer_of
from dr_keras.lesion_kinds import COLORS

_COLORS = {"baseline": "#9a9a9a", "method": "#b2182b", FUSED: "#053061"}
_NUM_EXAMPLES = 6
_EXAMPLE_SIDE = 512  # pixels


def write_maps(output_dir, result, models, unseen):
    """Writes `maps.json`, `maps.png` and `examples.png`, each whole or not at all.

    Args:
        output_dir: folder, made if it isn't there.
        result: as from `map_evaluation.evaluate_maps`.
        models, unseen: what it was given.
    """
    output_dir = Path(output_dir)
    with files.atomic_path(output_dir / "maps.png") as temporary:
        area_figure(result).savefig(temporary)
    write_png(output_dir / "examples.png", example_sheet(models, unseen))
    files.write_json(output_dir / "maps.json", result)


def area_figure(result):
    """Draws for each lesion the AUPRC of each method with its interval, beside the prevalence."""
    lesions = lesions_of(result)
    figure = Figure(
        figsize=(2.6 + 1.9 * len(lesions), 1.4 + 0.34 * len(result)), dpi=110, layout="constrained"
    )
    FigureCanvasAgg(figure)
    for axes, lesion in zip(figure.subplots(1, len(lesions), sharey=True, squeeze=False)[0], lesions):
        rows = {method: found[lesion] for method, found in result.items() if lesion in found}
        for place, (method, row) in enumerate(rows.items()):
            area = row["auprc"]
            color = _COLORS.get(method, _COLORS["baseline" if is_baseline(method) else "method"])
            axes.plot([area["low"], area["high"]], [place, place], color=color, linewidth=2)
            axes.plot(area["value"], place, "o", color=color)
        prevalence = next(iter(rows.values()))["prevalence"]["value"]
        axes.axvline(prevalence, color="black", linewidth=0.8, linestyle=":")
        axes.set_yticks(range(len(rows)), list(rows))
        axes.set(
            title=f"{lesion.replace('_', ' ')}\n{next(iter(rows.values()))['n']} photographs",
            ylim=(len(rows), -1),
        )
        axes.set_xlim(left=0)
        axes.grid(axis="x", alpha=0.3)
    figure.supxlabel(
        "area under the precision-recall curve, mean over photographs, 95 % interval; dotted: prevalence"
    )
    return figure


def example_sheet(models, unseen):
    """Draws some photographs, the experts' outlines on them, beside the models' maps.

    Those with most lesion types are shown, evenly over the list.

    Returns:
        uint8 (height, width, 3), RGB.
    """
    most = max(len(one.photograph.masks) for one in unseen)
    rich = [one for one in unseen if len(one.photograph.masks) == most]
    chosen = [rich[place] for place in np.unique(np.linspace(0, len(rich) - 1, _NUM_EXAMPLES).astype(int))]
    rows = []
    for one in chosen:
        explain = explainer_of(models, None, one.networks, max_side=_EXAMPLE_SIDE)
        ((_, explanation, _),) = explain([one.photograph.path])
        rows.append(_example(one.photograph, explanation))
    width = max(row.shape[1] for row in rows)
    return np.concatenate(
        [np.pad(row, ((0, 8), (0, width - row.shape[1]), (0, 0)), constant_values=255) for row in rows]
    )


def _example(photograph, explanation):
    height, width = explanation.heat.shape
    outlined = explanation.image.copy()
    for lesion, mask in read_masks(photograph, height, width).items():
        if lesion in COLORS:
            outlines, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
            cv2.drawContours(outlined, outlines, -1, COLORS[lesion], 1)
    original, blended = overlay.panels(explanation)
    gap = np.full((height, 8, 3), 255, np.uint8)
    return np.concatenate([original, gap, outlined, gap, blended, overlay.key(explanation, height)], axis=1)
