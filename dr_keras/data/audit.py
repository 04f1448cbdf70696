"""What a dataset holds and what is wrong with it, before anything is trained on it."""

import os
import re

import numpy as np

from dr_keras.data.duplicates import COPY_SIMILARITY, find_pairs, group_pairs
from dr_keras.data.inspection import inspect_files, inspect_prepared
from dr_keras.data.splits import count_grades
from dr_keras.grades import GRADE_NAMES

_LINES_SHOWN = 20


def audit_dataset(dataset, workers=None, progress=None):
    """Opens every photograph of a dataset once and reports on them.

    Args:
        dataset: a `FundusDataset`; of synthetic ones only the labels are counted.
        workers: number of processes; all usable cores if None.
        progress: wraps the iteration as `tqdm.tqdm` does; nothing if None.

    Returns:
        Dict that `json` can write:
        `dataset`, `root`, `photographs`, `patients`, `notes`;
        `common_folder`: the folder that holds all of them, "" for `root` itself;
        `grades`: {split: [count of grade 0, ..., grade 4, without grade]};
        `unreadable`, `no_retina`: lists of {"image", "reason"};
        `field_of_view_not_found`: names of photographs of which the centre square is taken;
        `copies`: groups of one and the same photograph; `near_duplicates`: groups that are an altered
        photograph or a second exposure of one eye; each a list of {"images", "grades", "splits",
        "similarity"} with the similarity of its least similar pair;
        `conflicting_labels`: those of both kinds whose grades differ;
        `across_splits`: {"duplicates": those of both kinds, "patients": list of {"patient",
        "images", "splits"}} that are on more than one side.
    """
    inspections = []
    if dataset.name != "synthetic":
        inspections = inspect_files([record.path for record in dataset.records], workers, progress)
    return _report(dataset, dataset.records, inspections)


def audit_prepared(prepared, inspections=None):
    """Reports, as `audit_dataset` does, on the images of a `PreparedDataset`: opens no photograph.

    `inspections` are those of `inspection.inspect_prepared`, if they are known.
    """
    if prepared.name == "synthetic":
        return _report(prepared, prepared.records, [])
    report = _report(prepared, prepared.records, inspections or inspect_prepared(prepared))
    report["unreadable"] = [{"image": image, "reason": reason} for image, reason in prepared.unreadable]
    return report


def _report(dataset, records, inspections):
    copies, near = _duplicates(records, inspections)
    return {
        "dataset": dataset.name,
        "root": dataset.root,
        "photographs": len(records),
        "patients": len({record.patient for record in records}),
        "notes": list(dataset.notes),
        "common_folder": _common_folder(records),
        "grades": count_grades(records),
        "unreadable": _reasons(records, [seen.unreadable for seen in inspections]),
        "no_retina": _reasons(records, [seen.no_retina for seen in inspections]),
        "field_of_view_not_found": [
            record.image
            for record, seen in zip(records, inspections)
            if not (seen.unreadable or seen.field_of_view_found)
        ],
        "copies": copies,
        "near_duplicates": near,
        "conflicting_labels": [group for group in copies + near if len(set(group["grades"])) > 1],
        "across_splits": {
            "duplicates": [group for group in copies + near if len(set(group["splits"])) > 1],
            "patients": _patients_across_splits(records),
        },
    }


def duplicate_groups(report, records):
    """Returns the report's duplicates as tuples of indices into `records`, for `group_records`.

    Photographs of the report that aren't among `records` are passed over.
    """
    index = {record.image: number for number, record in enumerate(records)}
    groups = []
    for group in report["copies"] + report["near_duplicates"]:
        groups.append(tuple(index[image] for image in group["images"] if image in index))
    return [group for group in groups if len(group) > 1]


