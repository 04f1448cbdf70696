"""A list of work on disk, divided into numbered shards: what a pipeline passes around is a place in it.

However long the list, the pipeline itself stays small, and no process holds more of the list than a shard.
"""

import hashlib
import json
from typing import NamedTuple


class Shard(NamedTuple):
    """A stretch of a work list.

    Attributes:
        number: from 0.
        offset: where it begins in the file, bytes.
        rows: entries in it.
    """

    number: int
    offset: int
    rows: int


def write(path, shards):
    """Writes a work list; returns its `Shard`s.

    Args:
        path: the file.
        shards: iterable of (number, entries), each entry a value for JSON.
    """
    places = []
    with open(path, "w", encoding="ascii") as file:
        for number, entries in shards:
            offset, rows = file.tell(), 0
            for entry in entries:
                file.write(json.dumps(entry) + "\n")
                rows += 1
            places.append(Shard(number, offset, rows))
    return places


def read(path, shard):
    """Reads the entries of a `Shard`: a list."""
    with open(path, encoding="ascii") as file:
        file.seek(shard.offset)
        return [json.loads(file.readline()) for _ in range(shard.rows)]


def sha256(*paths):
    """SHA-256 of files, one after the other, read piece by piece."""
    digest = hashlib.sha256()
    for path in paths:
        with open(path, "rb") as file:
            while piece := file.read(2**20):
                digest.update(piece)
    return digest.hexdigest()
