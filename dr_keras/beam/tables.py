"""The tables that a screening writes: shards of grades, and the files that can't be read (dead letters)."""

import csv
import io

from dr_keras import files

COLUMNS = ("image", "score", "grade", "referable", "gradable", "reason", "model")
DEAD_COLUMNS = ("image", "error")
FORMATS = ("csv", "parquet")
DEAD_LETTERS = "unreadable.csv"


def shard_name(number, form):
    """File name of a shard of grades."""
    return f"shard-{number:06d}.{form}"


def write_shard(folder, number, form, rows, model):
    """Writes the rows of a shard, and those with an error among its dead letters; each file whole or not.

    Args:
        folder: where the files are written.
        number: the shard's number.
        form: one of `FORMATS`.
        rows: list of dicts, see `graded.grade_row`.
        model: SHA-256 of the model.
    """
    dead = [row for row in rows if row["error"]]
    if dead:
        _write(_dead_path(folder, number), _csv(DEAD_COLUMNS, dead))
    graded = [row | {"model": model} for row in rows if not row["error"]]
    content = (_csv if form == "csv" else _parquet)(COLUMNS, graded)
    _write(folder / shard_name(number, form), content)  # last: its presence means that the shard is whole


def merge_dead_letters(folder, num_shards):
    """Merges the dead letters of all shards into `unreadable.csv`; returns their number."""
    count, parts = 0, [_dead_path(folder, number) for number in range(num_shards)]
    parts = [part for part in parts if part.exists()]
    with files.atomic_path(folder / DEAD_LETTERS) as temporary, _text(open(temporary, "wb")) as merged:
        writer = csv.writer(merged, lineterminator="\n")
        writer.writerow(DEAD_COLUMNS)
        for part in parts:
            with open(part, encoding="utf-8", errors="surrogateescape", newline="") as file:
                rows = csv.reader(file)
                next(rows)
                for row in rows:
                    writer.writerow(row)
                    count += 1
    return count


def remove_parts(folder):
    """Removes the dead letters of single shards."""
    for part in folder.glob("unreadable-*.csv"):
        part.unlink()


def _dead_path(folder, number):
    return folder / f"unreadable-{number:06d}.csv"


def _write(path, content):
    with files.atomic_path(path) as temporary:
        temporary.write_bytes(content)


def _text(file):
    # A file name may contain bytes that aren't UTF-8: they are written as they are.
    return io.TextIOWrapper(file, encoding="utf-8", errors="surrogateescape", newline="")


def _csv(columns, rows):
    content = io.BytesIO()
    text = _text(content)
    writer = csv.DictWriter(text, columns, extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    text.flush()
    return content.getvalue()


def _parquet(columns, rows):
    import pyarrow
    import pyarrow.parquet

    kinds = dict.fromkeys(columns, pyarrow.string()) | {"score": pyarrow.float64()}
    kinds |= dict.fromkeys(("grade", "referable", "gradable"), pyarrow.int8())
    values = {name: [_value(row[name], kinds[name]) for row in rows] for name in columns}
    content = io.BytesIO()
    pyarrow.parquet.write_table(pyarrow.table(values, pyarrow.schema(kinds.items())), content)
    return content.getvalue()


def _value(value, kind):
    if str(kind) != "string":
        return None if value == "" else value
    return value.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