def format_audit(report):
    """Returns the report as lines for the terminal: a table of grades, then each finding by name."""
    lines = [f"{report['dataset']}: {report['photographs']} photographs of {report['patients']} patients"]
    lines += [f"note: {note}" for note in report["notes"]]
    lines += ["", *_grade_table(report["grades"])]
    folder = report["common_folder"]
    if folder:
        lines += ["", f"Names below are those in {folder}/"]
    across = report["across_splits"]
    sections = (
        ("unreadable files", _format_reasons(report["unreadable"])),
        ("photographs without a visible retina", _format_reasons(report["no_retina"])),
        ("field of view not found, centre square taken", report["field_of_view_not_found"]),
        ("copies of one photograph", _format_groups(report["copies"])),
        ("near duplicates: altered, or one eye again", _format_groups(report["near_duplicates"])),
        ("duplicates with different grades", _format_groups(report["conflicting_labels"])),
        ("duplicates across splits", _format_groups(across["duplicates"])),
        ("patients across splits", [f"{p['patient']}: {', '.join(p['splits'])}" for p in across["patients"]]),
    )
    for title, entries in sections:
        lines += ["", f"{title}: {len(entries) or 'none'}"]
        lines += ["  " + _without_folder(entry, folder) for entry in entries[:_LINES_SHOWN]]
        if len(entries) > _LINES_SHOWN:
            lines.append(f"  ... and {len(entries) - _LINES_SHOWN} more")
    return "\n".join(lines)


def _without_folder(entry, folder):
    """Leaves the common folder out where a name begins with it, and nowhere else."""
    return re.sub(rf"(?<![^\s,:=]){re.escape(folder)}/", "", entry) if folder else entry


def _duplicates(records, inspections):
    """Returns (copies, near duplicates), described."""
    readable = [index for index, seen in enumerate(inspections) if seen.fingerprint is not None]
    if not readable:
        return [], []
    found = find_pairs(np.stack([inspections[index].fingerprint for index in readable]))
    pairs = [(readable[pair.first], readable[pair.second], pair.similarity) for pair in found]
    copy_pairs = [pair for pair in pairs if pair[2] >= COPY_SIMILARITY]
    copies = group_pairs(len(records), copy_pairs)
    near = [group for group in group_pairs(len(records), pairs) if group not in copies]
    return [_describe(group, pairs, records) for group in copies], [
        _describe(group, pairs, records) for group in near
    ]


def _common_folder(records):
    folders = {record.image.rpartition("/")[0] for record in records}
    return "" if "" in folders else os.path.commonpath(folders)


def _describe(group, pairs, records):
    members = [records[index] for index in group]
    return {
        "images": [record.image for record in members],
        "grades": [record.grade for record in members],
        "splits": [record.split for record in members],
        "similarity": min(value for first, second, value in pairs if first in group and second in group),
    }


def _patients_across_splits(records):
    members = {}
    for record in records:
        members.setdefault(record.patient, []).append(record)
    return [
        {"patient": patient, "images": [r.image for r in group], "splits": sorted({r.split for r in group})}
        for patient, group in members.items()
        if len({record.split for record in group}) > 1
    ]


def _reasons(records, reasons):
    return [{"image": record.image, "reason": why} for record, why in zip(records, reasons) if why]


def _grade_table(grades):
    headings = [*(f"{grade} {name}" for grade, name in enumerate(GRADE_NAMES)), "no grade"]
    rows = [["split", *headings, "total"]]
    rows += [[split or "(none)", *map(str, counts), str(sum(counts))] for split, counts in grades.items()]
    if len(grades) > 1:
        totals = [sum(column) for column in zip(*grades.values())]
        rows.append(["all", *map(str, totals), str(sum(totals))])
    shown = [column for column in zip(*rows) if column[0] != "no grade" or any(c != "0" for c in column[1:])]
    widths = [max(map(len, column)) for column in shown]
    return ["  ".join(cell.rjust(width) for cell, width in zip(row, widths)) for row in zip(*shown)]


def _format_reasons(entries):
    return [f"{entry['image']}: {entry['reason']}" for entry in entries]


def _format_groups(groups):
    lines = []
    for group in groups:
        members = []
        for image, grade, split in zip(group["images"], group["grades"], group["splits"]):
            said = [f"grade {grade}"] if grade is not None else []
            members.append(f"{image} ({', '.join(said + ([split] if split else []))})")
        lines.append(" = ".join(members) + f"  [{group['similarity']:.2f}]")
    return lines
