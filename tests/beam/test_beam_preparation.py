import os

import pytest
import written
from script_runs import check_refused, limit_files, run

pytest.importorskip("apache_beam", reason="the extra beam isn't installed")

from dr_keras.beam.engine import Engine  # noqa: E402
from dr_keras.beam.prepare_on_beam import prepare_dataset  # noqa: E402
from dr_keras.errors import InputError  # noqa: E402


@pytest.mark.parametrize("engine", [Engine(workers=1), Engine(workers=2)], ids=["1 process", "2 processes"])
def test_the_same_bytes_as_without_beam(tmp_path, dataset, prepared_without_beam, engine):
    prepare_dataset(dataset, tmp_path / "out", 32, engine, steps=("color",))
    assert "shard-00005.npy" in prepared_without_beam
    assert written.contents(tmp_path / "out") == prepared_without_beam


def test_it_goes_on_with_what_is_missing(tmp_path, dataset, prepared_without_beam):
    for name, data in prepared_without_beam.items():
        if name not in ("manifest.json", "shard-00001.json", "shard-00003.npy"):
            (tmp_path / name).write_bytes(data)
    before = {path.name: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    counted = []

    def progress(items, total):
        for item in items:
            counted.append(total)
            yield item

    prepare_dataset(dataset, tmp_path, 32, Engine(workers=1), progress, steps=("color",))
    assert counted == [10] * 10
    assert written.contents(tmp_path) == prepared_without_beam
    after = {path.name: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    made_again = {"shard-00001.npy", "shard-00003.json"}
    assert {name for name in before if after[name] != before[name]} == made_again
    with pytest.raises(InputError, match="prepared with image_size=32, expected 64"):
        prepare_dataset(dataset, tmp_path, 64, Engine(workers=1), steps=("color",))


def test_a_disk_that_fills_in_a_worker(tmp_path, photographs):
    arguments = [f"--data_dir={photographs}", f"--output_dir={tmp_path}", "--image_size=128"]
    arguments += ["--runner=DirectRunner", "--workers=2"]
    done = run("prepare_data", *arguments, preexec_fn=limit_files(200_000))
    check_refused(done, tmp_path / "shard-00000.npy", "File too large; nothing half-written was left behind")
    assert os.listdir(tmp_path) == []
