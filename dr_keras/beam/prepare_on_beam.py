"""Preparation of a dataset as an Apache Beam pipeline, with the shards and manifest of `data.preparation`.

One worker prepares all of a shard, so that a shard is either whole or absent on any engine. Every worker must
find the photographs and the output folder under the same paths.
"""

import functools

import apache_beam as beam

from dr_keras.beam import engine, work_list
from dr_keras.data import preparation
from dr_keras.files import atomic_path

WORK = "work.jsonl"


def prepare_dataset(dataset, output_dir, image_size, where, progress=None, steps=()):
    """Prepares a dataset by a pipeline; does what `data.preparation.prepare_dataset` does.

    Args:
        where: `engine.Engine`; the other arguments are those of `data.preparation.prepare_dataset`.
    """
    write_shards = functools.partial(_write_shards, where=where)
    preparation.prepare_dataset(
        dataset, output_dir, image_size, progress=progress, steps=steps, write_shards=write_shards
    )


def _write_shards(output_dir, header, todo, progress, where):
    if not todo:
        return
    output_dir = output_dir.absolute()
    work = output_dir / WORK
    with atomic_path(work) as temporary:
        stamps = ((number, preparation.source_stamps(shard)) for number, shard in todo.items())
        shards = work_list.write(temporary, stamps)
    try:
        prepare = _PrepareShard(work, output_dir, header)
        rows = {preparation.shard_paths(output_dir, shard.number)[1].name: shard.rows for shard in shards}
        engine.run(
            lambda pipeline: pipeline
            | "Shards" >> beam.Create(shards)
            | "Spread" >> beam.Reshuffle()
            | "Prepare" >> beam.ParDo(prepare),
            where, output_dir, rows, progress,
        )  # fmt: skip
    finally:
        work.unlink()


class _PrepareShard(beam.DoFn):
    def __init__(self, work, output_dir, header):
        self._work, self._output_dir, self._header = work, output_dir, header

    def process(self, shard):
        shard = work_list.Shard(*shard)
        with engine.telling():
            sources = work_list.read(self._work, shard)
            if preparation.shard_is_done(self._output_dir, shard.number, self._header, sources):
                return  # the engine lost the shard's result and asks for it again
            size, steps = self._header["image_size"], self._header["normalization"]
            results = [
                (source, *preparation.prepare_or_reason(source["record"]["path"], size, steps))
                for source in sources
            ]
            preparation.write_shard(self._output_dir, shard.number, self._header, results)
