import json
import os
import signal
import subprocess
import time

import pytest
import written
from script_runs import check_refused, command, limit_files, run

pytest.importorskip("apache_beam", reason="the extra beam isn't installed")

from dr_keras.beam import screening, tables  # noqa: E402
from dr_keras.beam.engine import Engine  # noqa: E402
from dr_keras.beam.inputs import find_photographs  # noqa: E402
from dr_keras.data.layouts.photograph_files import list_photographs  # noqa: E402
from dr_keras.errors import InputError  # noqa: E402
from dr_keras.inference import graded  # noqa: E402
from dr_keras.inference.grader import load_grader  # noqa: E402

HERE = Engine(workers=1)


@pytest.fixture(scope="module")
def predicted(tmp_path_factory, run_dir, photographs, how):
    """Rows of predict.py for the same photographs."""
    path = tmp_path_factory.mktemp("predicted") / "grades.csv"
    results = load_grader(run_dir, how.thresholds).grade_each(list_photographs([str(photographs)]))
    graded.write_grades(path, results)
    return written.read(path)


def screen(photographs, output_dir, how, engine=HERE, **options):
    return screening.screen(
        find_photographs(str(photographs)), output_dir, how, engine, shard_rows=5, **options
    )


@pytest.fixture(scope="module")
def screened(tmp_path_factory, photographs, how):
    folder = tmp_path_factory.mktemp("screened")
    return folder, screen(photographs, folder, how)


def test_the_grades_of_predict(screened, predicted, run_dir):
    folder, manifest = screened
    graded = [row for row in predicted if not row["error"]]
    assert len({row["grade"] for row in graded}) > 2
    model = subprocess.run(["sha256sum", run_dir / "model.keras"], capture_output=True, text=True).stdout[:64]
    shared = ("image", "score", "grade", "referable", "gradable", "reason")
    expected = [{name: row[name] for name in shared} | {"model": model} for row in graded]
    assert written.rows(folder) == expected
    dead = [{"image": row["image"], "error": row["error"]} for row in predicted if row["error"]]
    assert len(dead) == 8 and written.read(folder / "unreadable.csv") == dead
    assert (manifest["photographs"], manifest["unreadable"], manifest["shards"]) == (26, 8, 6)
    names = {"manifest.json", "unreadable.csv", *(f"shard-{n:06d}.csv" for n in range(6))}
    assert set(os.listdir(folder)) == names


def test_parquet_holds_the_same(tmp_path, photographs, how, screened):
    parquet = pytest.importorskip("pyarrow.parquet")
    screen(photographs, tmp_path, how, table="parquet")
    rows = [
        row for path in sorted(tmp_path.glob("*.parquet")) for row in parquet.read_table(path).to_pylist()
    ]
    texts = [{name: "" if value is None else str(value) for name, value in row.items()} for row in rows]
    assert texts == written.rows(screened[0])
    assert isinstance(rows[0]["score"], float) and isinstance(rows[0]["grade"], int)


def test_it_goes_on_and_grades_nothing_twice(tmp_path, photographs, how, screened):
    screen(photographs, tmp_path, how)
    manifest = json.loads((tmp_path / "manifest.json").read_text())
    (tmp_path / "manifest.json").write_text(json.dumps({**manifest, "unreadable": None}))
    whole = written.rows(tmp_path)
    del manifest["unreadable"]
    (tmp_path / "manifest.json").write_text(json.dumps(manifest))
    (tmp_path / "shard-000002.csv").unlink()
    before = written.stamps(tmp_path)
    screen(photographs, tmp_path, how)
    after = written.stamps(tmp_path)
    assert written.rows(tmp_path) == whole == written.rows(screened[0])
    assert {name: after[name] for name in before} == before


def test_other_photographs_or_another_model_are_refused(photographs, how, screened, tmp_path):
    folder, _ = screened
    before = written.stamps(folder), sorted(os.listdir(folder))
    with pytest.raises(InputError, match=r"graded with photographs=26, expected 4; name another folder"):
        screen(photographs / "0", folder, how)
    other = screening.Grading(how.model, (0.1, 0.2, 0.3, 0.4))
    with pytest.raises(InputError, match=r"graded with thresholds=\[0.3, 0.6, 0.9, 1.2\], expected"):
        screen(photographs, folder, other)
    data = tmp_path / "model.keras"
    data.write_bytes(open(f"{how.model}/model.keras", "rb").read() + b"\0")
    with pytest.raises(InputError, match="graded with model_sha256="):
        screen(photographs, folder, screening.Grading(str(data), how.thresholds))
    assert (written.stamps(folder), sorted(os.listdir(folder))) == before


def test_inputs(tmp_path, photographs):
    first, second = sorted(photographs.glob("0/*.png"))[:2]
    (tmp_path / "list.txt").write_text(f"{second}\n\n{first}\n{second}\n")
    found = list(find_photographs(tmp_path / "list.txt"))
    assert found == [str(second), str(first), str(second)]
    assert list(find_photographs(f"{photographs}/0/*.png")) == sorted(map(str, photographs.glob("0/*.png")))
    assert list(find_photographs(photographs)) == list_photographs([str(photographs)])
    (tmp_path / "windows.txt").write_bytes(f"{second}\r\n{first}\r\n".encode("utf-8-sig"))
    assert list(find_photographs(tmp_path / "windows.txt")) == found[:2]
    (tmp_path / "none.txt").write_text("\n")
    for named in (tmp_path / "none.txt", tmp_path / "nowhere", f"{tmp_path}/*.png"):
        with pytest.raises(InputError, match="no photograph there"):
            list(find_photographs(named))
    with pytest.raises(InputError, match="can't be read"):
        list(find_photographs(tmp_path / "nowhere.txt"))


def test_names_that_are_no_text(tmp_path):
    rows = [{"image": "\udcff.jpg", "error": "", "score": 1.0, "grade": 1, "referable": 0, "gradable": "",
             "reason": ""}]  # fmt: skip
    tables.write_shard(tmp_path, 0, "csv", rows, "m")
    tables.write_shard(tmp_path, 0, "parquet", rows, "m")
    assert (tmp_path / "shard-000000.csv").read_bytes().splitlines()[1] == b"\xff.jpg,1.0,1,0,,,m"


@pytest.mark.slow
def test_killed_in_the_middle(tmp_path, long_list, run_dir, how):
    arguments = [f"--model={run_dir}", f"--input={long_list}", f"--output={tmp_path / 'out'}"]
    arguments += ["--shard_rows=1", "--workers=2"]
    process = subprocess.Popen(command("screen", *arguments), stderr=subprocess.DEVNULL)
    while len(written.stamps(tmp_path / "out")) < 5 and process.poll() is None:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    time.sleep(2)  # the workers go too
    before = written.stamps(tmp_path / "out")
    assert 5 <= len(before) < 400
    time.sleep(0.5)
    assert written.stamps(tmp_path / "out") == before
    manifest = screening.screen(find_photographs(long_list), tmp_path / "out", how, HERE, shard_rows=1)
    written.check_each_once(tmp_path / "out", long_list.read_text().split(), before)
    assert manifest["unreadable"] == 0


def test_a_disk_that_fills(tmp_path, photographs, run_dir):
    arguments = [f"--model={run_dir}", f"--input={photographs}", f"--output={tmp_path}", "--workers=1"]
    done = run("screen", *arguments, preexec_fn=limit_files(2500))
    check_refused(done, tmp_path / "shard-000000.csv", "File too large; nothing half-written was left behind")
    assert not written.stamps(tmp_path)
