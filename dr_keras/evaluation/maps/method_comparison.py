"""Which maps beat those that know nothing, lesion by lesion: paired differences, and the table of it all."""

import numpy as np

from dr_keras.data.lesion_masks import ANY_LESION
from dr_keras.evaluation.bootstrap import bootstrap_interval
from dr_keras.evaluation.maps.localisation import summarise

RANDOM, CENTRE, RANDOMISED, FUSED = "random", "centre", "randomised", "fused"


def is_baseline(method):
    """Whether the maps of that name know nothing of lesions."""
    return method in (RANDOM, CENTRE) or method.startswith(RANDOMISED)


def compare_methods(rows, seed=0):
    """Summarises the measures of all methods, and compares each with every baseline.

    A photograph that is hard for one map is hard for all. So the difference is taken within photographs, and
    is surer than the two methods' own intervals suggest.

    Args:
        rows: dict of method to dict of lesion to list of dicts of `localisation.score_map`, photographs in
            the same order for all methods.
        seed: seed of the bootstrap.

    Returns:
        dict of method to dict of lesion to the result of `localisation.summarise`; of methods that aren't
        baselines with `above`: dict of baseline to `{"value", "low", "high"}` of the mean gain in AUPRC.
    """
    result = {}
    for method, lesions in rows.items():
        result[method] = {lesion: summarise(own, seed=seed) for lesion, own in lesions.items()}
        if not is_baseline(method):
            for lesion, own in lesions.items():
                result[method][lesion]["above"] = {
                    baseline: _difference(own, rows[baseline][lesion], seed)
                    for baseline in rows
                    if is_baseline(baseline)
                }
    return result


def _difference(own, others, seed):
    gains = [row["auprc"] - other["auprc"] for row, other in zip(own, others, strict=True)]
    return bootstrap_interval(np.mean, np.array(gains), seed=seed)


def beats_baselines(row):
    """Whether a method's AUPRC for a lesion is above that of every baseline, by the whole interval."""
    return all(gain["low"] > 0 for gain in row["above"].values())


def lesions_of(result):
    """The lesions in a result of `compare_methods`: their union first, then by name."""
    return [ANY_LESION] + sorted({lesion for rows in result.values() for lesion in rows} - {ANY_LESION})


def table(result):
    """Lines of text: AUPRC of each method and lesion, gains over baselines, and all measures on the union."""
    lesions = lesions_of(result)
    headings = [lesion.replace("_", " ") for lesion in lesions]
    lines = [_line("AUPRC, 95 % interval", headings)]
    for method, rows in result.items():
        lines.append(_line(method, [_cell(rows[each]["auprc"]) if each in rows else "" for each in lesions]))
    first = next(iter(result.values()))
    shares = [f"{first[lesion]['prevalence']['value']:.4f}, n={first[lesion]['n']}" for lesion in lesions]
    lines += [_line("prevalence, photographs", shares), ""]
    methods = [method for method in result if not is_baseline(method)]
    for method in methods:
        lines.append(_line(f"{method} above", headings))
        for baseline in filter(is_baseline, result):
            gains = [result[method][lesion]["above"][baseline] for lesion in lesions]
            lines.append(_line(f"  {baseline}", [_cell(gain, "+.3f") for gain in gains]))
    lines += [*(_verdict(method, result[method], lesions) for method in methods), ""]
    measures = ("pointing_game", "strict_pointing", "best_iou", "energy_inside")
    lines.append(_line("any lesion", [measure.replace("_", " ") for measure in measures]))
    for method, rows in result.items():
        lines.append(_line(method, [_cell(rows[ANY_LESION][measure]) for measure in measures]))
    return lines


def _verdict(method, rows, lesions):
    beaten = [lesion for lesion in lesions if beats_baselines(rows[lesion])]
    others = [lesion for lesion in lesions if lesion not in beaten]
    words = [", ".join(some).replace("_", " ") or "no lesion" for some in (beaten, others)]
    return f"{method} beats every baseline on {words[0]}" + (f"; not on {words[1]}" if others else "")


def _line(name, cells):
    return f"{name:28}" + "".join(f"{cell:>26}" for cell in cells)


def _cell(interval, form=".3f"):
    value, low, high = (format(interval[name], form) for name in ("value", "low", "high"))
    return f"{value} ({low} to {high})"
