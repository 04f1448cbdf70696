import json
import os
import resource
import stat
import threading

import pytest

from dr_keras import files


def test_text_replaces_the_file(tmp_path):
    path = tmp_path / "new" / "folder" / "note.txt"
    files.write_text(path, "first, longer")
    files.write_text(path, "größer")
    assert path.read_text(encoding="utf-8") == "größer"
    assert os.listdir(path.parent) == ["note.txt"]


def test_the_file_may_be_read_by_others(tmp_path):
    files.write_text(tmp_path / "note.txt", "text")
    assert stat.S_IMODE((tmp_path / "note.txt").stat().st_mode) == 0o644


def test_the_temporary_file_lies_beside_with_the_same_suffix(tmp_path):
    with files.atomic_path(tmp_path / "map.png") as temporary:
        assert temporary.parent == tmp_path
        assert temporary.suffix == ".png"
        assert not (tmp_path / "map.png").exists()
        temporary.write_bytes(b"whole")
    assert (tmp_path / "map.png").read_bytes() == b"whole"


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_a_failed_write_leaves_the_old_file(tmp_path, error):
    path = tmp_path / "note.txt"
    path.write_text("old")
    with pytest.raises(error):
        with files.atomic_path(path) as temporary:
            temporary.write_text("half")
            raise error
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["note.txt"]


def test_a_full_disk_leaves_nothing_behind(tmp_path):
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
    try:
        with pytest.raises(OSError, match="too large"):
            files.write_text(tmp_path / "note.txt", "x" * 2000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert os.listdir(tmp_path) == []


def test_json_has_null_for_nan(tmp_path):
    value = {"kappa": float("nan"), "rows": [1, (2.5, float("nan"))], "name": "é"}
    files.write_json(tmp_path / "metrics.json", value)
    text = (tmp_path / "metrics.json").read_text(encoding="utf-8")
    assert json.loads(text) == {"kappa": None, "rows": [1, [2.5, None]], "name": "é"}
    assert text.startswith('{\n  "kappa": null')
    assert text.endswith("}\n")


def test_a_full_disk_is_told_with_the_file_that_was_meant(tmp_path):
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
    try:
        with pytest.raises(OSError) as caught:
            files.write_text(tmp_path / "note.txt", "x" * 2000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert caught.value.filename == str(tmp_path / "note.txt")


def test_the_sole_writer_clears_what_a_killed_one_left(tmp_path):
    (tmp_path / ".part-note-abcd1234.txt").write_text("half")
    (tmp_path / "note.txt").write_text("whole")
    with files.sole_writer(tmp_path):
        assert os.listdir(tmp_path) == ["note.txt"]


def test_a_second_writer_waits_for_the_first(tmp_path):
    entered = threading.Event()

    def second():
        with files.sole_writer(tmp_path / "folder"):
            entered.set()

    with files.sole_writer(tmp_path / "folder"):
        thread = threading.Thread(target=second)
        thread.start()
        assert not entered.wait(0.2)
    assert entered.wait(10)
    thread.join()
