"""Grading of any number of photographs as an Apache Beam pipeline with RunInference.

The photographs are divided into numbered shards. A worker grades a shard and writes it as a whole, so after a
kill a shard is either done or absent. (If single photographs were passed around and then gathered into
shards, a batch engine would write nothing until it had graded all.) Every worker must find the photographs,
the model and the output folder under the same paths.
"""

import dataclasses
import itertools
import json
import os
from pathlib import Path

import apache_beam as beam
from apache_beam.ml.inference.base import ModelHandler, RunInference

from dr_keras.beam import engine, tables, work_list
from dr_keras.errors import InputError
from dr_keras.files import atomic_path, sole_writer, write_json
from dr_keras.inference import formats
from dr_keras.inference.graded import grade_row
from dr_keras.inference.grader import load_grader

FORMAT = 1
MANIFEST, WORK = "manifest.json", "work.jsonl"
_COMPARED = tuple("format model_sha256 thresholds photographs photographs_sha256 shard_rows table".split())


@dataclasses.dataclass(frozen=True)
class Grading:
    """How photographs are graded.

    Attributes:
        model: path of a run, a `.keras` file or an exported model.
        thresholds: four increasing thresholds between the grades, in grade units; None: the model's.
        batch_size: number of photographs that the network grades at once.
    """

    model: str
    thresholds: tuple | None = None
    batch_size: int = 32


def screen(photographs, output_dir, grading, where, table="csv", shard_rows=256, progress=None):
    """Grades photographs into shards of a table; continues where a killed run left off.

    Args:
        photographs: iterable of absolute paths; a continued run needs the same ones in the same order.
        output_dir: folder for the shards; made if it doesn't exist.
        grading: `Grading`.
        where: `engine.Engine`.
        table: one of `tables.FORMATS`.
        shard_rows: number of photographs in a shard.
        progress: wraps the iteration as `tqdm.tqdm` does, called with `total`; nothing if None.

    Returns:
        The manifest, as written to `manifest.json`.

    Raises:
        InputError: if the folder holds grades of other photographs, by another model or other settings.
    """
    output_dir = Path(output_dir).absolute()
    digest = model_sha256(grading.model)
    with sole_writer(output_dir):
        with atomic_path(output_dir / WORK) as temporary:
            shards = work_list.write(temporary, _in_shards(photographs, shard_rows))
            manifest = {
                "format": FORMAT,
                "model": str(grading.model),
                "model_sha256": digest,
                "thresholds": grading.thresholds and list(grading.thresholds),
                "photographs": sum(shard.rows for shard in shards),
                "photographs_sha256": work_list.sha256(temporary),
                "shard_rows": shard_rows,
                "table": table,
                "shards": len(shards),
            }
            found = _claim(output_dir / MANIFEST, manifest)
        if "unreadable" not in found:
            _grade_missing(shards, output_dir, manifest, grading, where, progress)
            found = manifest | {"unreadable": tables.merge_dead_letters(output_dir, len(shards))}
            write_json(output_dir / MANIFEST, found)
        tables.remove_parts(output_dir)
        (output_dir / WORK).unlink()
        return found


def model_sha256(path):
    """Returns the SHA-256 of a model's file, or of its files (folds, a SavedModel) one after the other."""
    return work_list.sha256(*formats.model_files(path))


def _in_shards(entries, rows):
    entries = iter(entries)
    for number in itertools.count():
        shard = list(itertools.islice(entries, rows))
        if not shard:
            return
        yield number, shard


def _claim(path, manifest):
    """Returns the manifest that is there, or writes the new one; `InputError` if they don't agree."""
    if not path.exists():
        write_json(path, manifest)
        return manifest
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except ValueError:
        raise InputError(f"{path}: not valid JSON; name another folder or delete this one") from None
    for key in _COMPARED:
        if found.get(key) != manifest[key]:
            raise InputError(
                f"{path}: graded with {key}={found.get(key)}, expected {manifest[key]}; name another "
                "folder or delete this one"
            )
    return found


def _grade_missing(shards, output_dir, manifest, grading, where, progress):
    names = {shard: tables.shard_name(shard.number, manifest["table"]) for shard in shards}
    there = set(os.listdir(output_dir))
    todo = [shard for shard in shards if names[shard] not in there]
    if not todo:
        return
    handler = PhotographGrader(grading, output_dir / WORK)
    engine.run(
        lambda pipeline: pipeline
        | "Shards" >> beam.Create(todo)
        | "Spread" >> beam.Reshuffle()
        | "Missing" >> beam.Filter(_is_missing, output_dir, manifest["table"])
        | "Grade" >> RunInference(handler)
        | "Write" >> beam.ParDo(_write_shard, output_dir, manifest),
        where, output_dir, {names[shard]: shard.rows for shard in todo}, progress,
    )  # fmt: skip


class PhotographGrader(ModelHandler):
    """Grades a shard's photographs in batches, as `scripts/predict.py` does; a process loads the model once.

    Args:
        grading: `Grading`.
        work: path of the work list.
    """

    def __init__(self, grading, work):
        super().__init__()
        self._grading, self._work = grading, work

    def should_skip_batching(self):
        """Returns True: a shard is a batch already, and Dask's runner loses what Beam would gather."""
        return True

    def load_model(self):
        """Returns the `Grader`."""
        with engine.telling():
            return load_grader(self._grading.model, self._grading.thresholds)

    def run_inference(self, batch, model, inference_args=None):
        """Grades a `Shard`; returns a list of one (number, rows as from `graded.grade_row`)."""
        shard = work_list.Shard(*batch)
        with engine.telling():
            paths = work_list.read(self._work, shard)
            results = model.grade_each(paths, self._grading.batch_size)
            return [(shard.number, [grade_row(graded) for graded in results])]


def _is_missing(shard, output_dir, table):
    return not (output_dir / tables.shard_name(shard[0], table)).exists()


def _write_shard(result, output_dir, manifest):
    number, rows = result
    with engine.telling():
        tables.write_shard(output_dir, number, manifest["table"], rows, manifest["model_sha256"])
    return ()
