"""A list of work on disk, divided into numbered shards; the pipeline passes around only a shard's position.

However long the list, the pipeline stays small, and no process holds more of the list than a shard.
"""

import hashlib
import json
from typing import NamedTuple


class Shard(NamedTuple):
    """A stretch of a work list.

    Attributes:
        number: the shard's number, from 0.
        offset: its first byte in the file.
        rows: the number of its entries.
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
    """Returns the entries of a `Shard` as a list."""
    with open(path, encoding="ascii") as file:
        file.seek(shard.offset)
        return [json.loads(file.readline()) for _ in range(shard.rows)]


def sha256(*paths):
    """Returns the SHA-256 of files, one after the other, without loading them whole."""
    digest = hashlib.sha256()
    for path in paths:
        with open(path, "rb") as file:
            while piece := file.read(2**20):
                digest.update(piece)
    return digest.hexdigest()
