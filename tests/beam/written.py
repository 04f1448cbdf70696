"""What the pipelines wrote, read back."""

import csv


def contents(folder):
    """File name to bytes."""
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def read(path):
    """The rows of a CSV file."""
    with open(path, encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def rows(folder):
    """The rows of all shards of grades, in order."""
    return [row for path in sorted(folder.glob("shard-*.csv")) for row in read(path)]


def stamps(folder):
    """File name of each shard of grades to when it was written."""
    return {path.name: path.stat().st_mtime_ns for path in folder.glob("shard-*")}


def check_each_once(folder, listed, before):
    """Each of 400 listed photographs was graded once, a shard each; those of `before` were left alone."""
    after = stamps(folder)
    assert len(after) == len(listed) == 400 and {name: after[name] for name in before} == before
    assert [row["image"] for row in rows(folder)] == listed
